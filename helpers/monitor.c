/* cflags: -nostdlib -ffreestanding -fno-stack-protector -U_FORTIFY_SOURCE -DRL_FREESTANDING -Wl,-z,noseparate-code -Wl,--build-id=none */
/*
 * The process that stays with a container: parent of its pid 1, owner of its stdio, keeper of
 * its log, its health, its clients and the record of its end. docs/monitor.md is its
 * interface and says why it is as it is.
 *
 *   monitor_log.h       output → k8s-file, json-file, journald
 *   monitor_health.h    the check command and what comes of it
 *   monitor_clients.h   the socket: attach, signals, start, the news
 *   monitor_record.h    the files `started` and `exit`
 *   monitor_words.h     argv
 *   here                the loop and the end
 *
 * One loop around ppoll, one thread, no heap. The phases only go forward:
 * LIVING → DRAINING (pid 1 is reaped, output isn't) → TELLING (clients are owed the end) →
 * CLEANING (helpers are on their way out) → DELAYING (before a restart) → DONE.
 */
#include "monitor.h"

#include "monitor_clients.h"
#include "monitor_health.h"
#include "monitor_record.h"
#include "monitor_regain.h"
#include "monitor_words.h"

#define POLLED (8 + CLIENTS)

static struct pollfd polled[POLLED];
static int polled_count;

static void program_runs(void)
{
    m.started = 1;
    SYS2(__NR_clock_gettime, CLOCK_REALTIME, &m.started_at);
    close_fd(&m.go);
    write_started();
    note_event("start", &m.started_at, NULL);
    if (m.timeout > 0)
        m.timeout_at = m.now + m.timeout;
    health_begin();
    owe_all(OWED_START);
}

static void launch_failed(void)
{
    m.failed = 1;
    close_fd(&m.go);
    owe_all(OWED_START);
}

/* P3's side of the status pipe: READY, then either its execve closes it or an error comes. */
static void read_status(void)
{
    char waste[64];
    size_t room;
    long result;

    while (m.status >= 0) {
        room = m.launch.size - m.launch.used;
        result = room > 0 ? SYS3(__NR_read, m.status, m.launch.start + m.launch.used, room)
                          : SYS3(__NR_read, m.status, waste, sizeof waste);
        if (result == -EINTR)
            continue;
        if (result == -EAGAIN)
            return;
        if (result <= 0) {
            close_fd(&m.status);
            break;
        }
        if (!m.ready && m.launch.used == 0 && m.launch.start[0] == READY) {
            m.ready = 1;
            result--;
            for (long i = 0; i < result; i++)
                m.launch.start[i] = m.launch.start[i + 1];
        }
        m.launch.used += room > 0 ? (size_t)result : 0;
    }
    if (m.started || m.failed)
        return;
    if (m.ready && m.launch.used == 0)
        program_runs();
    else
        launch_failed();
}

/* Hands a chunk to the log and to everybody attached; who has no room for it holds it. */
static void deliver(int which, size_t length)
{
    struct stream *stream = &m.streams[which];
    long result;

    stream->length = (unsigned)length;
    log_chunk(which, stream->packet + 1, length, 0);
    for (int i = 0; i < CLIENTS; i++) {
        struct client *client = &m.clients[i];

        if (client->fd < 0 || !(client->bits & (1 << which)))
            continue;
        /* What is owed goes first: nobody sees output before the start. */
        if (client->owed != 0)
            client_flush(client);
        if (client->fd < 0)
            continue;
        result = client->owed != 0 ? -EAGAIN : client_send(client, stream->packet, length + 1);
        if (result == -EAGAIN)
            client->pending |= (uint8_t)(1 << which);
        else if (result < 0)
            client_left(client);
    }
}

static int stream_held(int which)
{
    for (int i = 0; i < CLIENTS; i++)
        if (m.clients[i].pending & (1 << which))
            return 1;
    return 0;
}

/* Fills the stream's packet; what read(2) said last. A program that writes much does so in
 * small pieces: put together they cost its reader a fraction of the packets. */
static long fill_packet(struct stream *stream, size_t *filled)
{
    long result;

    *filled = 0;
    do {
        result = SYS3(__NR_read, stream->fd, stream->packet + 1 + *filled, CHUNK - *filled);
        if (result > 0)
            *filled += (size_t)result;
    } while (result == -EINTR || (result >= BULK && *filled < CHUNK));
    return result;
}

