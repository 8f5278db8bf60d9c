/* cflags: -nostdlib -ffreestanding -fno-stack-protector -U_FORTIFY_SOURCE -DRL_FREESTANDING -Wl,-z,noseparate-code -Wl,--build-id=none */
/*
 * The holder of a user's networks: netholder listen=FD alive=FD ready=FD dir=FD
 *
 * One for all user networks of a store. It has a process inside the user and network namespace
 * in which the bridges are, runs the one pasta or slirp4netns that connects them to the
 * outside, answers the members' DNS questions, and removes a member's links when it ends.
 * With the last member it ends itself, and everything it has made goes with it.
 *
 *   netholder_inner.h    the process inside
 *   netholder_dns.h      DNS messages
 *   netholder_fair.h     who gets a place where there are fewer than wanted
 *   netholder_forward.h  names that are not ours, over UDP
 *   netholder_stream.h   the same over TCP, and time-outs of both
 *   netholder_words.h    the control socket and the helper
 *   here                 the loop
 *
 * It stays in the host's namespaces, where resolvers are reached and helpers start; of the
 * members' world it sees DNS messages only. One thread, no heap; sizes are in netholder.h.
 */
#include "netholder.h"

#include "netholder_dns.h"
#include "netholder_fair.h"
#include "netholder_forward.h"
#include "netholder_inner.h"
#include "netholder_stream.h"
#include "netholder_words.h"

#define EVENTS 32

static int word_fd(const char *word, const char *key)
{
    size_t length = text_length(key);

    if (text_length(word) <= length || !same_bytes(word, key, length))
        return -1;
    return (int)number_of(word + length);
}

/* Tells whoever started us, once: "ok", or what went wrong. */
static void say_ready(const char *what, long error)
{
    char said[128];
    struct text text = {said, sizeof said, 0};

    put_text(&text, what);
    if (error != 0) {
        put_text(&text, " ");
        put_number(&text, -error);
    }
    SYS3(__NR_write, h.ready, said, text.used);
    close_fd(&h.ready);
}

static void fail(const char *what, long error)
{
    say_ready(what, error);
    sys_exit(1);
}

static void set_up(void)
{
    uint64_t wanted = SIGNAL_BIT(SIGCHLD) | SIGNAL_BIT(SIGTERM) | SIGNAL_BIT(SIGINT) |
                      SIGNAL_BIT(SIGHUP);
    union peer own;
    unsigned size = sizeof own;
    long result;

    for (int i = 0; i < CLIENTS; i++)
        h.clients[i] = -1;
    for (int i = 0; i < STREAMS; i++)
        streams[i].down = streams[i].up = -1;
    helper.again = FOREVER;
    sys_signal(SIGPIPE, 1);
    result = inner_start();
    if (result < 0)
        fail("namespace", result);
    h.route = (int)inner_ask("r", 1);
    h.udp = (int)inner_ask("d", 1);
    h.tcp = (int)inner_ask("s", 1);
    if (h.route < 0 || h.udp < 0 || h.tcp < 0)
        fail("sockets", h.route < 0 ? h.route : h.udp < 0 ? h.udp : h.tcp);
    SYS3(__NR_getsockname, h.udp, &own, &size);
    h.udp_family = own.any.sa_family;
    sys_sigmask(SIG_BLOCK, wanted);
    h.signals = (int)SYS4(__NR_signalfd4, -1, &wanted, SIGNAL_SETSIZE, SFD_CLOEXEC | SFD_NONBLOCK);
    h.epoll = (int)SYS1(__NR_epoll_create1, EPOLL_CLOEXEC);
    if (h.signals < 0 || h.epoll < 0)
        fail("descriptors", h.signals < 0 ? h.signals : h.epoll);
    watch(h.listen, EPOLLIN, LISTENING, 0);
    watch(h.signals, EPOLLIN, SIGNALS, 0);
    watch(h.inner, EPOLLRDHUP, INNER, 0);
    watch(h.udp, EPOLLIN, DNS_UDP, 0);
    watch(h.tcp, EPOLLIN, DNS_TCP, 0);
    say_ready("ok", 0);
}

static void read_signals(void)
{
    struct signalfd_siginfo info;
    int status;
    long pid;

    while (SYS3(__NR_read, h.signals, &info, sizeof info) == sizeof info)
        if (info.ssi_signo == SIGTERM)
            h.ending = 1;
    while ((pid = SYS4(__NR_wait4, -1, &status, WNOHANG, 0)) > 0) {
        if (pid == helper.pid)
            helper_ended();
        else if (pid == h.inner_pid)
            h.ending = 1;
    }
}

