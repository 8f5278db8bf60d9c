/*
 * What is written down about a container: that its program runs, and how it ended.
 */
#ifndef RL_MONITOR_RECORD_H
#define RL_MONITOR_RECORD_H

#include "monitor.h"
#include "monitor_clients.h"

/* The file of the record exists, with room on the disk, before anything can go wrong. */
static void prepare_exit_file(void)
{
    struct text text = {log_buffer, 1024, 0};

    while (text.used < text.size)
        put(&text, "                                ", 32);
    m.exit_file = (int)SYS4(__NR_openat, m.dir, ".exit.new",
                            O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (m.exit_file >= 0)
        write_all(m.exit_file, text.start, text.used);
}

static void put_fact(struct text *text, const char *name, int value)
{
    put_text(text, name);
    put_text(text, value ? "true" : "false");
}

static void put_exit(struct text *text)
{
    put_text(text, "{\"version\":1,\"code\":");
    put_number(text, exit_code());
    put_text(text, ",\"signal\":");
    put_number(text, exit_signal());
    put_fact(text, ",\"oom\":", m.oom);
    put_text(text, ",\"pid\":");
    put_number(text, m.pid);
    put_text(text, ",\"started\":");
    if (m.started) {
        put_text(text, "\"");
        put_time(text, &m.started_at);
        put_text(text, "\"");
    } else {
        put_text(text, "null,\"error\":");
        put_json(text, m.launch.start, m.launch.used);
    }
    put_text(text, ",\"finished\":\"");
    put_time(text, &m.finished_at);
    put_fact(text, "\",\"stopped\":", m.stopped);
    put_fact(text, ",\"restart\":", will_restart());
    put_fact(text, ",\"timed_out\":", m.timed_out);
    put_text(text, ",\"log_lost\":");
    put_number(text, (long long)the_log.lost);
    put_text(text, "}\n");
}

static void write_exit(void)
{
    struct text text = {log_buffer, LOG_BUFFER, 0};

    if (m.exit_written)
        close_fd(&m.exit_file); /* that file has the name already: a newer record replaces it */
    if (m.exit_file < 0)
        prepare_exit_file();
    put_exit(&text);
    m.exit_written = 1;
    SYS3(__NR_lseek, m.exit_file, 0, 0);
    if (write_all(m.exit_file, text.start, text.used) < 0)
        return;
    SYS2(__NR_ftruncate, m.exit_file, text.used);
    if (m.sync == SYNC_FIRST)
        SYS1(__NR_fsync, m.exit_file);
    SYS5(__NR_renameat2, m.dir, ".exit.new", m.dir, "exit", 0);
    if (m.sync == SYNC_FIRST)
        SYS1(__NR_fsync, m.dir);
}

static void sync_exit_late(void)
{
    if (m.sync == SYNC_LATE) {
        SYS1(__NR_fsync, m.exit_file);
        SYS1(__NR_fsync, m.dir);
    }
}

static void write_started(void)
{
    struct text text = {log_buffer, LOG_BUFFER, 0};

    put_text(&text, "{\"version\":1,\"pid\":");
    put_number(&text, m.pid);
    put_text(&text, ",\"started\":\"");
    put_time(&text, &m.started_at);
    put_text(&text, "\"}\n");
    replace_file(m.run, "started", ".started.new", &text);
}

/* How often the kernel killed something in the container's cgroup for lack of memory. */
static uint64_t count_oom_kills(void)
{
    char events[512];
    const char *key = "oom_kill ";
    uint64_t count = 0;
    long fd, length;

    if (m.cgroup < 0)
        return 0;
    fd = SYS4(__NR_openat, m.cgroup, "memory.events", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    length = SYS3(__NR_read, fd, events, sizeof events);
    SYS1(__NR_close, fd);
    for (long i = 0; i + 9 < length; i++) {
        if (!same_bytes(events + i, key, 9) || (i > 0 && events[i - 1] != '\n'))
            continue;
        for (i += 9; i < length && events[i] >= '0' && events[i] <= '9'; i++)
            count = count * 10 + (uint64_t)(events[i] - '0');
        break;
    }
    return count;
}

/* Ends what is left in the container's cgroup: without a pid namespace of its own nothing else
 * does. */
static void end_cgroup(void)
{
    long fd;

    if (m.cgroup < 0)
        return;
    fd = SYS4(__NR_openat, m.cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    SYS3(__NR_write, fd, "1", 1);
    SYS1(__NR_close, fd);
}

#endif
