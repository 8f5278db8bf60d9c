/*
 * TCP: a connection of a client and one into the container, and bytes between them, which
 * splice(2) moves through a pipe without copying. A connection has a pipe only while
 * something is in it, so that idle ones cost two descriptors.
 *
 * Sockets are watched edge-triggered: each is pumped until it would block or has had its
 * turn; who has more to do waits in a queue.
 */
#ifndef RL_FORWARD_TCP_H
#define RL_FORWARD_TCP_H

#include "forward_inside.h"

#define PIPE_SIZE (1 << 18)
#define PIPES 8 /* kept for whoever needs one next */
#define TURN 8   /* pipefuls */
#define NOBODY (-1)

enum state { FREE, CONNECTING, OPEN, DEAD };

struct way {
    int pipe[2];
    unsigned held; /* bytes in the pipe */
    uint8_t ended; /* nothing more will come */
    uint8_t shut;  /* and the other side knows */
};

struct connection {
    int fd[2];         /* the client's, the container's */
    struct way way[2]; /* from fd[0] to fd[1], and back */
    union address client;
    int next; /* in the queue, or among the free ones */
    uint16_t port;
    uint8_t state, second, queued;
    uint8_t broken; /* a bit for each of fd: its peer has reset it, or is not there any more */
};

static struct connection connections[CONNECTIONS];
static int connection_count, free_connection = NOBODY;
static int queue_first = NOBODY, queue_last = NOBODY;
static int dead_first = NOBODY;
static int pipes[PIPES][2], pipe_count;
static char copied[65536];

static int take_pipe(struct way *way)
{
    if (pipe_count > 0) {
        pipe_count--;
        way->pipe[0] = pipes[pipe_count][0];
        way->pipe[1] = pipes[pipe_count][1];
        return 0;
    }
    if (SYS2(__NR_pipe2, way->pipe, O_NONBLOCK | O_CLOEXEC) < 0) {
        way->pipe[0] = way->pipe[1] = -1;
        return -1;
    }
    SYS3(__NR_fcntl, way->pipe[0], F_SETPIPE_SZ, PIPE_SIZE); /* or stays as it is */
    return 0;
}

static void give_pipe(struct way *way)
{
    if (way->pipe[0] >= 0 && way->held == 0 && pipe_count < PIPES) {
        pipes[pipe_count][0] = way->pipe[0];
        pipes[pipe_count][1] = way->pipe[1];
        pipe_count++;
        way->pipe[0] = way->pipe[1] = -1;
        return;
    }
    close_now(&way->pipe[0]);
    close_now(&way->pipe[1]);
}

