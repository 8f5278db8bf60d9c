/*
 * Health checks: one command, run now and then, never twice at a time; what it said and
 * how it ended is kept in `health` of the runtime directory.
 */
#ifndef RL_MONITOR_HEALTH_H
#define RL_MONITOR_HEALTH_H

#include "monitor.h"

#define HEALTH_RUNS 5
#define HEALTH_OUTPUT 500
#define HEALTH_KILLED (-1)
#define HEALTH_NONE 255

enum health_action { ACTION_NONE, ACTION_KILL, ACTION_RESTART, ACTION_STOP };
enum health_status { STARTING, HEALTHY, UNHEALTHY };

struct health_run {
    struct timespec start, end;
    int code;
    size_t length;
    char output[HEALTH_OUTPUT];
};

struct health {
    struct command command;
    int64_t interval, timeout, start_period;
    int retries;
    enum health_action action;
    enum health_status status;
    int streak;
    int pid; /* of the running check, 0: none */
    int output;
    int killed, in_start_period;
    int64_t next_at, kill_at, start_period_at;
    int count; /* runs so far */
    struct health_run runs[HEALTH_RUNS];
};

static struct health health;
static const char *const health_names[] = {"starting", "healthy", "unhealthy"};

static struct health_run *health_last(void)
{
    return &health.runs[(health.count + HEALTH_RUNS - 1) % HEALTH_RUNS];
}

/* Uses the log's buffer, which is empty between two chunks: five runs whose every byte
 * became six fit into it. */
static void health_write(void)
{
    struct text text = {log_buffer, LOG_BUFFER, 0};
    int first = health.count > HEALTH_RUNS ? health.count - HEALTH_RUNS : 0;

    put_text(&text, "{\"Status\":\"");
    put_text(&text, health_names[health.status]);
    put_text(&text, "\",\"FailingStreak\":");
    put_number(&text, health.streak);
    put_text(&text, ",\"Log\":[");
    for (int i = first; i < health.count; i++) {
        const struct health_run *run = &health.runs[i % HEALTH_RUNS];

        put_text(&text, i > first ? ",{\"Start\":\"" : "{\"Start\":\"");
        put_time(&text, &run->start);
        put_text(&text, "\",\"End\":\"");
        put_time(&text, &run->end);
        put_text(&text, "\",\"ExitCode\":");
        put_number(&text, run->code);
        put_text(&text, ",\"Output\":");
        put_json(&text, run->output, run->length);
        put_text(&text, "}");
    }
    put_text(&text, "]}\n");
    replace_file(m.run, "health", ".health.new", &text);
}