/* Reads one chunk; false if there was none to read now. */
static int read_stream(int which)
{
    struct stream *stream = &m.streams[which];
    size_t filled;
    long result;

    if (stream->fd < 0 || stream_held(which))
        return 0;
    result = fill_packet(stream, &filled);
    if (filled > 0) {
        stream->packet[0] = which == 0 ? 'o' : 'e';
        m.drained += filled;
        deliver(which, filled);
        return 1;
    }
    if (result == -EAGAIN)
        return 0;
    /* The end; or EIO, which is how a terminal ends. */
    log_chunk(which, NULL, 0, 1);
    if (m.pty >= 0)
        m.pty = -1;
    close_fd(&stream->fd);
    return 0;
}

static void reap(void)
{
    int status;
    long pid;

    while ((pid = SYS4(__NR_wait4, -1, &status, WNOHANG, 0)) > 0) {
        if (pid == m.pid && !m.reaped) {
            m.reaped = 1;
            m.wait_status = status;
            SYS2(__NR_clock_gettime, CLOCK_REALTIME, &m.finished_at);
        } else if (pid == health.pid) {
            health_ended(status);
        }
        for (int i = 0; i < m.helper_count; i++)
            if (m.helpers[i] == pid)
                m.helpers[i] = 0;
    }
}

/* Only what wait says is a living child of ours is ever killed.
 *
 * fuse2fs serves the writable layer and ends, its last byte written, when nobody uses that any
 * more: it is never killed, only asked where others are. */
static int end_helpers(int number)
{
    int alive = 0;
    int status;

    for (int i = 0; i < m.helper_count; i++) {
        if (m.helpers[i] == 0)
            continue;
        if (SYS4(__NR_wait4, m.helpers[i], &status, WNOHANG, 0) != 0) {
            m.helpers[i] = 0;
            continue;
        }
        if (m.writers >> i & 1) {
            if (number == SIGKILL)
                SYS2(__NR_kill, m.helpers[i], SIGINT);
        } else if (number != 0) {
            SYS2(__NR_kill, m.helpers[i], m.unawaited >> i & 1 ? SIGKILL : number);
            /* Those that serve the root don't hear SIGTERM, which systemd sends to all at once. */
            if (number == SIGTERM)
                SYS2(__NR_kill, m.helpers[i], SIGINT);
        }
        alive |= !(m.unawaited >> i & 1);
    }
    return alive;
}

/* A killed network helper spends some 20 ms in the kernel taking its interface down.  Only
 * this process waits for it, so that it's a zombie to nobody; the container is let go of. */
static void outlive_helpers(void)
{
    int status;

    SYS1(__NR_close, m.alive);
    for (int i = 0; i < m.helper_count; i++)
        if (m.helpers[i] != 0)
            SYS4(__NR_wait4, m.helpers[i], &status, 0, 0);
}

static void read_signals(void)
{
    struct signalfd_siginfo news;

    while (SYS3(__NR_read, m.signals, &news, sizeof news) == (long)sizeof news) {
        if (news.ssi_signo == SIGCHLD) {
            reap();
        } else if (news.ssi_signo == SIGUSR1) {
            regain();
        } else {
            m.terminated = m.impatient = 1;
            m.must_restart = 0;
            stop_container(m.stop_signal, m.stop_timeout);
        }
    }
}

static void note_end(void)
{
    char bytes[40];
    struct text more = {bytes, sizeof bytes, 0};

    if (!m.started)
        return;
    if (m.oom)
        note_event("oom", &m.finished_at, NULL);
    put_text(&more, ",\"ContainerExitCode\":");
    put_number(&more, exit_code());
    note_event("died", &m.finished_at, &more);
}

static void container_ended(void)
{
    m.phase = DRAINING;
    m.drained = 0;
    m.kill_at = m.timeout_at = health.next_at = NEVER;
    read_status();
    if (!m.started && !m.failed)
        launch_failed(); /* somebody else holds the pipe open: nothing was said */
    m.oom = count_oom_kills() > m.oom_before;
    end_cgroup();
    note_end();
    close_stdin_pipe();
    health_kill();
    if (m.layer >= 0) {
        SYS1(__NR_close, m.layer);
        m.layer = -1;
    }
    end_helpers(SIGTERM);
    m.helpers_kill_at = m.now + HELPER_PATIENCE;
}

