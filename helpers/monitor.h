/*
 * What the monitor knows: one container, its streams, its clients. Everything static.
 */
#ifndef RL_MONITOR_H
#define RL_MONITOR_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "monitor_log.h"
#include "sys.h"
#include "text.h"

#define CHUNK 32768 /* payload of the largest packet */
#define BULK 2048   /* from here on a read is worth another one at once */
#define CLIENTS 32
#define HELPERS 16
#define LAUNCH_TEXT 4000
#define READY 0x06        /* P3's last word before execve */
#define DRAIN_MOST 1048576 /* what a full pipe may hold at the end */
#define HELPER_PATIENCE 2000
#define CLIENT_PATIENCE 30000
#define CLIENT_PATIENCE_AT_END 5000
#define IDLE 1000
#define NEVER INT64_MAX
#define ENGINE_FAILED 125
#define EVENTS_MOST 1048576 /* at this size the event log becomes EVENTS.1 */
#define EVENTS_PATH 256

enum { STDOUT_BIT = 1, STDERR_BIT = 2, STDIN_BIT = 4 };
/* In the order in which they are paid: the end comes last. */
enum { OWED_CREDIT = 1, OWED_START = 2, OWED_HEALTH = 4, OWED_EXIT = 8 };
enum { EXIT_OOM = 1, EXIT_STOPPED = 2, EXIT_RESTART = 4, EXIT_UNSTARTED = 8, EXIT_TIMEOUT = 16 };
enum restart { RESTART_NO, RESTART_ON_FAILURE, RESTART_ALWAYS };
enum sync { SYNC_NO, SYNC_LATE, SYNC_FIRST };
/* When the command after the end is wanted. */
enum on_exit_when { ON_EXIT_ALWAYS, ON_EXIT_RESTART, ON_EXIT_UNTOLD };

enum phase { LIVING, DRAINING, TELLING, CLEANING, DELAYING, DONE };

/* A stream from the container. Its chunk stays here until every attached client has it. */
struct stream {
    int fd;
    unsigned length; /* of the chunk that `pending` clients still wait for */
    char *packet;    /* type byte, then the chunk */
};

struct client {
    int fd; /* -1: free */
    uint8_t founder;
    uint8_t bits;    /* what it is attached to */
    uint8_t pending; /* streams whose chunk it hasn't taken: 1 << stream */
    uint8_t owed;
    uint8_t held;     /* its next stdin waits for room */
    uint8_t detached; /* said goodbye: its end isn't the end of stdin */
    uint8_t charged;  /* has sent stdin and waits for credit */
    uint8_t asked;    /* wants the result of the health check */
    uint8_t told;     /* has got the end */
    uint8_t deaf;     /* has left: only what it sent before is of interest */
    int64_t since;    /* when it last took something, while it is behind */
};

struct command {
    char **words;
    int count;
};

struct monitor {
    const char *id, *name, *log_tag;
    const char *events, *event; /* the event log's path below dir; facts for each line of it */
    char **environment;
    int pid, dir, run, alive, alive_kept, in, pty, pty_peer, listen, status, go, cgroup, layer,
        ports, null;
    int signals, exit_file;
    struct stream streams[2];
    struct client clients[CLIENTS];
    int helpers[HELPERS];
    int helper_count;
    unsigned unawaited; /* bit N: helpers[N] has nothing that anybody could miss */
    unsigned writers;   /* bit N: helpers[N] has something to write out, and ends by itself */
    /* settings */
    int stop_signal, founder_bits;
    int64_t stop_timeout, timeout, patience;
    enum restart restart;
    int restart_most, restarts;
    int64_t restart_delay, settled_delay;
    int settled; /* seconds */
    enum sync sync;
    struct command on_exit;
    enum on_exit_when on_exit_when;
    /* state */
    enum phase phase;
    int started, failed, reaped, wait_status, timed_out, stopped, terminated, must_restart;
    int restarting, impatient;
    int oom, exit_written, founder_told;
    uint64_t oom_before;
    int ready;
    struct text launch;
    struct timespec started_at, finished_at;
    int64_t now, kill_at, timeout_at, helpers_kill_at, restart_at, idle_at;
    size_t drained;
    unsigned stdin_length, stdin_done;
    int stdin_ended; /* close the pipe once what is here is written */
    int stdin_owner; /* the client that gets the credit, -1: none */
};

static struct monitor m;

