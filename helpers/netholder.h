/*
 * What the holder of the user networks knows: networks, members, and their names and
 * addresses. Everything static; a page that nobody has used costs nothing.
 */
#ifndef RL_NETHOLDER_H
#define RL_NETHOLDER_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <netinet/in.h>

#include "sys.h"
#include "text.h"

#define NETWORKS 64 /* a set of them is one word */
#define MEMBERS 1024
#define ENDPOINTS 2048
#define IPS 4
#define NAMES 512
#define SERVERS 3
#define NAME_LENGTH 64
#define CLIENTS 256 /* each container has two while it is being started */
#define FOREVER INT64_MAX

/* An IPv4 address is kept as the IPv6 address that stands for it, ::ffff:a.b.c.d. */
struct address {
    uint8_t bytes[16];
};

struct servers {
    struct address list[SERVERS];
    int count;
};

struct network {
    char name[NAME_LENGTH + 1]; /* "": free */
    unsigned link;              /* its bridge */
    uint8_t dns, internal;
    struct servers servers;
};

struct member {
    char id[NAME_LENGTH + 1]; /* "": free */
    int pidfd;
    struct servers servers;
};

/* A member in one network. */
struct endpoint {
    uint8_t used;
    int member, network;
    unsigned link; /* our end of its veth pair */
    struct address ips[IPS];
    int ip_count;
    size_t names_length;
    char names[NAMES]; /* each ends with a NUL; the first one is the container's name */
};

/* What an event of epoll is about; the low half of its word is an index. */
enum kind { LISTENING, SIGNALS, INNER, DNS_UDP, DNS_TCP, CLIENT, MEMBER, FORWARD, DOWN, UP };

struct holder {
    int epoll, listen, alive, ready, dir, signals, inner, route, udp, tcp, udp_family;
    int inner_pid;
    int64_t now;
    int clients[CLIENTS];
    int ending;
};

static struct holder h;
static struct network networks[NETWORKS];
static struct member members[MEMBERS];
static struct endpoint endpoints[ENDPOINTS];
static int member_count, endpoint_top; /* every endpoint in use is below the top */

static inline int64_t monotonic(void)
{
    struct timespec moment;

    SYS2(__NR_clock_gettime, CLOCK_MONOTONIC, &moment);
    return (int64_t)moment.tv_sec * 1000 + moment.tv_nsec / 1000000;
}

static inline void clear(void *start, size_t length)
{
    __builtin_memset(start, 0, length);
}

static inline void close_fd(int *fd)
{
    if (*fd >= 0)
        SYS1(__NR_close, *fd);
    *fd = -1;
}

static inline long watch(int fd, uint32_t events, enum kind kind, int index)
{
    struct epoll_event event = {events, {.u64 = (uint64_t)kind << 32 | (unsigned)index}};
    long result = SYS4(__NR_epoll_ctl, h.epoll, EPOLL_CTL_ADD, fd, &event);

    if (result == -EEXIST)
        result = SYS4(__NR_epoll_ctl, h.epoll, EPOLL_CTL_MOD, fd, &event);
    return result;
}

static inline int same_address(const struct address *one, const struct address *other)
{
    return same_bytes(one->bytes, other->bytes, sizeof one->bytes);
}

static inline int is_ipv4(const struct address *address)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    return same_bytes(address->bytes, mapped, sizeof mapped);
}

static inline void from_ipv4(struct address *to, const void *four)
{
    clear(to->bytes, 10);
    to->bytes[10] = to->bytes[11] = 0xff;
    copy_bytes(to->bytes + 12, four, 4);
}

/* The address and port in a socket's own form, of the family that the socket has. */
union peer {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static inline unsigned to_peer(union peer *peer, int family, const struct address *address,
                               unsigned port)
{
    clear(peer, sizeof *peer);
    if (family == AF_INET) {
        peer->four.sin_family = AF_INET;
        peer->four.sin_port = __builtin_bswap16((uint16_t)port);
        copy_bytes(&peer->four.sin_addr, address->bytes + 12, 4);
        return sizeof peer->four;
    }
    peer->six.sin6_family = AF_INET6;
    peer->six.sin6_port = __builtin_bswap16((uint16_t)port);
    copy_bytes(&peer->six.sin6_addr, address->bytes, 16);
    return sizeof peer->six;
}

static inline void from_peer(struct address *to, const union peer *peer)
{
    if (peer->any.sa_family == AF_INET)
        from_ipv4(to, &peer->four.sin_addr);
    else
        copy_bytes(to->bytes, &peer->six.sin6_addr, 16);
}

/* Ordinary decimal digits below 2^31; -1 for anything else. */
static inline long number_of(const char *text)
{
    long value = 0;

    if (*text == '\0')
        return -1;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > 200000000)
            return -1;
        value = value * 10 + (*text - '0');
    }
    return value;
}

static inline struct network *network_at(unsigned link)
{
    for (int i = 0; i < NETWORKS; i++)
        if (networks[i].name[0] != '\0' && networks[i].link == link)
            return &networks[i];
    return NULL;
}

static inline struct endpoint *endpoint_at(int network, const struct address *address)
{
    for (int i = 0; i < endpoint_top; i++) {
        struct endpoint *endpoint = &endpoints[i];

        if (!endpoint->used || endpoint->network != network)
            continue;
        for (int k = 0; k < endpoint->ip_count; k++)
            if (same_address(&endpoint->ips[k], address))
                return endpoint;
    }
    return NULL;
}

#endif
