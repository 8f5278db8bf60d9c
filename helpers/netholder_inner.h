/*
 * The process inside: it makes the user and the network namespace, stays as the one whose
 * /proc/PID/ns is named to others, and does what only a member can: it opens sockets of the
 * network namespace and writes its sysctls. It opens nothing else and reads nobody's packets.
 */
#ifndef RL_NETHOLDER_INNER_H
#define RL_NETHOLDER_INNER_H

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/prctl.h>

#include "netholder.h"

#define DNS_PORT 53
#define INNER_PATIENCE 5

struct passing { /* a message with room for descriptors, up to FDS of them */
    struct msghdr header;
    struct iovec piece;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 8)];
    } control;
};
#define FDS 8

static inline long pass(int socket, const void *bytes, size_t length, const int *fds, int count)
{
    struct passing message;
    struct cmsghdr *control;

    clear(&message, sizeof message);
    message.piece.iov_base = (void *)bytes;
    message.piece.iov_len = length;
    message.header.msg_iov = &message.piece;
    message.header.msg_iovlen = 1;
    if (count > 0) {
        message.header.msg_control = &message.control;
        message.header.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
        control = CMSG_FIRSTHDR(&message.header);
        control->cmsg_level = SOL_SOCKET;
        control->cmsg_type = SCM_RIGHTS;
        control->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
        copy_bytes(CMSG_DATA(control), fds, sizeof(int) * (size_t)count);
    }
    return SYS3(__NR_sendmsg, socket, &message.header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Returns the length; descriptors that came along are close-on-exec. */
static inline long take(int socket, void *bytes, size_t length, int *fds, int *count)
{
    struct passing message;
    struct cmsghdr *control;
    long result;

    clear(&message, sizeof message);
    message.piece.iov_base = bytes;
    message.piece.iov_len = length;
    message.header.msg_iov = &message.piece;
    message.header.msg_iovlen = 1;
    message.header.msg_control = &message.control;
    message.header.msg_controllen = sizeof message.control;
    *count = 0;
    do
        result = SYS3(__NR_recvmsg, socket, &message.header, MSG_CMSG_CLOEXEC);
    while (result == -EINTR);
    if (result < 0)
        return result;
    control = CMSG_FIRSTHDR(&message.header);
    if (control != NULL && control->cmsg_level == SOL_SOCKET &&
        control->cmsg_type == SCM_RIGHTS && control->cmsg_len > CMSG_LEN(0)) {
        *count = (int)((control->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        copy_bytes(fds, CMSG_DATA(control), sizeof(int) * (size_t)*count);
    }
    return result;
}

static inline long write_file(const char *path, const char *text)
{
    long fd = SYS4(__NR_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0), result;

    if (fd < 0)
        return fd;
    result = SYS3(__NR_write, fd, text, text_length(text));
    SYS1(__NR_close, fd);
    return result < 0 ? result : 0;
}

static inline long map_self(const char *path, long id)
{
    char line[32] = {0};
    struct text text = {line, sizeof line - 1, 0};

    put_text(&text, "0 ");
    put_number(&text, id);
    put_text(&text, " 1");
    return write_file(path, line);
}

static inline long set_option(long fd, int level, int option, int value)
{
    return SYS5(__NR_setsockopt, fd, level, option, &value, sizeof value);
}

/* A DNS socket on every address of the namespace; of IPv4 only where IPv6 is missing. */
static inline long dns_socket(int type)
{
    union peer any;
    struct address none = {{0}};
    int family = AF_INET6;
    long fd = SYS3(__NR_socket, family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), result;

    if (fd < 0) {
        family = AF_INET;
        fd = SYS3(__NR_socket, family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    }
    if (fd < 0)
        return fd;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (family == AF_INET6) {
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
        set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    } else {
        set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    }
    result = SYS3(__NR_bind, fd, &any, to_peer(&any, family, &none, DNS_PORT));
    if (result == 0 && type == SOCK_STREAM)
        result = SYS2(__NR_listen, fd, 64);
    if (result < 0) {
        SYS1(__NR_close, fd);
        return result;
    }
    return fd;
}

static inline long inner_open(char what)
{
    switch (what) {
    case 'r':
        return SYS3(__NR_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    case 'f':
        return SYS3(__NR_socket, AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    case 'd':
        return dns_socket(SOCK_DGRAM);
    case 's':
        return dns_socket(SOCK_STREAM);
    case 'u': /* to a name server that is reached from here */
        return SYS3(__NR_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    case 'U':
        return SYS3(__NR_socket, AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    case 't':
        return SYS3(__NR_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    case 'T':
        return SYS3(__NR_socket, AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    default:
        return -EINVAL;
    }
}

/* Only below /proc/sys/net, whatever is asked for. */
static inline long inner_sysctl(const char *name, size_t length)
{
    static char path[512];
    struct text text = {path, sizeof path - 1, 0};
    size_t split = 0;

    while (split < length && name[split] != '\0')
        split++;
    if (split + 1 >= length || length > 400)
        return -EINVAL;
    for (size_t i = 0; i + 1 < split; i++)
        if (name[i] == '.' && name[i + 1] == '.')
            return -EINVAL;
    clear(path, sizeof path);
    put_text(&text, "/proc/sys/net/");
    put(&text, name, split);
    return write_file(path, name + split + 1);
}

static inline long loopback_up(void)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
    } request;
    long fd = inner_open('r'), result;

    if (fd < 0)
        return fd;
    clear(&request, sizeof request);
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = RTM_NEWLINK;
    request.header.nlmsg_flags = NLM_F_REQUEST;
    request.link.ifi_index = 1;
    request.link.ifi_flags = request.link.ifi_change = 1; /* IFF_UP */
    result = SYS6(__NR_sendto, fd, &request, sizeof request, 0, 0, 0);
    SYS1(__NR_close, fd);
    return result < 0 ? result : 0;
}

static inline long inner_enter(long uid, long gid)
{
    long result = SYS1(__NR_unshare, CLONE_NEWUSER);

    if (result == 0)
        write_file("/proc/self/setgroups", "deny"); /* root needs none of this and may not */
    if (result == 0)
        result = map_self("/proc/self/gid_map", gid);
    if (result == 0)
        result = map_self("/proc/self/uid_map", uid);
    if (result == 0)
        result = SYS1(__NR_unshare, CLONE_NEWNET);
    if (result == 0)
        result = loopback_up();
    if (result < 0)
        return result;
    write_file("/proc/sys/net/ipv4/ip_forward", "1");
    write_file("/proc/sys/net/ipv6/conf/all/forwarding", "1");
    write_file("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
    /* A router listens to advertisements only if told so; slirp4netns sends them. */
    write_file("/proc/sys/net/ipv6/conf/default/accept_ra", "2");
    /* Between ports of one bridge nothing is filtered, whatever br_netfilter thinks. */
    write_file("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
    write_file("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "0");
    return 0;
}

__attribute__((noreturn)) static inline void inner_main(int pair, long parent)
{
    static char request[1024];
    long uid = SYS0(__NR_geteuid), gid = SYS0(__NR_getegid), result, fd;
    int count, none[FDS];

    SYS5(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (SYS0(__NR_getppid) != parent)
        sys_exit(0);
    result = inner_enter(uid, gid);
    pass(pair, &result, sizeof result, NULL, 0);
    while (result >= 0) {
        long length = take(pair, request, sizeof request - 1, none, &count);

        if (length <= 0)
            break;
        request[length] = '\0';
        if (request[0] == 'w') {
            long done = inner_sysctl(request + 1, (size_t)length - 1);

            pass(pair, &done, sizeof done, NULL, 0);
            continue;
        }
        fd = inner_open(request[0]);
        if (fd >= 0) {
            int sent = (int)fd;
            long good = 0;

            pass(pair, &good, sizeof good, &sent, 1);
            SYS1(__NR_close, fd);
        } else {
            pass(pair, &fd, sizeof fd, NULL, 0);
        }
    }
    sys_exit(0);
}

/* What the process inside answers: 0 or a descriptor, or a negative errno. */
static inline long inner_ask(const char *request, size_t length)
{
    int fds[FDS], count;
    long said, result;

    result = pass(h.inner, request, length, NULL, 0);
    if (result < 0)
        return result;
    result = take(h.inner, &said, sizeof said, fds, &count);
    if (result != sizeof said)
        return result < 0 ? result : -EPIPE;
    return count == 1 ? fds[0] : said;
}

static inline long inner_start(void)
{
    struct timeval patience = {INNER_PATIENCE, 0};
    int pair[2], fds[FDS], count;
    long parent = SYS0(__NR_getpid), child, said, result;

    result = SYS4(__NR_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
    if (result < 0)
        return result;
    child = sys_fork();
    if (child == 0) {
        if (SYS3(__NR_dup3, pair[1], 0, 0) < 0)
            sys_exit(1);
        SYS3(__NR_close_range, 1, ~0U, 0);
        inner_main(0, parent);
    }
    SYS1(__NR_close, pair[1]);
    if (child < 0)
        return child;
    h.inner = pair[0];
    h.inner_pid = (int)child;
    SYS5(__NR_setsockopt, h.inner, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    result = take(h.inner, &said, sizeof said, fds, &count);
    if (result != sizeof said)
        return result < 0 ? result : -EPIPE;
    return said;
}

#endif
