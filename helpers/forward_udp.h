/*
 * UDP: a flow for each client of each port, with a socket of its own in the container, so that
 * the service sees who it is and answers to them. A flow ends when nothing has come for a
 * while, as in the kernel's connection tracking; if there are too many, the oldest gives way.
 */
#ifndef RL_FORWARD_UDP_H
#define RL_FORWARD_UDP_H

#include "forward_inside.h"

#define BUCKETS 1024
#define UNANSWERED 30000 /* ms until a flow ends that only the client has used */
#define ANSWERED 180000
#define LARGEST 65536
#define SWEEP 5000

struct flow {
    int fd; /* -1: free */
    int next; /* in its bucket */
    int route; /* its client's, -1: none */
    int listener;
    int64_t used;
    union address client;
    uint8_t local[40]; /* control message: from which address the client is answered */
    uint8_t local_size, answered, second;
};

/* A route of the container that brings answers for one client to lo. */
struct route {
    union address client, own;
    int users;
};

static struct flow flows[FLOWS];
static struct route routes[FLOWS];
static int buckets[BUCKETS]; /* index + 1 */
static int flow_count, route_count, living_flows;
static int64_t swept_at;
static char datagram[LARGEST];

static unsigned bucket_of(const union address *client, int listener)
{
    uint32_t hash = 2166136261u ^ (uint32_t)listener;
    size_t size;
    const uint8_t *bytes = ip_of(client, &size);

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 16777619u;
    hash = (hash ^ client->four.sin_port) * 16777619u;
    return (hash ^ hash >> 16) % BUCKETS;
}

/* Answers to `client` go to lo from now on; -1 if the kernel wants no such route. */
static int take_route(const union address *client, const union address *own)
{
    int free_one = -1;
    size_t size;
    const void *ip = ip_of(client, &size);

    for (int i = 0; i < route_count; i++) {
        if (routes[i].users > 0 && same_ip(&routes[i].client, client)) {
            routes[i].users++;
            return i;
        }
        if (routes[i].users == 0)
            free_one = i;
    }
    if (free_one < 0 && route_count < FLOWS)
        free_one = route_count++;
    if (free_one < 0)
        return -1;
    if (change_route(RTM_NEWROUTE, client->any.sa_family, TABLE_CLIENTS, ip, size, own) < 0)
        return -1;
    routes[free_one] = (struct route){*client, *own, 1};
    return free_one;
}

static void leave_route(int index)
{
    struct route *route;
    size_t size;
    const void *ip;

    if (index < 0)
        return;
    route = &routes[index];
    if (--route->users > 0)
        return;
    ip = ip_of(&route->client, &size);
    change_route(RTM_DELROUTE, route->client.any.sa_family, TABLE_CLIENTS, ip, size, NULL);
}

static void end_flow(struct flow *flow)
{
    int index = (int)(flow - flows);
    int *link = &buckets[bucket_of(&flow->client, flow->listener)];

    while (*link != index + 1)
        link = &flows[*link - 1].next;
    *link = flow->next;
    close_now(&flow->fd);
    leave_route(flow->route);
    living_flows--;
}

static struct flow *free_flow(void)
{
    int oldest = 0;

    for (int i = 0; i < flow_count; i++) {
        if (flows[i].fd < 0)
            return &flows[i];
        if (flows[i].used < flows[oldest].used)
            oldest = i;
    }
    if (flow_count < f.most_flows)
        return &flows[flow_count++];
    end_flow(&flows[oldest]);
    return &flows[oldest];
}

/* Opens the flow's socket; over the other family if ``second``. False if there is no way. */
static int open_flow(struct flow *flow)
{
    union address source, target;
    long fd = connect_inside(&flow->client, is_six(&flow->client) ^ flow->second, SOCK_DGRAM,
                             listeners[flow->listener].port, &source, &target);

    if (fd < 0)
        return 0;
    flow->fd = (int)fd;
    flow->route = -1;
    if (f.keeps[is_six(&source)] && !same_ip(&source, &target))
        flow->route = take_route(&source, &target);
    watch(flow->fd, OF_FLOW, (int)(flow - flows), EPOLLIN);
    return 1;
}

static struct flow *find_flow(const union address *client, int listener)
{
    unsigned bucket = bucket_of(client, listener);
    struct flow *flow;

