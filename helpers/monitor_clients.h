/*
 * The clients on the other side of the socket: what they are told and what they ask for.
 *
 * Nothing here waits. A packet that a client's socket has no room for stays owed: a chunk in
 * its stream's buffer (which holds up the stream), everything else as a bit.
 */
#ifndef RL_MONITOR_CLIENTS_H
#define RL_MONITOR_CLIENTS_H

#include "monitor.h"
#include "monitor_health.h"

static long client_send(struct client *client, const void *packet, size_t length)
{
    long result;

    if (client->deaf)
        return -EPIPE;
    do
        result = SYS6(__NR_sendto, client->fd, packet, length, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    while (result == -EINTR);
    if (result >= 0)
        client->since = 0;
    else if (client->since == 0)
        client->since = m.now;
    return result;
}

/* A socket that is closed with something unread in it resets the connection, and the other
 * side would see the error before the news that were sent to it. So the door is shut for new
 * packets first, and what came before is thrown away. */
static void close_politely(int *fd)
{
    char waste[1];

    SYS2(__NR_shutdown, *fd, SHUT_RD);
    while (SYS6(__NR_recvfrom, *fd, waste, sizeof waste, MSG_DONTWAIT, 0, 0) > 0)
        ;
    close_fd(fd);
}

static void client_drop(struct client *client)
{
    /* A client that was killed can't send more: the program that reads what it sent gets
     * the end of file that a pipe would have given it. */
    if ((client->bits & STDIN_BIT) && !client->detached && m.pty < 0)
        m.stdin_ended = 1;
    if (m.stdin_owner == (int)(client - m.clients))
        m.stdin_owner = -1;
    close_politely(&client->fd);
    client->bits = client->pending = client->owed = client->held = 0;
    client->asked = 0;
}

/* It takes nothing any more, because it has left. What it sent before that is read yet: a
 * `kill` doesn't wait for us. The end of file behind that drops it. */
static void client_left(struct client *client)
{
    client->deaf = 1;
    client->pending = client->owed = 0;
}

/* Says why the connection ends, if there is room for a word. */
static void send_refusal(int fd, const char *why)
{
    char packet[64] = "b";
    size_t length = text_length(why);

    copy_bytes(packet + 1, why, length);
    SYS6(__NR_sendto, fd, packet, length + 1, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
}

static long send_start(struct client *client)
{
    static char packet[LAUNCH_TEXT + 1];
    uint32_t pid = (uint32_t)m.pid;

    if (m.started) {
        packet[0] = 's';
        copy_bytes(packet + 1, &pid, sizeof pid);
        return client_send(client, packet, 1 + sizeof pid);
    }
    packet[0] = 'l';
    copy_bytes(packet + 1, m.launch.start, m.launch.used);
    return client_send(client, packet, 1 + m.launch.used);
}

static int exit_code(void)
{
    return WIFSIGNALED(m.wait_status) ? 128 + WTERMSIG(m.wait_status)
                                      : WEXITSTATUS(m.wait_status);
}

static int exit_signal(void)
{
    return WIFSIGNALED(m.wait_status) ? WTERMSIG(m.wait_status) : 0;
}

/* The decision to start again: the engine's `on-exit` reads it in the record. */
static int will_restart(void)
{
    if (m.on_exit.count == 0 || !m.started || m.stopped || m.terminated)
        return 0;
    if (m.must_restart || m.restart == RESTART_ALWAYS)
        return 1;
    return m.restart == RESTART_ON_FAILURE && m.wait_status != 0 &&
           (m.restart_most < 0 || m.restarts < m.restart_most);
}

static long send_exit(struct client *client)
{
    unsigned char packet[4] = {'x', (unsigned char)exit_code(), (unsigned char)exit_signal(), 0};
    long result;

    packet[3] = (unsigned char)((m.oom ? EXIT_OOM : 0) | (m.stopped ? EXIT_STOPPED : 0) |
                                (will_restart() ? EXIT_RESTART : 0) |
                                (m.started ? 0 : EXIT_UNSTARTED) |
                                (m.timed_out ? EXIT_TIMEOUT : 0));
    result = client_send(client, packet, sizeof packet);
    /* A founder that isn't attached only waits for the start, and may never read this. */
    if (result >= 0 && client->founder && client->bits != 0)
        m.founder_told = 1;
    client->told |= result >= 0;
    return result;
}

static long send_credit(struct client *client)
{
    long result = client_send(client, "i", 1);

    if (result >= 0)
        client->charged = 0;
    return result;
}

/* Pays what is owed, in the order in which it makes sense to the other side. */
static void client_flush(struct client *client)
{
    long result = 0;

    if (client->fd < 0)
        return;
    for (int i = 0; i < 2 && result >= 0; i++) {
        if (!(client->pending & (1 << i)))
            continue;
        result = client_send(client, m.streams[i].packet, m.streams[i].length + 1);
        if (result >= 0)
            client->pending &= (uint8_t)~(1 << i);
    }
    for (int bit = OWED_CREDIT; bit <= OWED_EXIT && result >= 0; bit <<= 1) {
        if (!(client->owed & bit))
            continue;
        result = bit == OWED_CREDIT  ? send_credit(client)
                 : bit == OWED_START ? send_start(client)
                 : bit == OWED_EXIT  ? send_exit(client)
                                     : health_answer(client->fd);
        if (result >= 0)
            client->owed &= (uint8_t)~bit;
    }
    if (result < 0 && result != -EAGAIN)
        client_left(client);
}

static void owe_all(uint8_t bit)
{
    for (int i = 0; i < CLIENTS; i++)
        if (m.clients[i].fd >= 0 && !m.clients[i].told) {
            m.clients[i].owed |= bit;
            client_flush(&m.clients[i]);
        }
}

/* Who isn't attached needn't wait for the end until others have taken the last output. */
static void tell_bystanders(void)
{
    for (int i = 0; i < CLIENTS; i++)
        if (m.clients[i].fd >= 0 && m.clients[i].bits == 0 && !m.clients[i].told) {
            m.clients[i].owed |= OWED_EXIT;
            client_flush(&m.clients[i]);
        }
}

static int client_behind(const struct client *client)
{
    return client->fd >= 0 && (client->pending != 0 || client->owed != 0);
}

/* Until when this client may stay behind. */
static int64_t client_deadline(const struct client *client)
{
    int64_t patience = m.patience;

    if (!client_behind(client) || client->since == 0 || (client->founder && !m.impatient))
        return NEVER;
    if (m.phase != LIVING && patience > CLIENT_PATIENCE_AT_END)
        patience = CLIENT_PATIENCE_AT_END;
    return client->since + patience;
}

static void drop_slow_clients(void)
{
    for (int i = 0; i < CLIENTS; i++)
        if (client_deadline(&m.clients[i]) <= m.now) {
            send_refusal(m.clients[i].fd, "took no output for too long");
            client_drop(&m.clients[i]);
        }
}

static void client_add(int fd, int founder, uint8_t bits)
{
    struct client *client = m.clients;

    while (client < m.clients + CLIENTS && client->fd >= 0)
        client++;
    if (client == m.clients + CLIENTS) {
        send_refusal(fd, "too many clients");
        close_politely(&fd);
        return;
    }
    *client = (struct client){.fd = fd, .founder = (uint8_t)founder, .bits = bits};
    if (m.started || m.failed)
        client->owed |= OWED_START;
    if (m.phase > DRAINING || (m.exit_written && bits == 0))
        client->owed |= OWED_EXIT;
    client_flush(client);
}

/* Takes in everybody who is at the door; whoever isn't the owner stays outside. */
static void accept_clients(void)
{
    struct {
        int pid;
        unsigned uid, gid;
    } peer;
    int length;
    long fd;

    while ((fd = SYS4(__NR_accept4, m.listen, 0, 0, SOCK_CLOEXEC)) >= 0) {
        length = sizeof peer;
        if (SYS5(__NR_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
            (peer.uid == 0 || peer.uid == (unsigned)SYS0(__NR_geteuid)))
            client_add((int)fd, 0, 0);
        else
            SYS1(__NR_close, fd);
    }
}

static void close_stdin_pipe(void)
{
    close_fd(&m.in);
    m.stdin_length = m.stdin_done = 0;
}

/* Writes what clients sent; what is left waits for the container to read. */
static void feed_stdin(void)
{
    int target = m.pty >= 0 ? m.pty : m.in;
    long result;

    while (m.stdin_done < m.stdin_length) {
        result = SYS3(__NR_write, target, stdin_packet + 1 + m.stdin_done,
                      m.stdin_length - m.stdin_done);
        if (result == -EINTR)
            continue;
        if (result == -EAGAIN)
            return;
        if (result <= 0) {
            /* The program closed it: no credit any more, so that `yes | rl run -i …` stops. */
            if (m.pty < 0)
                close_stdin_pipe();
            m.stdin_done = m.stdin_length = 0;
            m.stdin_owner = -1;
            break;
        }
        m.stdin_done += (unsigned)result;
    }
    m.stdin_done = m.stdin_length = 0;
    if (m.stdin_owner >= 0) {
        m.clients[m.stdin_owner].owed |= OWED_CREDIT;
        client_flush(&m.clients[m.stdin_owner]);
        m.stdin_owner = -1;
    }
    for (int i = 0; i < CLIENTS; i++)
        m.clients[i].held = 0;
    if (m.stdin_ended && m.pty < 0)
        close_stdin_pipe();
}

static unsigned little16(const unsigned char *at)
{
    return at[0] | (unsigned)at[1] << 8;
}

static uint32_t little32(const unsigned char *at)
{
    return little16(at) | (uint32_t)little16(at + 2) << 16;
}

static void resize(unsigned rows, unsigned columns)
{
    struct winsize size = {(unsigned short)rows, (unsigned short)columns, 0, 0};

    if (m.pty >= 0)
        SYS3(__NR_ioctl, m.pty, TIOCSWINSZ, &size);
}

static void give_go(void)
{
    if (m.go >= 0)
        SYS3(__NR_write, m.go, "g", 1);
    close_fd(&m.go);
}

/* The user wants it to end: whatever the policy says, it isn't started again. If it was said
 * elsewhere than where the output goes, a reader that is stuck there mustn't prevent it. */
static void want_end(const struct client *client)
{
    m.stopped = 1;
    m.must_restart = 0;
    m.impatient |= !client->founder;
}

static void ask_health(struct client *client)
{
    if (health.command.count == 0 || !m.started || m.reaped) {
        client->owed |= OWED_HEALTH;
        client_flush(client);
        return;
    }
    client->asked = 1;
    if (health.pid == 0)
        health_start();
}

/* One packet other than stdin; false if it makes no sense. */
static int client_message(struct client *client, const unsigned char *packet, size_t length)
{
    const unsigned char *body = packet + 1;
    uint32_t patience;
    int i;

    switch (packet[0] | (int)(length - 1) << 8) {
    case 'A' | 1 << 8:
        client->bits = body[0] & (STDOUT_BIT | STDERR_BIT | STDIN_BIT);
        for (i = 0; i < 2; i++)
            if (!(client->bits & (1 << i)))
                client->pending &= (uint8_t)~(1 << i);
        return 1;
    case 'E':
        m.stdin_ended = m.pty < 0;
        return 1;
    case 'R' | 4 << 8:
        resize(little16(body), little16(body + 2));
        return 1;
    case 'S':
        give_go();
        return 1;
    case 'D':
        client->detached = 1;
        client->bits = client->pending = 0;
        return 1;
    case 'K' | 2 << 8:
        if (body[0] == 0 || body[0] > 64)
            return 0;
        if (body[1] & 1)
            want_end(client);
        signal_container(body[0]);
        return 1;
    case 'T' | 5 << 8:
        if (body[0] > 64)
            return 0;
        patience = little32(body + 1);
        want_end(client);
        stop_container(body[0] ? body[0] : m.stop_signal,
                       patience == UINT32_MAX ? NEVER : (int64_t)patience);
        return 1;
    case 'H':
        ask_health(client);
        return 1;
    default:
        return 0;
    }
}

/* Stdin goes where it is written from. When there is no room the packet stays in the
 * socket; a client that doesn't wait for its credit is dropped. */
static void client_stdin(struct client *client)
{
    long length;

    if (client->charged || !(client->bits & STDIN_BIT)) {
        client_drop(client);
        return;
    }
    if (m.stdin_length != 0) {
        client->held = 1;
        return;
    }
    length = SYS6(__NR_recvfrom, client->fd, stdin_packet, CHUNK + 1, MSG_DONTWAIT | MSG_TRUNC,
                  0, 0);
    if (length < 1 || length > CHUNK + 1) {
        client_drop(client);
        return;
    }
    client->charged = 1;
    /* Nobody will read it: no credit, so that the client's own source is left alone. */
    if (m.reaped || m.stdin_ended || (m.in < 0 && m.pty < 0))
        return;
    m.stdin_length = (unsigned)length - 1;
    m.stdin_done = 0;
    m.stdin_owner = (int)(client - m.clients);
    feed_stdin();
}

static void client_read(struct client *client)
{
    unsigned char packet[16];
    long length;

    while (client->fd >= 0 && !client->held) {
        length = SYS6(__NR_recvfrom, client->fd, packet, 1, MSG_DONTWAIT | MSG_PEEK, 0, 0);
        if (length == -EAGAIN || length == -EINTR)
            return;
        /* It closed the socket without having read all from us. That is told once, before
         * the packets that it had sent. */
        if (length == -ECONNRESET) {
            client_left(client);
            continue;
        }
        if (length == 1 && packet[0] == 'I') {
            client_stdin(client);
            continue;
        }
        if (length == 1)
            length = SYS6(__NR_recvfrom, client->fd, packet, sizeof packet,
                          MSG_DONTWAIT | MSG_TRUNC, 0, 0);
        if (length < 1 || length > (long)sizeof packet ||
            !client_message(client, packet, (size_t)length))
            client_drop(client);
    }
}

#endif
