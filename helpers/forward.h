/*
 * What the forwarder knows: its listening sockets, and the way into the container. Everything
 * static; what is never used is never touched, and then takes no memory.
 */
#ifndef RL_FORWARD_H
#define RL_FORWARD_H

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "sys.h"
#include "text.h"

#define LISTENERS 16384
#define CONNECTIONS 16384
#define FLOWS 2048
#define BATCH 64 /* events, and datagrams of one socket, before others have their turn */

/* What an event is about: its kind in the upper half of epoll's word, an index below. */
enum kind { OF_CONTAINER, OF_LISTENER, OF_CLIENT, OF_INSIDE, OF_FLOW };

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

struct listener {
    int fd;
    uint16_t port; /* of the container */
    uint8_t udp, six;
};

struct forward {
    int epoll, container, rules; /* rules: rtnetlink of the container */
    int keeps[2];                /* whether clients' addresses are kept: IPv4, IPv6 */
    union address gateway[2];    /* stands for clients whose address can't be kept */
    int listener_count;
    int most_flows; /* of UDP: they leave files to be opened for TCP */
    int paused; /* nothing is accepted until a connection ends, or for a second */
    int64_t now, paused_at;
};

static struct forward f;
static struct listener listeners[LISTENERS];

static inline int64_t milliseconds(void)
{
    struct timespec moment;

    SYS2(__NR_clock_gettime, CLOCK_MONOTONIC, &moment);
    return (int64_t)moment.tv_sec * 1000 + moment.tv_nsec / 1000000;
}

static inline void watch(int fd, enum kind kind, int index, uint32_t events)
{
    struct epoll_event event = {.events = events};

    event.data.u64 = (uint64_t)kind << 32 | (uint32_t)index;
    SYS4(__NR_epoll_ctl, f.epoll, EPOLL_CTL_ADD, fd, &event);
}

static inline void close_now(int *fd)
{
    if (*fd >= 0)
        SYS1(__NR_close, *fd);
    *fd = -1;
}

static inline long option(int fd, int level, int name, int value)
{
    return SYS5(__NR_setsockopt, fd, level, name, &value, sizeof value);
}

static inline int is_six(const union address *address)
{
    return address->any.sa_family == AF_INET6;
}

static inline unsigned address_size(const union address *address)
{
    return is_six(address) ? sizeof address->six : sizeof address->four;
}

static inline void set_port(union address *address, uint16_t port)
{
    /* At the same place for both families. */
    address->four.sin_port = (uint16_t)(port << 8 | port >> 8);
}

static inline const void *ip_of(const union address *address, size_t *size)
{
    *size = is_six(address) ? 16 : 4;
    return is_six(address) ? (const void *)&address->six.sin6_addr
                           : (const void *)&address->four.sin_addr;
}

static inline int same_ip(const union address *one, const union address *other)
{
    size_t size, other_size;
    const void *a = ip_of(one, &size), *b = ip_of(other, &other_size);

    return size == other_size && same_bytes(a, b, size);
}

/* An IPv4 client of a socket for both families, as what it is. */
static inline void unmap(union address *address)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    struct sockaddr_in four = {.sin_family = AF_INET};

    if (!is_six(address) || !same_bytes(&address->six.sin6_addr, mapped, sizeof mapped))
        return;
    four.sin_port = address->six.sin6_port;
    copy_bytes(&four.sin_addr, (const char *)&address->six.sin6_addr + 12, 4);
    address->four = four;
}

#endif
