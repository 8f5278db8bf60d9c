/*
 * DNS over TCP: a member's question as it comes, passed on to a name server; and when what is
 * passed on, over UDP or TCP, is given up.
 */
#ifndef RL_NETHOLDER_STREAM_H
#define RL_NETHOLDER_STREAM_H

#include "netholder_forward.h"

#define STREAMS 16
#define STREAM_TIME 10000

enum stream_state { READING, CONNECTING, ASKING, HEARING, ANSWERING };

struct stream {
    struct claim claim; /* since its last question began */
    int down, up; /* -1: none; down -1: free */
    enum stream_state state;
    int64_t deadline;
    int network, tries, inside;
    struct address from;
    struct servers servers;
    size_t have, done;
};

static struct stream streams[STREAMS];
static _Alignas(4096) uint8_t stream_bytes[STREAMS][69632]; /* two of length, then the message */

static inline void stream_end(struct stream *stream)
{
    size_t slot = (size_t)(stream - streams);

    close_fd(&stream->down);
    close_fd(&stream->up);
    stream->claim.since = 0;
    SYS3(__NR_madvise, stream_bytes[slot], sizeof stream_bytes[slot], MADV_DONTNEED);
}

static inline void stream_watch(struct stream *stream)
{
    int slot = (int)(stream - streams);
    int up = stream->state >= CONNECTING && stream->state <= HEARING;

    stream->deadline = h.now + STREAM_TIME;
    watch(stream->down, stream->state == READING ? EPOLLIN
                        : stream->state == ANSWERING ? EPOLLOUT : EPOLLRDHUP, DOWN, slot);
    if (up)
        watch(stream->up, stream->state == HEARING ? EPOLLIN : EPOLLOUT, UP, slot);
}

static inline void stream_turn(struct stream *stream, enum stream_state state)
{
    stream->state = state;
    stream->done = 0;
    if (state == READING || state == HEARING)
        stream->have = 0;
    if (state == READING || state == ANSWERING)
        close_fd(&stream->up);
    stream_watch(stream);
}

/* The message at hand becomes the answer. */
static inline void stream_answer(struct stream *stream, size_t length)
{
    uint8_t *bytes = stream_bytes[stream - streams];

    write16(bytes, (unsigned)length);
    stream->have = length + 2;
    stream_turn(stream, ANSWERING);
}

static inline void stream_fail(struct stream *stream)
{
    uint8_t *bytes = stream_bytes[stream - streams];
    struct question question;

    /* What was asked is still there unless an answer has begun to replace it. */
    if (stream->state == HEARING && stream->have > 0) {
        stream_end(stream);
        return;
    }
    if (read_question(bytes + 2, read16(bytes), &question) != NO_ERROR) {
        stream_end(stream);
        return;
    }
    stream_answer(stream, answer_code(bytes + 2, &question, SERVER_FAILURE));
}

static inline void stream_call(struct stream *stream)
{
    while (stream->tries < stream->servers.count) {
        long fd = call_server(&stream->servers.list[stream->tries++], stream->inside, SOCK_STREAM);

        close_fd(&stream->up);
        if (fd < 0)
            continue;
        stream->up = (int)fd;
        stream_turn(stream, CONNECTING);
        return;
    }
    stream_fail(stream);
}

static inline void stream_asked(struct stream *stream)
{
    uint8_t *bytes = stream_bytes[stream - streams];
    size_t length = read16(bytes), room;
    struct question question;
    struct asker asker;
    int code = read_question(bytes + 2, length, &question);

    if (code < 0) {
        stream_end(stream);
        return;
    }
    if (code == NO_ERROR) {
        who_asks(&asker, stream->network, &stream->from);
        room = answer_here(bytes + 2, DNS_MESSAGE, &question, &asker);
        if (room > 0) {
            stream_answer(stream, room);
            return;
        }
        if (asker.forward) {
            stream->tries = 0;
            stream->inside = choose_servers(&asker, &stream->servers);
            stream_call(stream);
            return;
        }
        code = NO_SUCH_NAME;
    }
    stream_answer(stream, answer_code(bytes + 2, &question, code));
}

