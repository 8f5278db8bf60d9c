/* cflags: -nostdlib -ffreestanding -fno-stack-protector -U_FORTIFY_SOURCE -DRL_FREESTANDING -Wl,-z,noseparate-code -Wl,--build-id=none */
/*
 * The process that carries a container's published ports: it holds the listening sockets,
 * which rl has opened on the host, and reaches the container from within its network
 * namespace, with the clients' own addresses. It ends with the container's pid 1.
 *
 *   forward_inside.h    the container's namespace, sockets that lead to its services
 *   forward_tcp.h       connections
 *   forward_udp.h       datagrams
 *   here                argv and the loop
 *
 * argv, in any order (docs/networking.md):
 *
 *   container=FD        pidfd of the container's pid 1
 *   user=FD net=FD      its namespaces
 *   parent=PID          whose end is ours as well
 *   ready=FD            gets one line: "ready kept", "ready plain ERRNO" or "failed ERRNO STEP"
 *   held=FD             stays open as long as this process lives: a lock
 *   gateway=ADDRESS     (HEX, 4 or 16 bytes) stands for clients whose address can't be kept
 *   tcp=FD:PORT udp=FD:PORT   a listening socket, and the container's port that it is for
 */
#include "forward_inside.h"

#include "forward_tcp.h"
#include "forward_udp.h"

static int user_space = -1, net_space = -1, ready_pipe = -1, held = -1, parent;

static void say(const char *word, long error, const char *step)
{
    char line[128];
    struct text text = {line, sizeof line, 0};

    put_text(&text, word);
    if (error != 0) {
        put_text(&text, " ");
        put_number(&text, -error);
    }
    if (step != NULL) {
        put_text(&text, " ");
        put_text(&text, step);
    }
    put_text(&text, "\n");
    if (ready_pipe >= 0)
        SYS3(__NR_write, ready_pipe, line, text.used);
}

__attribute__((noreturn)) static void fail(long error, const char *step)
{
    say("failed", error, step);
    sys_exit(1);
}

/* The number at the start of a word; what ends it is left in `rest`. */
static int number_of(const char *word, const char **rest)
{
    long value = 0;
    const char *at = word;

    while (*at >= '0' && *at <= '9' && value < INT32_MAX / 10)
        value = value * 10 + (*at++ - '0');
    if (at == word)
        fail(-EINVAL, "number");
    *rest = at;
    return (int)value;
}

static int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

static void read_gateway(const char *word)
{
    size_t length = text_length(word) / 2;
    int six = length == 16;
    union address *gateway = &f.gateway[six];
    uint8_t *bytes = six ? (uint8_t *)&gateway->six.sin6_addr : (uint8_t *)&gateway->four.sin_addr;

    if (length != 4 && length != 16)
        fail(-EINVAL, "gateway");
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(hex_digit(word[2 * i]) << 4 | hex_digit(word[2 * i + 1]));
    gateway->any.sa_family = six ? AF_INET6 : AF_INET;
}

static void read_listener(const char *word, int udp)
{
    const char *rest;
    struct listener *listener = &listeners[f.listener_count];

    if (f.listener_count == LISTENERS)
        fail(-E2BIG, "ports");
    listener->fd = number_of(word, &rest);
    if (*rest != ':')
        fail(-EINVAL, "port");
    listener->port = (uint16_t)number_of(rest + 1, &rest);
    listener->udp = (uint8_t)udp;
    f.listener_count++;
}

static int starts(const char *word, const char *key, const char **value)
{
    size_t length = text_length(key);

    if (text_length(word) < length || !same_bytes(word, key, length))
        return 0;
    *value = word + length;
    return 1;
}

static void read_words(char **argv)
{
    static const struct {
        const char *key;
        int *number;
    } numbers[] = {{"container=", &f.container}, {"user=", &user_space}, {"net=", &net_space},
                   {"ready=", &ready_pipe},      {"held=", &held},       {"parent=", &parent}};

    for (; *argv != NULL; argv++) {
        const char *value, *rest;
        int known = 0;

        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
            if (starts(*argv, numbers[i].key, &value)) {
                *numbers[i].number = number_of(value, &rest);
                known = 1;
            }
        if (starts(*argv, "gateway=", &value))
            read_gateway(value);
        else if (starts(*argv, "tcp=", &value))
            read_listener(value, 0);
        else if (starts(*argv, "udp=", &value))
            read_listener(value, 1);
        else if (!known)
            fail(-EINVAL, *argv);
    }
}

