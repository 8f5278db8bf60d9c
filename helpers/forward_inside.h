/*
 * The container's side: entering its network namespace, making ready for foreign source
 * addresses, and sockets that lead to its services.
 *
 * A socket here is bound to the client's own address, which is nowhere in the container
 * (IP_TRANSPARENT). What the service answers must come back to that socket instead of leaving
 * through the container's interface:
 *
 *   TCP  the socket's packets bear a mark, the service's side of the connection takes it over
 *        (tcp_fwmark_accept, fwmark_reflect), and what bears it is routed to lo.
 *   UDP  has no such inheritance. What is sent from a published port looks into a table that
 *        has a route to lo for each client of the moment.
 */
#ifndef RL_FORWARD_INSIDE_H
#define RL_FORWARD_INSIDE_H

#include "forward.h"

/* "rlp0": what a service sends. What it is sent has the last bit too, once the connection is
 * there: traffic shaping tells them apart (network/shaping.py). */
#define MARK 0x726c7030
#define MARK_IN 0x726c7031
#define TABLE_MARKED 0x726c7030  /* everything → lo */
#define TABLE_CLIENTS 0x726c7031 /* clients of UDP → lo */
#define RULE_PRIORITY 100
#define LOOPBACK 1
#define UP 1 /* IFF_UP, whose header clashes with others */

struct message {
    _Alignas(8) char bytes[256];
    size_t used;
};

static void begin(struct message *message, int kind, int flags, const void *body, size_t size)
{
    struct nlmsghdr header = {.nlmsg_type = (uint16_t)kind,
                              .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags)};

    message->used = sizeof header;
    copy_bytes(message->bytes, &header, sizeof header);
    copy_bytes(message->bytes + message->used, body, size);
    message->used += NLMSG_ALIGN(size);
}

static void attach(struct message *message, int kind, const void *data, size_t size)
{
    struct rtattr head = {.rta_type = (uint16_t)kind,
                          .rta_len = (uint16_t)(sizeof head + size)};

    copy_bytes(message->bytes + message->used, &head, sizeof head);
    copy_bytes(message->bytes + message->used + sizeof head, data, size);
    message->used += RTA_ALIGN(sizeof head + size);
}

static void attach_word(struct message *message, int kind, uint32_t value)
{
    attach(message, kind, &value, sizeof value);
}

/* Sends the message; the kernel has answered when send returns. */
static long ask(struct message *message)
{
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[256];
    } answer;
    struct nlmsghdr *header = (struct nlmsghdr *)(void *)message->bytes;
    long result;

    header->nlmsg_len = (uint32_t)message->used;
    result = SYS6(__NR_sendto, f.rules, message->bytes, message->used, 0, 0, 0);
    if (result < 0)
        return result;
    result = SYS6(__NR_recvfrom, f.rules, &answer, sizeof answer, 0, 0, 0);
    if (result < (long)(sizeof answer.header + sizeof answer.error.error))
        return result < 0 ? result : -EPROTO;
    return answer.error.error;
}

static long change_route(int kind, int family, uint32_t table, const void *ip, size_t size,
                         const union address *source)
{
    struct message message = {.used = 0};
    struct rtmsg route = {.rtm_family = (uint8_t)family,
                          .rtm_dst_len = (uint8_t)(size * 8),
                          .rtm_protocol = RTPROT_STATIC,
                          .rtm_scope = RT_SCOPE_HOST,
                          .rtm_type = RTN_LOCAL};
    size_t source_size;

    begin(&message, kind, kind == RTM_NEWROUTE ? NLM_F_CREATE | NLM_F_REPLACE : 0, &route,
          sizeof route);
    attach_word(&message, RTA_TABLE, table);
    attach_word(&message, RTA_OIF, LOOPBACK);
    if (size > 0)
        attach(&message, RTA_DST, ip, size);
    if (source != NULL) {
        const void *bytes = ip_of(source, &source_size);

        attach(&message, RTA_PREFSRC, bytes, source_size);
    }
    return ask(&message);
}