static void happens(enum kind kind, int index, uint32_t events)
{
    switch (kind) {
    case LISTENING:
        client_arrives();
        break;
    case SIGNALS:
        read_signals();
        break;
    case INNER:
        h.ending = 1;
        break;
    case DNS_UDP:
        dns_datagram();
        break;
    case DNS_TCP:
        dns_connection();
        break;
    case CLIENT:
        client_event(index);
        break;
    case MEMBER:
        member_end(index);
        break;
    case FORWARD:
        forward_heard(&forwards[index]);
        break;
    case DOWN:
        stream_down(&streams[index], events);
        break;
    case UP:
        stream_up(&streams[index]);
        break;
    }
}

/* Whether anybody still needs us: a member, or an rl that is about to make one. */
static int needed(void)
{
    struct pollfd waiting = {h.listen, POLLIN, 0};
    struct timespec now = {0, 0};

    if (member_count > 0)
        return 1;
    for (int i = 0; i < CLIENTS; i++)
        if (h.clients[i] >= 0)
            return 1;
    return SYS5(__NR_ppoll, &waiting, 1, &now, 0, SIGNAL_SETSIZE) > 0;
}

static void loop(void)
{
    static struct epoll_event events[EVENTS];

    for (;;) {
        int64_t deadline = dns_deadline();
        long count;

        if (helper.again < deadline)
            deadline = helper.again;
        h.now = monotonic();
        count = SYS6(__NR_epoll_pwait, h.epoll, events, EVENTS,
                     deadline == FOREVER ? -1 : deadline <= h.now ? 0 : (int)(deadline - h.now), 0,
                     SIGNAL_SETSIZE);
        h.now = monotonic();
        for (long i = 0; i < count; i++)
            happens((enum kind)(events[i].data.u64 >> 32), (int)(uint32_t)events[i].data.u64,
                    events[i].events);
        dns_late();
        if (helper.again <= h.now)
            helper_start();
        if (h.ending || !needed())
            return;
    }
}

/* The first client must have had its chance: it comes right after it was told "ok". */
static void wait_for_first(void)
{
    struct pollfd waiting = {h.listen, POLLIN, 0};
    struct timespec most = {10, 0};

    SYS5(__NR_ppoll, &waiting, 1, &most, 0, SIGNAL_SETSIZE);
}

/* A descriptor for each member and each client: more than the usual 1024. */
static void raise_limit(void)
{
    struct rlimit limit;

    if (SYS4(__NR_prlimit64, 0, RLIMIT_NOFILE, 0, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    SYS4(__NR_prlimit64, 0, RLIMIT_NOFILE, &limit, 0);
}

/* Whoever gets no answer from us is told whom to kill. */
static void write_pid(void)
{
    char line[16];
    struct text text = {line, sizeof line, 0};

    put_number(&text, SYS0(__NR_getpid));
    put_text(&text, "\n");
    SYS2(__NR_ftruncate, h.alive, 0);
    SYS4(__NR_pwrite64, h.alive, line, text.used, 0);
}

int main(int argc, char **argv, char **envp)
{
    (void)envp;
    h.listen = h.alive = h.ready = h.dir = h.inner = h.route = h.udp = h.tcp = -1;
    for (int i = 1; i < argc; i++) {
        if (word_fd(argv[i], "listen=") >= 0)
            h.listen = word_fd(argv[i], "listen=");
        else if (word_fd(argv[i], "alive=") >= 0)
            h.alive = word_fd(argv[i], "alive=");
        else if (word_fd(argv[i], "ready=") >= 0)
            h.ready = word_fd(argv[i], "ready=");
        else if (word_fd(argv[i], "dir=") >= 0)
            h.dir = word_fd(argv[i], "dir=");
    }
    if (h.listen < 0 || h.alive < 0 || h.ready < 0 || h.dir < 0)
        return 125;
    SYS3(__NR_fcntl, h.listen, F_SETFD, FD_CLOEXEC);
    SYS3(__NR_fcntl, h.alive, F_SETFD, FD_CLOEXEC);
    SYS3(__NR_fcntl, h.ready, F_SETFD, FD_CLOEXEC);
    SYS3(__NR_fcntl, h.dir, F_SETFD, FD_CLOEXEC);
    /* Nobody's child: whoever started us goes its way. */
    if (sys_fork() != 0)
        return 0;
    SYS0(__NR_setsid);
    SYS1(__NR_chdir, "/");
    raise_limit();
    write_pid();
    h.now = monotonic();
    set_up();
    wait_for_first();
    loop();
    SYS3(__NR_unlinkat, h.dir, "control", 0);
    helper_kill();
    return 0;
}