/* True when all output that was there is read and taken. */
static int drained(void)
{
    int held = 0;

    for (int i = 0; i < 2; i++) {
        while (m.drained < DRAIN_MOST && read_stream(i))
            ;
        held |= stream_held(i);
    }
    return !held;
}

static void tell_the_end(void)
{
    m.phase = TELLING;
    for (int i = 0; i < 2; i++)
        if (m.streams[i].fd >= 0)
            log_chunk(i, NULL, 0, 1);
    write_exit();
    for (int i = 0; i < CLIENTS; i++)
        if (m.clients[i].asked) {
            m.clients[i].asked = 0;
            m.clients[i].owed |= OWED_HEALTH;
        }
    owe_all(OWED_EXIT);
}

static int clients_behind(void)
{
    int behind = 0;

    for (int i = 0; i < CLIENTS; i++)
        behind |= client_behind(&m.clients[i]);
    return behind;
}

static int has_settled(void)
{
    return m.settled > 0 && m.started && m.finished_at.tv_sec - m.started_at.tv_sec >= m.settled;
}

/* Goes as far forward as it can without waiting. */
static void advance(void)
{
    if (m.phase == LIVING && m.reaped)
        container_ended();
    if (m.phase == DRAINING) {
        if (drained())
            tell_the_end();
        else if (!m.exit_written)
            write_exit();
        if (m.phase == DRAINING)
            tell_bystanders();
    }
    if (m.phase == TELLING && !clients_behind()) {
        sync_exit_late();
        m.phase = CLEANING;
    }
    if (m.phase == CLEANING && health.pid == 0 && !end_helpers(0)) {
        m.phase = DELAYING;
        m.restarting = will_restart();
        m.restart_at = m.now + (has_settled() ? m.settled_delay : m.restart_delay);
    }
    if (m.phase == DELAYING && m.restarting && !will_restart()) {
        m.restarting = 0;
        write_exit();
    }
    if (m.phase == DELAYING && (!m.restarting || m.now >= m.restart_at))
        m.phase = DONE;
}

static void answer_health(void)
{
    for (int i = 0; i < CLIENTS; i++)
        if (m.clients[i].asked && m.clients[i].fd >= 0) {
            m.clients[i].asked = 0;
            m.clients[i].owed |= OWED_HEALTH;
            client_flush(&m.clients[i]);
        }
}

static void give_back_memory(void)
{
    m.idle_at = NEVER;
    if (m.stdin_length == 0)
        SYS3(__NR_madvise, stdin_packet, sizeof stdin_packet, MADV_DONTNEED);
    for (int i = 0; i < 2; i++)
        if (!stream_held(i))
            SYS3(__NR_madvise, packets[i], sizeof packets[i], MADV_DONTNEED);
    SYS3(__NR_madvise, log_buffer, sizeof log_buffer, MADV_DONTNEED);
}

static void keep_time(void)
{
    m.now = monotonic();
    if (m.timeout_at <= m.now) {
        m.timeout_at = NEVER;
        m.timed_out = 1;
        stop_container(SIGKILL, 0);
    }
    if (m.kill_at <= m.now) {
        m.kill_at = NEVER;
        signal_container(SIGKILL);
    }
    if (m.helpers_kill_at <= m.now) {
        m.helpers_kill_at = NEVER;
        end_helpers(SIGKILL);
    }
    if (m.idle_at <= m.now)
        give_back_memory();
    health_tick();
    drop_slow_clients();
}

