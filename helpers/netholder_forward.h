/*
 * Names that no member has: passed on to name servers, over UDP.
 *
 * The servers of the host's resolv.conf are asked from the host's network namespace, in which
 * this process is, and the file is read for each question, so that changes count at once.
 * Servers that the user named (--dns) are asked from inside, where containers are reached
 * too. Each question has a socket of its own: a port and an id that nobody can guess.
 */
#ifndef RL_NETHOLDER_FORWARD_H
#define RL_NETHOLDER_FORWARD_H

#include "netholder.h"
#include "netholder_dns.h"
#include "netholder_fair.h"
#include "netholder_inner.h"

#define FORWARDS 64
#define QUERY_MOST 1232
#define TRIES 4
#define TRY_TIME 1500

struct forward {
    struct claim claim;
    int fd, tries, inside;
    int64_t deadline;
    struct servers servers;
    struct address from, to;
    unsigned port, link, id;
    uint8_t query[QUERY_MOST];
    size_t length;
};

static struct forward forwards[FORWARDS];
static _Alignas(4096) uint8_t datagram[DNS_MESSAGE + 1];

/* --- which servers ----------------------------------------------------------------------- */

static inline int parse_ipv4(const char *text, size_t length, uint8_t *bytes)
{
    size_t at = 0;

    for (int i = 0; i < 4; i++) {
        unsigned value = 0, digits = 0;

        for (; at < length && text[at] >= '0' && text[at] <= '9' && digits < 4; at++, digits++)
            value = value * 10 + (unsigned)(text[at] - '0');
        if (digits == 0 || digits > 3 || value > 255)
            return 0;
        bytes[i] = (uint8_t)value;
        if (i < 3 && (at >= length || text[at++] != '.'))
            return 0;
    }
    return at == length;
}