/* Whole pages of their own, so that they can be handed back when nothing goes on. */
static _Alignas(4096) char packets[2][CHUNK + 4096];
static _Alignas(4096) char stdin_packet[CHUNK + 4096];
static char launch_area[LAUNCH_TEXT + 1];

static inline int64_t monotonic(void)
{
    struct timespec moment;

    SYS2(__NR_clock_gettime, CLOCK_MONOTONIC, &moment);
    return (int64_t)moment.tv_sec * 1000 + moment.tv_nsec / 1000000;
}

static inline void close_fd(int *fd)
{
    if (*fd >= 0)
        SYS1(__NR_close, *fd);
    *fd = -1;
}

static inline void set_nonblocking(int fd)
{
    long flags = SYS3(__NR_fcntl, fd, F_GETFL, 0);

    if (flags >= 0)
        SYS3(__NR_fcntl, fd, F_SETFL, flags | O_NONBLOCK);
}

static inline long write_all(int fd, const char *bytes, size_t length)
{
    size_t done = 0;
    long result;

    while (done < length) {
        result = SYS3(__NR_write, fd, bytes + done, length - done);
        if (result == -EINTR)
            continue;
        if (result <= 0)
            return result < 0 ? result : -EIO;
        done += (size_t)result;
    }
    return 0;
}

/* For state in the runtime directory: a reader sees the old text or the new one. */
static inline void replace_file(int dir, const char *name, const char *fresh,
                                const struct text *text)
{
    long fd = SYS4(__NR_openat, dir, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                   0600);
    long result;

    if (fd < 0)
        return;
    result = write_all((int)fd, text->start, text->used);
    SYS1(__NR_close, fd);
    if (result == 0)
        SYS5(__NR_renameat2, dir, fresh, dir, name, 0);
    else
        SYS3(__NR_unlinkat, dir, fresh, 0);
}

static inline long events_open(void)
{
    return SYS4(__NR_openat, m.dir, m.events,
                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* Whoever was first has made room already: then the file of that name is small. */
static inline void events_rotate(void)
{
    char path[EVENTS_PATH] = {0};
    struct text old = {path, sizeof path - 1, 0};
    long fd = events_open();

    if (fd < 0)
        return;
    put_text(&old, m.events);
    put_text(&old, ".1");
    if (SYS3(__NR_lseek, fd, 0, SEEK_END) > EVENTS_MOST && old.used < old.size)
        SYS5(__NR_renameat2, m.dir, m.events, m.dir, path, 0);
    SYS1(__NR_close, fd);
}

/* One line of the event log, written whole: `more` are further members, or NULL. The file is
 * opened for each, because others rename it. What can't be written is left out. */
static inline void note_event(const char *status, const struct timespec *moment,
                              const struct text *more)
{
    struct text line = {log_buffer, LOG_BUFFER, 0};
    long fd, result;

    if (m.events == NULL || (fd = events_open()) < 0)
        return;
    put_text(&line, "{\"Type\":\"container\",\"Status\":\"");
    put_text(&line, status);
    put_text(&line, "\",\"Time\":\"");
    put_time(&line, moment);
    put_text(&line, "\"");
    if (m.event != NULL) {
        put_text(&line, ",");
        put_text(&line, m.event);
    }
    if (more != NULL)
        put(&line, more->start, more->used);
    put_text(&line, "}\n");
    do
        result = SYS3(__NR_write, fd, line.start, line.used);
    while (result == -EINTR);
    result = SYS3(__NR_lseek, fd, 0, SEEK_END);
    SYS1(__NR_close, fd);
    if (result > EVENTS_MOST)
        events_rotate();
}

/* The container's pid 1 is our child and not waited for, so its pid can't be another's. */
static inline void signal_container(int number)
{
    if (!m.reaped)
        SYS2(__NR_kill, m.pid, number);
}

/* patience in ms, NEVER for a signal only. Before its execve P3 is a program of ours that,
 * as pid 1, ignores signals: there the stop signal would only waste the time-out. */
static inline void stop_container(int number, int64_t patience)
{
    int64_t at = patience == NEVER ? NEVER : m.now + patience;

    if (m.reaped)
        return;
    signal_container(m.started && patience != 0 ? number : SIGKILL);
    if (at < m.kill_at)
        m.kill_at = at;
}

/* In a child, before execve: nothing of the monitor's own arrangement is inherited. */
static inline void restore_signals(void)
{
    sys_signal(SIGHUP, 0);
    sys_signal(SIGINT, 0);
    sys_signal(SIGPIPE, 0);
    sys_sigmask(SIG_SETMASK, 0);
}

#endif