static long add_rule(int family, uint32_t table, int first, int last)
{
    struct message message = {.used = 0};
    struct fib_rule_hdr rule = {.family = (uint8_t)family, .action = FR_ACT_TO_TBL};
    struct fib_rule_port_range ports = {(uint16_t)first, (uint16_t)last};
    uint8_t protocol = IPPROTO_UDP;

    begin(&message, RTM_NEWRULE, NLM_F_CREATE, &rule, sizeof rule);
    attach_word(&message, FRA_TABLE, table);
    attach_word(&message, FRA_PRIORITY, RULE_PRIORITY);
    if (first > 0) {
        attach(&message, FRA_IP_PROTO, &protocol, sizeof protocol);
        attach(&message, FRA_SPORT_RANGE, &ports, sizeof ports);
    } else {
        attach_word(&message, FRA_FWMARK, MARK);
        attach_word(&message, FRA_FWMASK, 0xfffffffe);
    }
    return ask(&message);
}

/* One rule for each row of published UDP ports. */
static long add_port_rules(int family)
{
    int first = 0, last = 0;
    long result = 0;

    for (int i = 0; i < f.listener_count && result >= 0; i++) {
        if (!listeners[i].udp)
            continue;
        if (first > 0 && listeners[i].port == last + 1) {
            last++;
            continue;
        }
        if (first > 0)
            result = add_rule(family, TABLE_CLIENTS, first, last);
        first = last = listeners[i].port;
    }
    if (first > 0 && result >= 0)
        result = add_rule(family, TABLE_CLIENTS, first, last);
    return result;
}

static long set_parameter(const char *path)
{
    long fd = SYS3(__NR_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC), result;

    if (fd < 0)
        return fd;
    result = SYS3(__NR_write, fd, "1", 1);
    SYS1(__NR_close, fd);
    return result;
}

static long keep_addresses(int family)
{
    int six = family == AF_INET6;
    long result = set_parameter("/proc/sys/net/ipv4/tcp_fwmark_accept");

    if (result >= 0)
        result = set_parameter(six ? "/proc/sys/net/ipv6/fwmark_reflect"
                                   : "/proc/sys/net/ipv4/fwmark_reflect");
    if (result >= 0)
        result = change_route(RTM_NEWROUTE, family, TABLE_MARKED, NULL, 0, NULL);
    if (result >= 0)
        result = add_rule(family, TABLE_MARKED, 0, 0);
    if (result >= 0)
        result = add_port_rules(family);
    return result;
}

/* Goes into the container's user and network namespaces; a negative errno on failure. */
static long enter(int user, int net)
{
    long result = SYS2(__NR_setns, user, CLONE_NEWUSER);

    /* EINVAL: it is the one that we are in. */
    if (result < 0 && result != -EINVAL)
        return result;
    return SYS2(__NR_setns, net, CLONE_NEWNET);
}

/* What is needed from here on: foreign source addresses, marks and routes. */
static long drop_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0, 0, 0}, {0, 0, 0}};

    data[0].effective = data[0].permitted = 1U << CAP_NET_ADMIN | 1U << CAP_NET_RAW;
    SYS5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return SYS2(__NR_capset, &header, data);
}