static inline int hex_digit(char c)
{
    c = small(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 4291 section 2.2, without a zone. */
static inline int parse_ipv6(const char *text, size_t length, uint8_t *bytes)
{
    uint8_t groups[16];
    size_t at = 0, used = 0, gap = 17;

    if (length >= 2 && text[0] == ':' && text[1] == ':')
        gap = 0, at = 2;
    while (at < length) {
        unsigned value = 0, digits = 0;

        if (used <= 12 && parse_ipv4(text + at, length - at, groups + used)) {
            used += 4;
            at = length;
            break;
        }
        for (; at < length && hex_digit(text[at]) >= 0 && digits < 5; at++, digits++)
            value = value << 4 | (unsigned)hex_digit(text[at]);
        if (digits == 0 || digits > 4 || used > 14)
            return 0;
        groups[used++] = (uint8_t)(value >> 8);
        groups[used++] = (uint8_t)value;
        if (at == length)
            break;
        if (text[at++] != ':' || at == length)
            return 0;
        if (text[at] == ':') {
            if (gap != 17)
                return 0;
            gap = used;
            at++;
        }
    }
    if (gap == 17 ? used != 16 : used > 14)
        return 0;
    if (gap == 17)
        gap = used;
    clear(bytes, 16);
    copy_bytes(bytes, groups, gap);
    copy_bytes(bytes + 16 - (used - gap), groups + gap, used - gap);
    return 1;
}

static inline int parse_address(const char *text, size_t length, struct address *address)
{
    uint8_t four[4];

    if (parse_ipv4(text, length, four)) {
        from_ipv4(address, four);
        return 1;
    }
    return parse_ipv6(text, length, address->bytes);
}

/* The first servers of the host's resolv.conf; without any its own machine (resolv.conf(5)). */
static inline void host_servers(struct servers *servers)
{
    static char text[8192];
    static const uint8_t local[4] = {127, 0, 0, 1};
    long fd = SYS4(__NR_openat, AT_FDCWD, "/etc/resolv.conf", O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    long length = fd < 0 ? 0 : SYS3(__NR_read, fd, text, sizeof text);
    size_t at = 0;

    if (fd >= 0)
        SYS1(__NR_close, fd);
    servers->count = 0;
    while (length > 0 && at < (size_t)length && servers->count < SERVERS) {
        size_t end = at, start;

        while (end < (size_t)length && text[end] != '\n')
            end++;
        if (end - at > 11 && same_bytes(text + at, "nameserver", 10) &&
            (text[at + 10] == ' ' || text[at + 10] == '\t')) {
            for (start = at + 10; start < end && (text[start] == ' ' || text[start] == '\t');)
                start++;
            for (at = start; at < end && text[at] != ' ' && text[at] != '\t' && text[at] != '\r';)
                at++;
            servers->count += parse_address(text + start, at - start,
                                            &servers->list[servers->count]);
        }
        at = end + 1;
    }
    if (servers->count == 0) {
        from_ipv4(&servers->list[0], local);
        servers->count = 1;
    }
}

static inline int choose_servers(const struct asker *asker, struct servers *servers)
{
    if (asker->servers != NULL) {
        *servers = *asker->servers;
        return 1;
    }
    host_servers(servers);
    return 0;
}

/* A connected socket to a server, or a negative errno (for TCP the connection may be on its way). */
static inline long call_server(const struct address *server, int inside, int type)
{
    int family = is_ipv4(server) ? AF_INET : AF_INET6;
    union peer peer;
    unsigned size = to_peer(&peer, family, server, DNS_PORT);
    char what = type == SOCK_DGRAM ? (family == AF_INET ? 'u' : 'U') : (family == AF_INET ? 't' : 'T');
    long fd = inside ? inner_ask(&what, 1)
                     : SYS3(__NR_socket, family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    long result;

    if (fd < 0)
        return fd;
    result = SYS3(__NR_connect, fd, &peer, size);
    if (result < 0 && result != -EINPROGRESS) {
        SYS1(__NR_close, fd);
        return result;
    }
    return fd;
}

/* --- UDP --------------------------------------------------------------------------------- */

/* Send to who asked, from the address that was asked. */
static inline void send_answer(const uint8_t *message, size_t length, const struct address *from,
                               unsigned port, const struct address *to, unsigned link)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
    } control;
    struct iovec piece = {(void *)message, length};
    struct msghdr header;
    struct cmsghdr *info = &control.align;
    union peer peer;

    clear(&header, sizeof header);
    clear(&control, sizeof control);
    header.msg_name = &peer;
    header.msg_namelen = to_peer(&peer, h.udp_family, from, port);
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = &control;
    if (h.udp_family == AF_INET6) {
        struct in6_pktinfo six;

        clear(&six, sizeof six);
        copy_bytes(&six.ipi6_addr, to->bytes, 16);
        six.ipi6_ifindex = link;
        info->cmsg_level = IPPROTO_IPV6;
        info->cmsg_type = IPV6_PKTINFO;
        info->cmsg_len = CMSG_LEN(sizeof six);
        copy_bytes(CMSG_DATA(info), &six, sizeof six);
        header.msg_controllen = CMSG_SPACE(sizeof six);
    } else {
        struct in_pktinfo four;

        clear(&four, sizeof four);
        copy_bytes(&four.ipi_spec_dst, to->bytes + 12, 4);
        four.ipi_ifindex = (int)link;
        info->cmsg_level = IPPROTO_IP;
        info->cmsg_type = IP_PKTINFO;
        info->cmsg_len = CMSG_LEN(sizeof four);
        copy_bytes(CMSG_DATA(info), &four, sizeof four);
        header.msg_controllen = CMSG_SPACE(sizeof four);
    }
    SYS3(__NR_sendmsg, h.udp, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static inline void forward_end(struct forward *forward)
{
    if (forward->claim.since != 0)
        close_fd(&forward->fd);
    forward->claim.since = 0;
}

static inline void forward_fail(struct forward *forward)
{
    struct question question;

    if (read_question(forward->query, forward->length, &question) == NO_ERROR)
        send_answer(forward->query, answer_code(forward->query, &question, SERVER_FAILURE),
                    &forward->from, forward->port, &forward->to, forward->link);
    forward_end(forward);
}

/* Ask the next server; after TRIES of them the asker is told that it failed. */
static inline void forward_try(struct forward *forward)
{
    int slot = (int)(forward - forwards);

    while (forward->tries < TRIES) {
        struct address *server = &forward->servers.list[forward->tries % forward->servers.count];
        uint8_t id[2];
        long fd = call_server(server, forward->inside, SOCK_DGRAM);

        forward->tries++;
        close_fd(&forward->fd);
        if (fd < 0)
            continue;
        forward->fd = (int)fd;
        id[0] = forward->query[0], id[1] = forward->query[1];
        write16(forward->query, forward->id);
        if (SYS6(__NR_sendto, fd, forward->query, forward->length, MSG_NOSIGNAL, 0, 0) >= 0 &&
            watch((int)fd, EPOLLIN, FORWARD, slot) == 0) {
            forward->query[0] = id[0], forward->query[1] = id[1];
            forward->deadline = h.now + TRY_TIME;
            return;
        }
        forward->query[0] = id[0], forward->query[1] = id[1];
    }
    forward_fail(forward);
}

static inline struct claim *forward_claim(int index)
{
    return &forwards[index].claim;
}

static inline void forward_question(const uint8_t *message, size_t length,
                                    const struct asker *asker, const struct address *from,
                                    unsigned port, const struct address *to, unsigned link)
{
    struct forward *slot;
    uint16_t random;

    if (length > sizeof slot->query || SYS3(__NR_getrandom, &random, sizeof random, 0) < 0)
        return;
    /* Who loses its place to this one hears nothing, and asks again. */
    slot = &forwards[claim_place(forward_claim, FORWARDS, asker->member)];
    forward_end(slot);
    claim(&slot->claim, asker->member);
    slot->fd = -1;
    slot->tries = 0;
    slot->inside = choose_servers(asker, &slot->servers);
    slot->from = *from;
    slot->to = *to;
    slot->port = port;
    slot->link = link;
    slot->id = random;
    slot->length = length;
    copy_bytes(slot->query, message, length);
    forward_try(slot);
}

/* The same question comes back with an answer, or it isn't ours (RFC 5452 section 9). */
static inline int answers(const struct forward *forward, const uint8_t *message, size_t length)
{
    struct question asked;
    size_t end;

    if (length < DNS_HEADER || !(message[2] & 0x80) || read16(message) != forward->id)
        return 0;
    if (read16(message + 4) == 0)
        return 1; /* an error may come without the question */
    if (read_question(forward->query, forward->length, &asked) != NO_ERROR)
        return 0;
    end = asked.end;
    if (length < end)
        return 0;
    for (size_t i = DNS_HEADER; i < end; i++)
        if (small((char)message[i]) != small((char)forward->query[i]))
            return 0;
    return 1;
}

static inline void forward_heard(struct forward *forward)
{
    long length;

    if (forward->claim.since == 0)
        return;
    length = SYS6(__NR_recvfrom, forward->fd, datagram, DNS_MESSAGE, MSG_DONTWAIT, 0, 0);
    if (length == -EAGAIN || length == -EINTR)
        return;
    if (length < 0) {
        forward_try(forward); /* refused: nobody listens there */
        return;
    }
    if (!answers(forward, datagram, (size_t)length))
        return;
    if ((datagram[3] & 15) == SERVER_FAILURE && forward->tries < forward->servers.count) {
        forward_try(forward);
        return;
    }
    datagram[0] = forward->query[0];
    datagram[1] = forward->query[1];
    send_answer(datagram, (size_t)length, &forward->from, forward->port, &forward->to,
                forward->link);
    forward_end(forward);
}

/* A question came over UDP: answer, forward or refuse it. */
static inline void dns_datagram(void)
{
    union {
        struct cmsghdr align;
        char bytes[256];
    } control;
    struct iovec piece = {datagram, DNS_MESSAGE};
    struct msghdr header;
    struct cmsghdr *info;
    struct question question;
    struct network *network;
    struct address from, to;
    struct asker asker;
    union peer peer;
    unsigned port, link = 0;
    size_t room;
    long length;
    int code;

    clear(&header, sizeof header);
    header.msg_name = &peer;
    header.msg_namelen = sizeof peer;
    header.msg_iov = &piece;
    header.msg_iovlen = 1;
    header.msg_control = &control;
    header.msg_controllen = sizeof control;
    length = SYS3(__NR_recvmsg, h.udp, &header, MSG_DONTWAIT);
    if (length <= 0)
        return;
    for (info = CMSG_FIRSTHDR(&header); info != NULL; info = CMSG_NXTHDR(&header, info)) {
        if (info->cmsg_level == IPPROTO_IPV6 && info->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo six;

            copy_bytes(&six, CMSG_DATA(info), sizeof six);
            copy_bytes(to.bytes, &six.ipi6_addr, 16);
            link = six.ipi6_ifindex;
        } else if (info->cmsg_level == IPPROTO_IP && info->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo four;

            copy_bytes(&four, CMSG_DATA(info), sizeof four);
            from_ipv4(&to, &four.ipi_addr);
            link = (unsigned)four.ipi_ifindex;
        }
    }
    network = network_at(link);
    if (network == NULL || !network->dns)
        return;
    from_peer(&from, &peer);
    port = __builtin_bswap16(peer.four.sin_port); /* at the same place in both */
    code = read_question(datagram, (size_t)length, &question);
    if (code < 0)
        return;
    if (code == NO_ERROR) {
        who_asks(&asker, (int)(network - networks), &from);
        room = answer_here(datagram, udp_room(datagram, (size_t)length, &question), &question,
                           &asker);
        if (room > 0) {
            send_answer(datagram, room, &from, port, &to, link);
            return;
        }
        if (asker.forward) {
            forward_question(datagram, (size_t)length, &asker, &from, port, &to, link);
            return;
        }
        code = NO_SUCH_NAME;
    }
    send_answer(datagram, answer_code(datagram, &question, code), &from, port, &to, link);
}

#endif
