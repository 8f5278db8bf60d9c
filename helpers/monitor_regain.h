/*
 * A runtime directory that somebody has deleted below a running container: a cleaner of /tmp,
 * or the end of a login session. SIGUSR1 says that the link `run` of the container's durable
 * directory leads to a new one; what lay in the old one is made again there.
 */
#ifndef RL_MONITOR_REGAIN_H
#define RL_MONITOR_REGAIN_H

#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "monitor.h"
#include "monitor_record.h"

#define WAITING 64

static int same_file(int directory, const char *name, int fd)
{
    struct stat one, other;

    return SYS4(__NR_newfstatat, directory, name, &one, AT_SYMLINK_NOFOLLOW) == 0 &&
           SYS2(__NR_fstat, fd, &other) == 0 && one.st_ino == other.st_ino &&
           one.st_dev == other.st_dev;
}

/* The new lock keeps the number of the old one, which `on-exit` may inherit. */
static int regain_lock(int directory)
{
    long alive = SYS4(__NR_openat, directory, "alive",
                      O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int held;

    if (alive < 0)
        return 0;
    held = SYS2(__NR_flock, alive, LOCK_EX | LOCK_NB) == 0 &&
           SYS3(__NR_dup3, alive, m.alive, O_CLOEXEC) >= 0;
    SYS1(__NR_close, alive);
    return held;
}

/* Whoever is in the queue of the old socket is served first. */
static void regain_control(void)
{
    struct sockaddr_un place = {.sun_family = AF_UNIX, .sun_path = {0}};
    struct text path = {place.sun_path, sizeof place.sun_path - 1, 0};
    long fd = SYS3(__NR_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return;
    put_text(&path, "/proc/self/fd/");
    put_number(&path, m.run);
    put_text(&path, "/control");
    SYS3(__NR_unlinkat, m.run, "control", 0);
    if (SYS3(__NR_bind, fd, &place, sizeof place) == 0 && SYS2(__NR_listen, fd, WAITING) == 0) {
        accept_clients();
        SYS3(__NR_dup3, fd, m.listen, O_CLOEXEC);
    }
    SYS1(__NR_close, fd);
}

/* Once: a second signal finds everything in its place. */
static void regain(void)
{
    long fd = SYS4(__NR_openat, m.dir, "run", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

    if (fd < 0)
        return;
    if (m.alive >= 0 && m.listen >= 0 && !same_file((int)fd, "alive", m.alive) &&
        regain_lock((int)fd) && SYS3(__NR_dup3, fd, m.run, O_CLOEXEC) >= 0) {
        if (m.started)
            write_started();
        regain_control();
    }
    SYS1(__NR_close, fd);
}

#endif