/* Reads a message with its length from either side: 1 when it is whole, -1 at an end. */
static inline int stream_read(struct stream *stream, int fd)
{
    uint8_t *bytes = stream_bytes[stream - streams];
    size_t want = stream->have < 2 ? 2 : 2 + (size_t)read16(bytes);
    long result = SYS6(__NR_recvfrom, fd, bytes + stream->have, want - stream->have, MSG_DONTWAIT,
                       0, 0);

    if (result == -EAGAIN || result == -EINTR)
        return 0;
    if (result <= 0)
        return -1;
    stream->have += (size_t)result;
    if (stream->have < 2)
        return 0;
    return stream->have == 2 + (size_t)read16(bytes);
}

static inline int stream_write(struct stream *stream, int fd)
{
    uint8_t *bytes = stream_bytes[stream - streams];
    size_t whole = 2 + (size_t)read16(bytes);
    long result = SYS6(__NR_sendto, fd, bytes + stream->done, whole - stream->done,
                       MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);

    if (result == -EAGAIN || result == -EINTR)
        return 0;
    if (result < 0)
        return -1;
    stream->done += (size_t)result;
    return stream->done == whole;
}

static inline void stream_down(struct stream *stream, uint32_t events)
{
    int result = 0;

    if (stream->down < 0)
        return;
    if (stream->state == READING)
        result = stream_read(stream, stream->down);
    else if (stream->state == ANSWERING)
        result = stream_write(stream, stream->down);
    else if (events & (EPOLLHUP | EPOLLERR))
        result = -1;
    if (result < 0) {
        stream_end(stream);
    } else if (result > 0) {
        if (stream->state == READING) {
            stream_asked(stream);
        } else {
            claim(&stream->claim, stream->claim.member);
            stream_turn(stream, READING);
        }
    } else if (events & EPOLLRDHUP && stream->state != READING && stream->state != ANSWERING) {
        /* It may have closed its sending half only: the answer is still wanted. */
        watch(stream->down, 0, DOWN, (int)(stream - streams));
    }
}

static inline void stream_up(struct stream *stream)
{
    int result = 0;

    if (stream->down < 0 || stream->up < 0)
        return;
    if (stream->state == CONNECTING)
        stream->state = ASKING;
    if (stream->state == ASKING) {
        result = stream_write(stream, stream->up);
        if (result > 0)
            stream_turn(stream, HEARING);
    } else if (stream->state == HEARING) {
        result = stream_read(stream, stream->up);
        if (result > 0)
            stream_turn(stream, ANSWERING);
    }
    if (result < 0 && (stream->state == ASKING || (stream->state == HEARING && stream->have == 0)))
        stream_call(stream);
    else if (result < 0)
        stream_fail(stream);
}

static inline struct claim *stream_claim(int index)
{
    return &streams[index].claim;
}

static inline void dns_connection(void)
{
    union peer peer;
    unsigned size = sizeof peer;
    struct endpoint *endpoint = NULL;
    struct stream *stream;
    long fd = SYS4(__NR_accept4, h.tcp, &peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct address from;

    if (fd < 0)
        return;
    from_peer(&from, &peer);
    /* Only members are served, and a member's address is of one network. */
    for (int i = 0; i < NETWORKS && endpoint == NULL; i++)
        if (networks[i].name[0] != '\0' && networks[i].dns)
            endpoint = endpoint_at(i, &from);
    if (endpoint == NULL) {
        SYS1(__NR_close, fd);
        return;
    }
    stream = &streams[claim_place(stream_claim, STREAMS, endpoint->member)];
    stream_end(stream);
    claim(&stream->claim, endpoint->member);
    stream->down = (int)fd;
    stream->network = endpoint->network;
    stream->from = from;
    stream_turn(stream, READING);
}

/* --- time -------------------------------------------------------------------------------- */

static inline int64_t dns_deadline(void)
{
    int64_t found = FOREVER;

    for (int i = 0; i < FORWARDS; i++)
        if (forwards[i].claim.since != 0 && forwards[i].deadline < found)
            found = forwards[i].deadline;
    for (int i = 0; i < STREAMS; i++)
        if (streams[i].down >= 0 && streams[i].deadline < found)
            found = streams[i].deadline;
    return found;
}

static inline void dns_late(void)
{
    for (int i = 0; i < FORWARDS; i++)
        if (forwards[i].claim.since != 0 && forwards[i].deadline <= h.now)
            forward_try(&forwards[i]);
    for (int i = 0; i < STREAMS; i++) {
        struct stream *stream = &streams[i];

        if (stream->down < 0 || stream->deadline > h.now)
            continue;
        if (stream->state == CONNECTING)
            stream_call(stream);
        else
            stream_end(stream);
    }
}

#endif