static int64_t earliest(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

static int64_t next_deadline(void)
{
    int64_t at = earliest(m.kill_at, m.timeout_at);

    at = earliest(at, earliest(m.helpers_kill_at, m.idle_at));
    at = earliest(at, health.kill_at);
    if (health.pid == 0 && !m.reaped)
        at = earliest(at, health.next_at);
    if (m.phase == DELAYING)
        at = earliest(at, m.restart_at);
    for (int i = 0; i < CLIENTS; i++)
        at = earliest(at, client_deadline(&m.clients[i]));
    return at;
}

static struct pollfd *want(int fd, int events)
{
    struct pollfd *slot = &polled[polled_count];

    if (fd < 0 || events == 0)
        return NULL;
    *slot = (struct pollfd){.fd = fd, .events = (short)events, .revents = 0};
    polled_count++;
    return slot;
}

static int answered(const struct pollfd *slot)
{
    return slot != NULL && slot->revents != 0;
}

static void sleep_until_news(int64_t deadline)
{
    struct timespec pause;
    int64_t rest = deadline - m.now;

    if (rest < 0)
        rest = 0;
    pause.tv_sec = (long)(rest / 1000);
    pause.tv_nsec = (long)(rest % 1000) * 1000000;
    SYS5(__NR_ppoll, polled, polled_count, deadline == NEVER ? NULL : &pause, 0, 0);
}

/* One round: wait, then look at everything that has news, what was asked for first. */
static void one_round(void)
{
    struct pollfd *signals, *listen, *status, *check, *in, *streams[2] = {NULL, NULL};
    struct pollfd *clients[CLIENTS];
    int busy = 0;

    polled_count = 0;
    signals = want(m.signals, POLLIN);
    listen = want(m.listen, POLLIN);
    status = want(m.status, POLLIN);
    check = want(health.output, POLLIN);
    in = want(m.pty >= 0 ? m.pty : m.in, m.stdin_length > 0 ? POLLOUT : 0);
    for (int i = 0; i < 2 && m.phase <= DRAINING; i++)
        streams[i] = want(stream_held(i) ? -1 : m.streams[i].fd, POLLIN);
    for (int i = 0; i < CLIENTS; i++) {
        struct client *client = &m.clients[i];

        clients[i] = want(client->fd, (client->held ? 0 : POLLIN) |
                                          (client_behind(client) ? POLLOUT : 0));
    }
    sleep_until_news(next_deadline());
    keep_time();
    if (answered(status))
        read_status();
    if (answered(listen))
        accept_clients();
    for (int i = 0; i < CLIENTS; i++) {
        if (!answered(clients[i]) || m.clients[i].fd != clients[i]->fd)
            continue;
        if (client_behind(&m.clients[i]))
            client_flush(&m.clients[i]);
        if (m.clients[i].fd >= 0)
            client_read(&m.clients[i]);
        busy = 1;
    }
    if (answered(in) || (m.stdin_ended && m.in >= 0))
        feed_stdin();
    for (int i = 0; i < 2; i++)
        if (answered(streams[i]))
            busy |= read_stream(i);
    if (answered(check))
        health_read();
    if (answered(signals)) {
        int runs = health.count;

        read_signals();
        if (health.count != runs)
            answer_health();
    }
    if (busy && m.idle_at == NEVER)
        m.idle_at = m.now + IDLE;
}

static void become_on_exit(void)
{
    int wanted = m.on_exit_when == ON_EXIT_ALWAYS || will_restart() ||
                 (m.on_exit_when == ON_EXIT_UNTOLD && !m.founder_told);

    if (m.on_exit.count == 0 || !wanted)
        return;
    if (m.alive_kept && m.alive >= 0)
        SYS3(__NR_fcntl, m.alive, F_SETFD, 0);
    restore_signals();
    SYS3(__NR_execve, m.on_exit.words[0], m.on_exit.words, m.environment);
}

/* Whoever connected while we were leaving still gets an answer, and is heard: it may not
 * want the container to be started again. */
static void leave(void)
{
    if (m.listen >= 0) {
        SYS3(__NR_unlinkat, m.run, "control", 0);
        accept_clients();
        for (int i = 0; i < CLIENTS; i++)
            client_read(&m.clients[i]);
        if (m.restarting && !will_restart())
            write_exit();
    }
    for (int i = 0; i < CLIENTS; i++)
        if (m.clients[i].fd >= 0)
            close_politely(&m.clients[i].fd);
    become_on_exit();
}

static void begin(void)
{
    m.now = monotonic();
    SYS3(__NR_unlinkat, m.run, "started", 0); /* first: without `exit` it would say running */
    SYS3(__NR_unlinkat, m.dir, "exit", 0);
    SYS3(__NR_unlinkat, m.run, "health", 0);
    prepare_exit_file();
    m.oom_before = count_oom_kills();
    if (m.status < 0)
        program_runs();
    else
        read_status();
    reap();
}

int main(int argc, char **argv, char **envp)
{
    const char *wrong;

    m.environment = envp;
    wrong = read_words(argc, argv);
    if (wrong == NULL)
        wrong = set_up();
    if (wrong != NULL)
        return give_up(wrong);
    begin();
    for (advance(); m.phase != DONE; advance())
        one_round();
    leave();
    outlive_helpers();
    return 0;
}