static long health_answer(int fd)
{
    char packet[2 + HEALTH_OUTPUT] = {'h', (char)HEALTH_NONE};
    const char *why = "no health check";
    const struct health_run *run = health_last();
    size_t length = text_length(why);

    if (m.started && health.command.count > 0 && health.count > 0) {
        packet[1] = (char)run->code;
        length = run->length;
        copy_bytes(packet + 2, run->output, length);
    } else {
        copy_bytes(packet + 2, why, length);
    }
    return SYS6(__NR_sendto, fd, packet, 2 + length, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
}

static int container_frozen(void)
{
    char state = '0';
    long fd = SYS4(__NR_openat, m.run, "paused", O_PATH | O_CLOEXEC | O_NOFOLLOW, 0);

    if (fd >= 0) {
        SYS1(__NR_close, fd);
        return 1;
    }
    if (m.cgroup < 0)
        return 0;
    fd = SYS4(__NR_openat, m.cgroup, "cgroup.freeze", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    SYS3(__NR_read, fd, &state, 1);
    SYS1(__NR_close, fd);
    return state == '1';
}

__attribute__((noreturn)) static void health_child(int output)
{
    static const char failed[] = "the health check command cannot be executed\n";

    /* A group of its own, to be killed as one. */
    SYS2(__NR_setpgid, 0, 0);
    SYS3(__NR_dup3, output, 1, 0);
    SYS3(__NR_dup3, output, 2, 0);
    restore_signals();
    SYS3(__NR_execve, health.command.words[0], health.command.words, m.environment);
    SYS3(__NR_write, 2, failed, sizeof failed - 1);
    sys_exit(ENGINE_FAILED);
}

static void health_start(void)
{
    struct health_run *run = &health.runs[health.count % HEALTH_RUNS];
    int ends[2];
    long pid;

    health.next_at = NEVER;
    if (SYS2(__NR_pipe2, ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        health.next_at = m.now + 1000;
        return;
    }
    /* The command's own end must block as any program expects. */
    SYS3(__NR_fcntl, ends[1], F_SETFL, 0);
    pid = sys_fork();
    if (pid == 0)
        health_child(ends[1]);
    SYS1(__NR_close, ends[1]);
    if (pid < 0) {
        SYS1(__NR_close, ends[0]);
        health.next_at = m.now + 1000;
        return;
    }
    SYS2(__NR_setpgid, pid, pid);
    *run = (struct health_run){0};
    SYS2(__NR_clock_gettime, CLOCK_REALTIME, &run->start);
    health.pid = (int)pid;
    health.output = ends[0];
    health.killed = 0;
    health.in_start_period = health.status == STARTING && m.now < health.start_period_at;
    health.kill_at = m.now + health.timeout;
}

/* Keeps the beginning of what the check says; reads the rest so that it isn't stopped. */
static void health_read(void)
{
    struct health_run *run = &health.runs[health.count % HEALTH_RUNS];
    char waste[512];
    size_t room, rounds = 64;
    long result;

    while (health.output >= 0 && rounds-- > 0) {
        room = HEALTH_OUTPUT - run->length;
        result = room > 0 ? SYS3(__NR_read, health.output, run->output + run->length, room)
                          : SYS3(__NR_read, health.output, waste, sizeof waste);
        if (result == -EAGAIN || result == -EINTR)
            return;
        if (result <= 0)
            close_fd(&health.output);
        else if (room > 0)
            run->length += (size_t)result;
    }
}

static void health_kill(void)
{
    if (health.pid == 0)
        return;
    SYS2(__NR_kill, -health.pid, SIGKILL);
    SYS2(__NR_kill, health.pid, SIGKILL);
    health.killed = 1;
    health.kill_at = NEVER;
}

static void health_act(void)
{
    switch (health.action) {
    case ACTION_KILL:
        signal_container(SIGKILL);
        break;
    case ACTION_RESTART:
        m.must_restart = 1;
        stop_container(m.stop_signal, m.stop_timeout);
        break;
    case ACTION_STOP:
        m.stopped = 1;
        stop_container(m.stop_signal, m.stop_timeout);
        break;
    case ACTION_NONE:
        break;
    }
}

static void health_judge(int code)
{
    if (code == 0) {
        health.status = HEALTHY;
        health.streak = 0;
        return;
    }
    if (health.in_start_period)
        return;
    health.streak++;
    if (health.streak < health.retries || health.status == UNHEALTHY)
        return;
    health.status = UNHEALTHY;
    health_act();
}

static void health_note(const struct health_run *run)
{
    char bytes[32] = {0};
    struct text more = {bytes, sizeof bytes, 0};

    put_text(&more, ",\"HealthStatus\":\"");
    put_text(&more, health_names[health.status]);
    put_text(&more, "\"");
    note_event("health_status", &run->end, &more);
}

/* The check was reaped. */
static void health_ended(int status)
{
    struct health_run *run = &health.runs[health.count % HEALTH_RUNS];

    health_read();
    close_fd(&health.output);
    SYS2(__NR_clock_gettime, CLOCK_REALTIME, &run->end);
    run->code = health.killed         ? HEALTH_KILLED
                : WIFSIGNALED(status) ? 128 + WTERMSIG(status)
                                      : WEXITSTATUS(status);
    health.pid = 0;
    health.kill_at = NEVER;
    health.count++;
    /* Five runs are kept; the count mustn't wrap in a container that lives for years. */
    if (health.count >= HEALTH_RUNS * 1000)
        health.count -= HEALTH_RUNS * 999;
    /* A check that the container's own end cut short says nothing about its health. */
    if (!m.reaped)
        health_judge(run->code);
    health_write();
    if (!m.reaped)
        health_note(run);
    health.next_at = health.interval > 0 && !m.reaped ? m.now + health.interval : NEVER;
}

static void health_begin(void)
{
    health.start_period_at = m.now + health.start_period;
    if (health.command.count == 0)
        return;
    health_write();
    health.next_at = health.interval > 0 ? m.now : NEVER;
}

static void health_tick(void)
{
    if (health.kill_at <= m.now)
        health_kill();
    if (health.next_at > m.now || health.pid != 0 || m.reaped)
        return;
    if (container_frozen())
        health.next_at = m.now + (health.interval > 0 ? health.interval : 1000);
    else
        health_start();
}

#endif