static void raise_limit(void)
{
    struct rlimit limit;

    f.most_flows = FLOWS;
    if (SYS4(__NR_prlimit64, 0, RLIMIT_NOFILE, 0, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    SYS4(__NR_prlimit64, 0, RLIMIT_NOFILE, &limit, 0);
    if (limit.rlim_cur / 4 < FLOWS)
        f.most_flows = (int)(limit.rlim_cur / 4) + 1;
}

static void listen_all(void)
{
    for (int i = 0; i < f.listener_count; i++) {
        int fd = listeners[i].fd;
        int domain = 0;
        unsigned size = sizeof domain;
        long flags = SYS3(__NR_fcntl, fd, F_GETFL, 0);

        if (flags < 0)
            fail(flags, "listening socket");
        SYS3(__NR_fcntl, fd, F_SETFL, flags | O_NONBLOCK);
        SYS5(__NR_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
        listeners[i].six = domain == AF_INET6;
        if (listeners[i].udp && listeners[i].six)
            option(fd, SOL_IPV6, IPV6_RECVPKTINFO, 1);
        else if (listeners[i].udp)
            option(fd, SOL_IP, IP_PKTINFO, 1);
        watch(fd, OF_LISTENER, i, EPOLLIN);
    }
}

/* From the first act to the point from which nobody has to wait for us. */
static void prepare(void)
{
    long result;

    sys_signal(SIGPIPE, 1);
    SYS5(__NR_prctl, PR_SET_NAME, "rl-forward", 0, 0, 0); /* what others see hold a port */
    raise_limit();
    f.epoll = (int)SYS1(__NR_epoll_create1, EPOLL_CLOEXEC);
    if (f.epoll < 0)
        fail(f.epoll, "epoll");
    if (f.container < 0 || user_space < 0 || net_space < 0)
        fail(-EINVAL, "descriptors");
    watch(f.container, OF_CONTAINER, 0, EPOLLIN);
    SYS1(__NR_chdir, "/");
    result = enter(user_space, net_space);
    if (result < 0)
        fail(result, "namespace");
    close_now(&user_space);
    close_now(&net_space);
    result = prepare_inside();
    drop_capabilities();
    /* Only now: a change of credentials would have cleared it. */
    SYS5(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (parent != 0 && SYS0(__NR_getppid) != parent)
        sys_exit(1);
    listen_all();
    if (f.keeps[0])
        say("ready kept", 0, NULL);
    else
        say("ready plain", result, NULL);
    close_now(&ready_pipe);
}

static void handle(const struct epoll_event *event)
{
    int index = (int)(uint32_t)event->data.u64;

    switch ((enum kind)(event->data.u64 >> 32)) {
    case OF_CONTAINER:
        sys_exit(0);
    case OF_LISTENER:
        if (listeners[index].udp)
            from_client(index);
        else
            accept_from(&listeners[index]);
        break;
    case OF_CLIENT:
        client_event(&connections[index], event->events);
        break;
    case OF_INSIDE:
        inside_event(&connections[index], event->events);
        break;
    case OF_FLOW:
        from_inside(index);
        break;
    }
}

static int patience(void)
{
    if (queue_first != NOBODY)
        return 0;
    if (f.paused)
        return 1000;
    return living_flows > 0 ? SWEEP : -1;
}

int main(int argc, char **argv, char **envp)
{
    static struct epoll_event events[BATCH];

    (void)envp;
    f.container = -1;
    read_words(argv + (argc > 0));
    prepare();
    for (;;) {
        long count = SYS6(__NR_epoll_pwait, f.epoll, events, BATCH, patience(), 0, 0);

        f.now = milliseconds();
        for (long i = 0; i < count; i++)
            handle(&events[i]);
        pump_queue();
        bury();
        sweep_flows();
        if (f.paused && f.now - f.paused_at >= 1000)
            accept_again();
    }
}