/* Closes so that the peer sees a reset: what it has sent or awaits is lost. */
static void abort_socket(int *fd)
{
    struct linger now = {1, 0};

    if (*fd >= 0)
        SYS5(__NR_setsockopt, *fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close_now(fd);
}

static void accept_again(void)
{
    if (!f.paused)
        return;
    f.paused = 0;
    for (int i = 0; i < f.listener_count; i++)
        if (!listeners[i].udp)
            watch(listeners[i].fd, OF_LISTENER, i, EPOLLIN);
}

static void pause_accepting(void)
{
    if (f.paused)
        return;
    f.paused = 1;
    f.paused_at = f.now;
    for (int i = 0; i < f.listener_count; i++)
        if (!listeners[i].udp)
            SYS4(__NR_epoll_ctl, f.epoll, EPOLL_CTL_DEL, listeners[i].fd, 0);
}

/* Its number is free for another one only when the events of this round are through. */
static void finish(struct connection *c, int reset)
{
    if (c->state == DEAD || c->state == FREE)
        return;
    for (int i = 0; i < 2; i++) {
        give_pipe(&c->way[i]);
        if (reset)
            abort_socket(&c->fd[i]);
        else
            close_now(&c->fd[i]);
    }
    c->state = DEAD;
    if (!c->queued) {
        c->next = dead_first;
        dead_first = (int)(c - connections);
    }
}

static void bury(void)
{
    int index = dead_first, next;

    if (index == NOBODY)
        return;
    for (; index != NOBODY; index = next) {
        next = connections[index].next;
        connections[index].state = FREE;
        connections[index].next = free_connection;
        free_connection = index;
    }
    dead_first = NOBODY;
    accept_again();
}

static void enqueue(struct connection *c)
{
    int index = (int)(c - connections);

    if (c->queued)
        return;
    c->queued = 1;
    c->next = NOBODY;
    if (queue_last == NOBODY)
        queue_first = index;
    else
        connections[queue_last].next = index;
    queue_last = index;
}

/* Where no pipe is to be had: copies, and takes from one socket only what the other took. */
static long copy_way(struct way *way, int from, int to)
{
    long length, result;

    for (int turn = 0; turn < TURN; turn++) {
        length = SYS6(__NR_recvfrom, from, copied, sizeof copied, MSG_PEEK | MSG_DONTWAIT, 0, 0);
        if (length == -EAGAIN || length == -EINTR)
            return length == -EINTR;
        if (length < 0)
            return length;
        if (length == 0) {
            way->ended = 1;
            SYS2(__NR_shutdown, to, SHUT_WR);
            way->shut = 1;
            return 0;
        }
        result = SYS6(__NR_sendto, to, copied, length, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
        if (result == -EAGAIN)
            return 0;
        if (result < 0)
            return result;
        SYS6(__NR_recvfrom, from, copied, result, MSG_DONTWAIT, 0, 0);
    }
    return 1;
}

/* Moves what there is from one socket to the other: 0 if that is all for now, 1 if there may
 * be more, a negative errno if the connection is broken. */
static long pump_way(struct way *way, int from, int to)
{
    long result;

    for (int turn = 0; turn < TURN; turn++) {
        if (way->held == 0 && !way->ended) {
            if (way->pipe[0] < 0 && take_pipe(way) < 0)
                return copy_way(way, from, to);
            result = SYS6(__NR_splice, from, 0, way->pipe[1], 0, PIPE_SIZE, 3);
            if (result == -EAGAIN || result == -EINTR) {
                give_pipe(way);
                return result == -EINTR;
            }
            if (result < 0)
                return result;
            way->ended = result == 0;
            way->held = (unsigned)result;
        }
        while (way->held > 0) {
            result = SYS6(__NR_splice, way->pipe[0], 0, to, 0, way->held, 3);
            if (result == -EAGAIN)
                return 0;
            if (result == -EINTR)
                continue;
            if (result <= 0)
                return result < 0 ? result : -EPIPE;
            way->held -= (unsigned)result;
        }
        if (way->ended) {
            give_pipe(way);
            if (!way->shut)
                SYS2(__NR_shutdown, to, SHUT_WR);
            way->shut = 1;
            return 0;
        }
    }
    return 1;
}

/* Whether a side has broken after its stream had ended: reading, which would tell of it, is over,
 * and the other side may never write. What came from there has all been passed on. */
static int nobody_there(const struct connection *c, int side)
{
    return c->broken >> side & 1 && c->way[side].ended && c->way[side].held == 0;
}

static void pump(struct connection *c)
{
    long more[2];

    for (int i = 0; i < 2; i++) {
        more[i] = pump_way(&c->way[i], c->fd[i], c->fd[1 - i]);
        if (more[i] < 0) {
            finish(c, 1);
            return;
        }
    }
    if (c->way[0].shut && c->way[1].shut)
        finish(c, 0);
    else if (more[0] || more[1])
        enqueue(c);
    else if (nobody_there(c, 0) || nobody_there(c, 1))
        finish(c, 1);
}

static void open_event(struct connection *c, int side, uint32_t events)
{
    if (events & EPOLLERR)
        c->broken |= (uint8_t)(1 << side);
    pump(c);
}

/* Those who had not finished in their turn; one more turn for each. */
static void pump_queue(void)
{
    int index = queue_first;

    queue_first = queue_last = NOBODY;
    while (index != NOBODY) {
        struct connection *c = &connections[index];

        index = c->next;
        c->queued = 0;
        if (c->state == OPEN) {
            pump(c);
        } else if (c->state == DEAD) {
            c->next = dead_first;
            dead_first = (int)(c - connections);
        }
    }
}

/* Connects to the container: over the client's own family, then over the other one, because
 * a service may know only that. */
static void reach(struct connection *c)
{
    union address source, target;
    long result;

    for (; c->second < 2; c->second++) {
        result = connect_inside(&c->client, is_six(&c->client) ^ c->second, SOCK_STREAM, c->port,
                                &source, &target);
        if (result >= 0) {
            c->fd[1] = (int)result;
            c->state = CONNECTING;
            watch(c->fd[1], OF_INSIDE, (int)(c - connections), EPOLLIN | EPOLLOUT | EPOLLET);
            return;
        }
    }
    finish(c, 1);
}

static void inside_event(struct connection *c, uint32_t events)
{
    int error = 0;
    unsigned size = sizeof error;

    if (c->state == CONNECTING) {
        SYS5(__NR_getsockopt, c->fd[1], SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) {
            close_now(&c->fd[1]);
            c->second++;
            reach(c);
            return;
        }
        c->state = OPEN;
        option(c->fd[1], IPPROTO_TCP, TCP_NODELAY, 1);
        option(c->fd[1], SOL_SOCKET, SO_MARK, MARK_IN); /* the service's side keeps MARK */
        watch(c->fd[0], OF_CLIENT, (int)(c - connections), EPOLLIN | EPOLLOUT | EPOLLET);
    }
    if (c->state == OPEN)
        open_event(c, 1, events);
}

static void client_event(struct connection *c, uint32_t events)
{
    if (c->state == OPEN)
        open_event(c, 0, events);
}

static struct connection *new_connection(void)
{
    int index = free_connection;

    if (index != NOBODY)
        free_connection = connections[index].next;
    else if (connection_count < CONNECTIONS)
        index = connection_count++;
    else
        return NULL;
    return &connections[index];
}

static void accept_from(struct listener *listener)
{
    static const struct way fresh = {{-1, -1}, 0, 0, 0};

    for (int i = 0; i < BATCH; i++) {
        union address client = {.six = {0}};
        unsigned size = sizeof client;
        struct connection *c;
        long fd;

        if (free_connection == NOBODY && connection_count == CONNECTIONS) {
            pause_accepting();
            return;
        }
        fd = SYS4(__NR_accept4, listener->fd, &client, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM) {
            pause_accepting();
            return;
        }
        if (fd == -EAGAIN)
            return;
        if (fd < 0)
            continue; /* it has gone before we came */
        c = new_connection();
        unmap(&client);
        *c = (struct connection){.fd = {(int)fd, -1}, .client = client, .port = listener->port};
        c->way[0] = c->way[1] = fresh;
        c->state = CONNECTING;
        option((int)fd, IPPROTO_TCP, TCP_NODELAY, 1);
        option((int)fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        reach(c);
    }
}

#endif