    for (int i = buckets[bucket]; i != 0; i = flow->next) {
        flow = &flows[i - 1];
        if (flow->listener == listener && flow->client.four.sin_port == client->four.sin_port &&
            same_ip(&flow->client, client))
            return flow;
    }
    flow = free_flow();
    *flow = (struct flow){.fd = -1, .route = -1, .listener = listener, .client = *client};
    for (; flow->second < 2; flow->second++) {
        if (open_flow(flow)) {
            flow->next = buckets[bucket];
            buckets[bucket] = (int)(flow - flows) + 1;
            living_flows++;
            return flow;
        }
    }
    return NULL;
}

/* The control message that answers from the address which the client had written to. */
static void remember_local(struct flow *flow, struct msghdr *message)
{
    struct cmsghdr *head = CMSG_FIRSTHDR(message);

    flow->local_size = 0;
    if (head == NULL || head->cmsg_len > sizeof flow->local)
        return;
    if (head->cmsg_level == SOL_IP && head->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo *info = (struct in_pktinfo *)(void *)CMSG_DATA(head);

        info->ipi_spec_dst = info->ipi_addr;
        info->ipi_ifindex = 0;
    } else if (head->cmsg_level == SOL_IPV6 && head->cmsg_type == IPV6_PKTINFO) {
        struct in6_pktinfo *info = (struct in6_pktinfo *)(void *)CMSG_DATA(head);
        const uint8_t *ip = (const uint8_t *)&info->ipi6_addr;

        if (!(ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80))
            info->ipi6_ifindex = 0;
    } else {
        return;
    }
    flow->local_size = (uint8_t)head->cmsg_len;
    copy_bytes(flow->local, head, head->cmsg_len);
}

static void send_inside(struct flow *flow, size_t length)
{
    long result = SYS6(__NR_sendto, flow->fd, datagram, length, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);

    if (result != -ECONNREFUSED)
        return;
    /* Nobody listens there, as the datagram before has found out. */
    if (flow->answered || flow->second)
        SYS6(__NR_sendto, flow->fd, datagram, length, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
}

static void from_client(int index)
{
    _Alignas(8) char control[64];
    union address client;

    for (int i = 0; i < BATCH; i++) {
        struct iovec part = {datagram, sizeof datagram};
        struct msghdr message = {&client, sizeof client, &part, 1, control, sizeof control, 0};
        long length = SYS3(__NR_recvmsg, listeners[index].fd, &message, MSG_DONTWAIT);
        union address plain = client;
        struct flow *flow;

        if (length == -EAGAIN)
            return;
        if (length < 0)
            continue;
        plain = client;
        unmap(&plain);
        flow = find_flow(&plain, index);
        if (flow == NULL)
            continue;
        remember_local(flow, &message);
        flow->used = f.now;
        send_inside(flow, (size_t)length);
    }
}

/* The client's address as its listening socket takes it. */
static void map_for(union address *address, int listener)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = address->four.sin_port};

    if (is_six(address) || !listeners[listener].six)
        return;
    ((uint8_t *)&six.sin6_addr)[10] = ((uint8_t *)&six.sin6_addr)[11] = 0xff;
    copy_bytes((char *)&six.sin6_addr + 12, &address->four.sin_addr, 4);
    address->six = six;
}

static void from_inside(int index)
{
    struct flow *flow = &flows[index];
    union address client;

    if (flow->fd < 0)
        return;
    client = flow->client;
    map_for(&client, flow->listener);
    for (int i = 0; i < BATCH && flow->fd >= 0; i++) {
        long length = SYS6(__NR_recvfrom, flow->fd, datagram, sizeof datagram, MSG_DONTWAIT, 0, 0);
        struct iovec part = {datagram, length > 0 ? (size_t)length : 0};
        struct msghdr message = {&client, address_size(&client), &part, 1, flow->local,
                                 flow->local_size, 0};

        if (length == -EAGAIN)
            return;
        if (length < 0) {
            /* Refused over the client's family, and never answered: the other one is next. */
            if (length == -ECONNREFUSED && !flow->answered && !flow->second) {
                close_now(&flow->fd);
                leave_route(flow->route);
                flow->route = -1; /* end_flow must not leave it again */
                flow->second = 1;
                if (!open_flow(flow)) {
                    flow->second = 0;
                    if (!open_flow(flow))
                        end_flow(flow);
                }
            }
            return;
        }
        flow->answered = 1;
        flow->used = f.now;
        SYS3(__NR_sendmsg, listeners[flow->listener].fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

static void sweep_flows(void)
{
    if (living_flows == 0 || f.now - swept_at < SWEEP)
        return;
    swept_at = f.now;
    for (int i = 0; i < flow_count; i++)
        if (flows[i].fd >= 0 &&
            f.now - flows[i].used > (flows[i].answered ? ANSWERED : UNANSWERED))
            end_flow(&flows[i]);
}

#endif