/* Makes the namespace ready; the error of IPv4 if clients' addresses can't be kept. */
static long prepare_inside(void)
{
    struct message up = {.used = 0};
    struct ifinfomsg link = {.ifi_index = LOOPBACK, .ifi_flags = UP, .ifi_change = UP};
    long result = SYS3(__NR_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    f.rules = (int)result;
    if (result < 0)
        return result;
    begin(&up, RTM_NEWLINK, 0, &link, sizeof link);
    ask(&up);
    result = keep_addresses(AF_INET);
    f.keeps[0] = result >= 0;
    f.keeps[1] = keep_addresses(AF_INET6) >= 0;
    return result;
}

/* The container's own address towards a peer, as the kernel chooses it. */
static long own_address(const union address *peer, union address *own)
{
    unsigned size = sizeof *own;
    union address target = *peer;
    long fd, result;

    fd = SYS3(__NR_socket, peer->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fd;
    set_port(&target, 9); /* nothing is sent */
    result = SYS3(__NR_connect, fd, &target, address_size(&target));
    if (result >= 0)
        result = SYS3(__NR_getsockname, fd, own, &size);
    SYS1(__NR_close, fd);
    return result;
}

/* Whether a service may see this address: not one that means itself, or only one link. */
static int can_be_kept(const union address *client)
{
    const uint8_t *bytes;
    size_t size;

    if (!f.keeps[is_six(client)])
        return 0;
    bytes = ip_of(client, &size);
    if (size == 4)
        return bytes[0] != 127 && bytes[0] != 0 && bytes[0] < 224;
    for (size_t i = 0; i < 15; i++)
        if (bytes[i] != 0)
            return !(bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80) && bytes[0] != 0xff;
    return 0; /* ::1 and :: */
}

static void put_address(union address *address, int six, const void *bytes, size_t size)
{
    *address = (union address){.six = {.sin6_family = six ? AF_INET6 : AF_INET}};
    copy_bytes(six ? (void *)&address->six.sin6_addr : (void *)&address->four.sin_addr, bytes, size);
}

/* An address of nobody (RFC 5737, 3849), to ask for the way to anybody. */
static void put_somebody(union address *address, int six)
{
    static const uint8_t four[4] = {192, 0, 2, 1}, documentation[4] = {0x20, 0x01, 0x0d, 0xb8};

    put_address(address, six, six ? documentation : four, 4);
}

static void put_loopback(union address *address, int six)
{
    static const uint8_t four[4] = {127, 0, 0, 1}, own[16] = {[15] = 1};

    put_address(address, six, six ? own : four, six ? sizeof own : sizeof four);
}

/* Whether the container has nothing but its loopback (--network none). */
static int is_alone(void)
{
    union address peer, own;

    for (int six = 0; six < 2; six++) {
        put_somebody(&peer, six);
        if (own_address(&peer, &own) >= 0)
            return 0;
        if (f.gateway[six].any.sa_family != 0 && own_address(&f.gateway[six], &own) >= 0)
            return 0;
    }
    return 1;
}

/* The address at which a service is reached that `peer` wants: the one that it would answer
 * from. Its loopback only where it has nothing else: what listens there means to be alone. */
static long find_target(const union address *peer, int six, union address *target)
{
    if (own_address(peer, target) >= 0)
        return 0;
    if (f.gateway[six].any.sa_family != 0 && own_address(&f.gateway[six], target) >= 0)
        return 0;
    if (!is_alone())
        return -ENETUNREACH;
    put_loopback(target, six);
    return 0;
}

/* Chooses what the service sees as its peer, and the address at which it is reached. True if
 * the source is to be bound, false if it is left to the kernel; a negative errno if the
 * container has no address of that family. */
static long choose(const union address *client, int six, union address *source,
                   union address *target)
{
    long result;

    *source = *client;
    if (is_six(client) == six && can_be_kept(client) && find_target(source, six, target) >= 0 &&
        !same_ip(source, target))
        return 1;
    if (f.gateway[six].any.sa_family == 0) {
        if (!is_alone())
            return -EAFNOSUPPORT;
        put_loopback(source, six);
        put_loopback(target, six);
        return 0;
    }
    *source = f.gateway[six];
    source->four.sin_port = client->four.sin_port;
    result = find_target(source, six, target);
    if (result < 0)
        return result;
    return f.keeps[six] && !same_ip(source, target);
}

static long open_inside(const union address *source, int bound, int type)
{
    int six = is_six(source);
    int level = six ? SOL_IPV6 : SOL_IP;
    long fd = SYS3(__NR_socket, source->any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    long result;

    if (fd < 0 || !bound)
        return fd;
    option((int)fd, SOL_SOCKET, SO_REUSEADDR, 1);
    option((int)fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    result = option((int)fd, level, six ? IPV6_TRANSPARENT : IP_TRANSPARENT, 1);
    if (result >= 0)
        result = option((int)fd, SOL_SOCKET, SO_MARK, type == SOCK_STREAM ? MARK : MARK_IN);
    if (result >= 0)
        result = SYS3(__NR_bind, fd, source, address_size(source));
    if (result >= 0)
        return fd;
    SYS1(__NR_close, fd);
    return result;
}

/* A socket that is on its way to the container's port: from the client's address and port if
 * these are to be had, else from another port. ``six``: over which family. */
static long connect_inside(const union address *client, int six, int type, uint16_t port,
                           union address *source, union address *target)
{
    long bound = choose(client, six, source, target), fd, result = 0;

    if (bound < 0)
        return bound;
    set_port(target, port);
    for (int again = 0; again < 2; again++) {
        fd = open_inside(source, (int)bound, type);
        if (fd >= 0) {
            result = SYS3(__NR_connect, fd, target, address_size(target));
            if (result >= 0 || result == -EINPROGRESS)
                return fd;
            SYS1(__NR_close, fd);
        } else {
            result = fd;
        }
        if (!bound || (result != -EADDRINUSE && result != -EADDRNOTAVAIL))
            break;
        set_port(source, 0);
    }
    return result;
}

#endif
