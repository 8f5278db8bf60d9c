/*
 * What the container says, written down: k8s-file, json-file or journald.
 *
 * One time stamp per chunk that was read, all entries of a chunk in as few writes as fit the
 * buffer, nothing held back afterwards: the log is complete whenever the monitor sleeps.
 */
#ifndef RL_MONITOR_LOG_H
#define RL_MONITOR_LOG_H

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "text.h"

#define LOG_BUFFER 65536
#define LOG_PATH 4096
#define JSON_PIECE 8192 /* six-fold at worst, so an entry always fits the buffer */
#define K8S_PREFIX (TIME_LENGTH + 10)

enum log_kind { LOG_NONE, LOG_K8S, LOG_JSON, LOG_JOURNAL };

struct log {
    enum log_kind kind;
    int dir;
    int fd;
    unsigned long long max;
    unsigned long long size;
    unsigned long long lost;
    size_t used;
    char path[LOG_PATH];
    char old_path[LOG_PATH + 2];
    struct sockaddr_un journal;
    struct text fields; /* journald: what every entry of this container carries */
    char fields_area[2048];
};

static struct log the_log;
static _Alignas(4096) char log_buffer[LOG_BUFFER];

static const char *stream_names[2] = {"stdout", "stderr"};

static long log_open(void)
{
    long fd = SYS4(__NR_openat, the_log.dir, the_log.path,
                   O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    long end;

    if (fd < 0)
        return fd;
    end = SYS3(__NR_lseek, fd, 0, 2);
    the_log.fd = (int)fd;
    the_log.size = end > 0 ? (unsigned long long)end : 0;
    return 0;
}

static void log_flush(void)
{
    size_t done = 0;
    long result;

    if (the_log.fd < 0 && the_log.used > 0)
        log_open();
    while (done < the_log.used) {
        result = SYS3(__NR_write, the_log.fd, log_buffer + done, the_log.used - done);
        if (result == -EINTR)
            continue;
        if (result <= 0) {
            /* A full disk: no torn entry stays behind, and the exit record will say so. */
            if (done > 0)
                SYS2(__NR_ftruncate, the_log.fd, the_log.size);
            the_log.lost += the_log.used;
            the_log.used = 0;
            return;
        }
        done += (size_t)result;
    }
    the_log.size += the_log.used;
    the_log.used = 0;
}

static void log_rotate(void)
{
    const int dir = the_log.dir;

    if (SYS5(__NR_renameat2, dir, the_log.path, dir, the_log.old_path, 0) == 0) {
        SYS1(__NR_close, the_log.fd);
        if (log_open() == 0)
            return;
        the_log.fd = -1;
    }
    SYS2(__NR_ftruncate, the_log.fd, 0);
    the_log.size = 0;
}

/* Makes room for an entry of that length, in the file and in the buffer. */
static inline void log_reserve(size_t length)
{
    if (the_log.max != 0 && the_log.size + the_log.used + length > the_log.max &&
        the_log.size + the_log.used > 0) {
        log_flush();
        log_rotate();
    }
    if (the_log.used + length > LOG_BUFFER)
        log_flush();
}

static void log_k8s(int stream, const char *data, size_t length, const struct timespec *moment)
{
    char prefix[K8S_PREFIX];
    const char *newline;
    size_t part;
    char *to;

    format_time(prefix, moment);
    prefix[TIME_LENGTH] = ' ';
    copy_bytes(prefix + TIME_LENGTH + 1, stream_names[stream], 6);
    copy_bytes(prefix + TIME_LENGTH + 7, " F ", 3);
    while (length > 0) {
        newline = find_newline(data, length);
        part = newline != NULL ? (size_t)(newline - data) : length;
        prefix[K8S_PREFIX - 2] = newline != NULL ? 'F' : 'P';
        log_reserve(K8S_PREFIX + part + 1);
        to = log_buffer + the_log.used;
        __builtin_memcpy(to, prefix, K8S_PREFIX);
        to = append(to + K8S_PREFIX, data, part);
        *to = '\n';
        the_log.used += K8S_PREFIX + part + 1;
        part += newline != NULL;
        data += part;
        length -= part;
    }
}

/* Finishes the entry that was begun at `start`, or drops it if it says nothing. */
static void log_json_close(size_t start, size_t empty, const struct text *tail)
{
    size_t length;

    if (the_log.used == empty) {
        the_log.used = start;
        return;
    }
    copy_bytes(log_buffer + the_log.used, tail->start, tail->used);
    length = the_log.used + tail->used - start;
    the_log.used = start;
    if (the_log.max != 0 && the_log.size + start + length > the_log.max &&
        the_log.size + start > 0) {
        log_flush();
        log_rotate();
        for (size_t i = 0; start != 0 && i < length; i++)
            log_buffer[i] = log_buffer[start + i];
    }
    the_log.used += length;
}

/* The text of an entry: runs of bytes that stay as they are, and the others one by one. */
static void log_json_text(struct utf8 *state, const char *data, size_t length)
{
    char *to = log_buffer + the_log.used;
    size_t run;

    while (length > 0) {
        run = 0;
        while (state->need == 0 && run < length && json_plain((unsigned char)data[run])) {
            to[run] = data[run];
            run++;
        }
        to += run;
        data += run;
        length -= run;
        if (length > 0) {
            to += json_byte(state, to, (unsigned char)*data++);
            length--;
        }
    }
    the_log.used = (size_t)(to - log_buffer);
}

static void log_json(int stream, struct utf8 *state, const char *data, size_t length, int last,
                     const struct timespec *moment)
{
    static const char head[] = "{\"log\":\"";
    char tail_area[96];
    struct text tail = {tail_area, sizeof tail_area, 0};
    const char *newline;
    size_t part, start, empty;

    put_text(&tail, "\",\"stream\":\"");
    put_text(&tail, stream_names[stream]);
    put_text(&tail, "\",\"time\":\"");
    put_time(&tail, moment);
    put_text(&tail, "\"}\n");
    do {
        part = length < JSON_PIECE ? length : JSON_PIECE;
        newline = find_newline(data, part);
        if (newline != NULL)
            part = (size_t)(newline - data) + 1;
        if (the_log.used + part * 6 + 128 > LOG_BUFFER)
            log_flush();
        start = the_log.used;
        copy_bytes(log_buffer + start, head, sizeof head - 1);
        the_log.used = empty = start + sizeof head - 1;
        log_json_text(state, data, part);
        if (last && part == length)
            the_log.used += json_end(state, log_buffer + the_log.used);
        log_json_close(start, empty, &tail);
        data += part;
        length -= part;
    } while (length > 0);
}

static void log_journal_entry(int stream, const char *data, size_t length, int partial)
{
    static const char *priorities[2] = {"PRIORITY=6\n", "PRIORITY=3\n"};
    static const char is_partial[] = "CONTAINER_PARTIAL_MESSAGE=true\n";
    uint64_t size = length; /* little-endian, as on every machine that sys.h knows */
    struct iovec {
        const void *base;
        size_t length;
    } parts[] = {
        {the_log.fields.start, the_log.fields.used},
        {priorities[stream], 11},
        {is_partial, partial ? sizeof is_partial - 1 : 0},
        {"MESSAGE\n", 8},
        {&size, 8},
        {data, length},
        {"\n", 1},
    };
    struct {
        void *name;
        int name_length;
        struct iovec *parts;
        size_t count;
        void *control;
        size_t control_length;
        int flags;
    } message = {&the_log.journal, sizeof the_log.journal, parts, 7, NULL, 0, 0};

    /* A journal that is being restarted or is full costs entries, not the container. */
    if (SYS3(__NR_sendmsg, the_log.fd, &message, MSG_NOSIGNAL) < 0)
        the_log.lost += length;
}

static void log_journal(int stream, const char *data, size_t length)
{
    const char *newline;
    size_t part;

    while (length > 0) {
        newline = find_newline(data, length);
        part = newline != NULL ? (size_t)(newline - data) : length;
        log_journal_entry(stream, data, part, newline == NULL);
        part += newline != NULL;
        data += part;
        length -= part;
    }
}

/* Logs what was read from a stream (0 stdout, 1 stderr); `last`: its end. */
static void log_chunk(int stream, const char *data, size_t length, int last)
{
    static struct utf8 states[2];
    struct timespec moment;

    if (the_log.kind == LOG_NONE)
        return;
    SYS2(__NR_clock_gettime, CLOCK_REALTIME, &moment);
    if (the_log.kind == LOG_K8S)
        log_k8s(stream, data, length, &moment);
    else if (the_log.kind == LOG_JSON)
        log_json(stream, &states[stream], data, length, last, &moment);
    else
        log_journal(stream, data, length);
    log_flush();
}

static void log_field(const char *name, const char *value, size_t length)
{
    /* The text form of a field can't carry a newline; a name or tag has none. */
    put_text(&the_log.fields, name);
    put(&the_log.fields, "=", 1);
    put(&the_log.fields, value, find_newline(value, length) == NULL ? length : 0);
    put(&the_log.fields, "\n", 1);
}

static long log_start_journal(const char *id, const char *name, const char *tag)
{
    struct timeval {
        long seconds;
        long microseconds;
    } patience = {1, 0};
    size_t length = text_length(id);
    long fd = SYS3(__NR_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return fd;
    the_log.fd = (int)fd;
    the_log.journal.sun_family = AF_UNIX;
    SYS5(__NR_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    the_log.fields = (struct text){the_log.fields_area, sizeof the_log.fields_area, 0};
    log_field("CONTAINER_ID_FULL", id, length);
    log_field("CONTAINER_ID", id, length < 12 ? length : 12);
    log_field("CONTAINER_NAME", name, text_length(name));
    log_field("SYSLOG_IDENTIFIER", name, text_length(name));
    if (*tag != '\0')
        log_field("CONTAINER_TAG", tag, text_length(tag));
    return 0;
}

#endif
