/*
 * argv: what the launcher says about the container, and the state of the process that
 * follows from it. Everything wrong here is a launch error, told to the founder.
 */
#ifndef RL_MONITOR_WORDS_H
#define RL_MONITOR_WORDS_H

#include "monitor.h"
#include "monitor_clients.h"
#include "monitor_health.h"

#define FIRST_FREE_FD 3
#define DESCRIPTORS 16
#define MOST_SECONDS 4000000000LL

enum word_kind { WORD_FD, WORD_INT, WORD_MS, WORD_SECONDS, WORD_TEXT, WORD_COMMAND };

struct word {
    const char *name;
    enum word_kind kind;
    void *target;
};

static int founder = -1;
static const char *log_kind = "none";
static const char *journal = "/run/systemd/journal/socket";
static const char *sync_mode = "1";
static const char *restart_policy = "no";
static const char *on_exit_if = "always";
static const char *health_on_failure = "none";
static const char *log_path = "ctr.log";
static int64_t log_max_bytes;
static int one_helper, one_unawaited, one_writer;

static const struct word words[] = {
    {"id", WORD_TEXT, &m.id},
    {"name", WORD_TEXT, &m.name},
    {"pid", WORD_INT, &m.pid},
    {"dir", WORD_FD, &m.dir},
    {"run", WORD_FD, &m.run},
    {"alive", WORD_FD, &m.alive},
    {"alive-kept", WORD_INT, &m.alive_kept},
    {"in", WORD_FD, &m.in},
    {"out", WORD_FD, &m.streams[0].fd},
    {"err", WORD_FD, &m.streams[1].fd},
    {"pty", WORD_FD, &m.pty},
    {"listen", WORD_FD, &m.listen},
    {"client", WORD_FD, &founder},
    {"attach", WORD_INT, &m.founder_bits},
    {"status", WORD_FD, &m.status},
    {"go", WORD_FD, &m.go},
    {"cgroup", WORD_FD, &m.cgroup},
    {"layer", WORD_FD, &m.layer},
    {"ports", WORD_FD, &m.ports},
    {"events", WORD_TEXT, &m.events},
    {"event", WORD_TEXT, &m.event},
    {"log", WORD_TEXT, &log_kind},
    {"log-path", WORD_TEXT, &log_path},
    {"log-max", WORD_MS, &log_max_bytes},
    {"log-tag", WORD_TEXT, &m.log_tag},
    {"journal", WORD_TEXT, &journal},
    {"stop-signal", WORD_INT, &m.stop_signal},
    {"stop-timeout", WORD_SECONDS, &m.stop_timeout},
    {"timeout", WORD_SECONDS, &m.timeout},
    {"patience", WORD_MS, &m.patience},
    {"helper", WORD_INT, &one_helper},
    {"unawaited", WORD_INT, &one_unawaited},
    {"writer", WORD_INT, &one_writer},
    {"sync", WORD_TEXT, &sync_mode},
    {"restart", WORD_TEXT, &restart_policy},
    {"restarts", WORD_INT, &m.restarts},
    {"restart-delay", WORD_MS, &m.restart_delay},
    {"restart-settled", WORD_INT, &m.settled},
    {"restart-delay-settled", WORD_MS, &m.settled_delay},
    {"on-exit", WORD_COMMAND, &m.on_exit},
    {"on-exit-if", WORD_TEXT, &on_exit_if},
    {"health", WORD_COMMAND, &health.command},
    {"health-interval", WORD_MS, &health.interval},
    {"health-timeout", WORD_MS, &health.timeout},
    {"health-start-period", WORD_MS, &health.start_period},
    {"health-retries", WORD_INT, &health.retries},
    {"health-on-failure", WORD_TEXT, &health_on_failure},
};

#define WORDS (sizeof words / sizeof *words)

/* Sixteen digits: more than any number here needs, less than overflows. */
static int read_number(const char *text, long long *value)
{
    int digits = 0;

    *value = 0;
    for (; *text >= '0' && *text <= '9' && digits < 16; text++, digits++)
        *value = *value * 10 + (*text - '0');
    return digits > 0 && *text == '\0';
}

static const struct word *find_word(const char *text, size_t length)
{
    for (size_t i = 0; i < WORDS; i++)
        if (text_length(words[i].name) == length && same_bytes(words[i].name, text, length))
            return &words[i];
    return NULL;
}

static const char *read_fd(const struct word *word, long long value)
{
    if (value < FIRST_FREE_FD || value > INT32_MAX || SYS3(__NR_fcntl, value, F_GETFD, 0) < 0)
        return "not an open descriptor above 2";
    *(int *)word->target = (int)value;
    return NULL;
}

static const char *read_int(const struct word *word, long long value)
{
    if (value > INT32_MAX)
        return "too large a number";
    *(int *)word->target = (int)value;
    if (word->target != &one_helper && word->target != &one_unawaited &&
        word->target != &one_writer)
        return NULL;
    if (m.helper_count == HELPERS)
        return "too many helpers";
    if (word->target == &one_unawaited)
        m.unawaited |= 1u << m.helper_count;
    if (word->target == &one_writer)
        m.writers |= 1u << m.helper_count;
    m.helpers[m.helper_count++] = (int)value;
    return NULL;
}

/* One word; `rest` are the words behind it, of which a command takes `*taken`. */
static const char *read_word(const struct word *word, char *value, char **rest, int count,
                             int *taken)
{
    struct command *command;
    long long number;

    if (word->kind == WORD_TEXT) {
        *(const char **)word->target = value;
        return NULL;
    }
    if (!read_number(value, &number))
        return "not a number";
    switch (word->kind) {
    case WORD_FD:
        return read_fd(word, number);
    case WORD_INT:
        return read_int(word, number);
    case WORD_SECONDS:
        /* Longer than a century is for ever, and must not overflow as milliseconds. */
        number = number > MOST_SECONDS ? MOST_SECONDS : number;
        *(int64_t *)word->target = number * 1000;
        return NULL;
    case WORD_COMMAND:
        if (number < 1 || number > count)
            return "not that many words follow";
        command = word->target;
        command->words = rest;
        command->count = (int)number;
        *taken = (int)number;
        return NULL;
    default:
        *(int64_t *)word->target = number;
        return NULL;
    }
}

static void set_defaults(void)
{
    m.id = m.name = m.log_tag = "";
    m.dir = m.run = m.alive = m.in = m.pty = m.pty_peer = m.listen = m.status = m.go = -1;
    m.cgroup = m.layer = m.ports = m.signals = m.exit_file = -1;
    m.streams[0] = (struct stream){-1, 0, packets[0]};
    m.streams[1] = (struct stream){-1, 0, packets[1]};
    for (int i = 0; i < CLIENTS; i++)
        m.clients[i].fd = -1;
    m.stop_signal = SIGTERM;
    m.stop_timeout = 10000;
    m.patience = CLIENT_PATIENCE;
    m.restart_most = -1;
    m.stdin_owner = -1;
    m.launch = (struct text){launch_area, LAUNCH_TEXT, 0};
    m.kill_at = m.timeout_at = m.helpers_kill_at = m.restart_at = m.idle_at = NEVER;
    health.interval = health.timeout = 30000;
    health.retries = 3;
    health.output = -1;
    health.next_at = health.kill_at = NEVER;
    the_log.fd = -1;
}

static int choose(const char *value, const char *const *names, int *chosen)
{
    for (int i = 0; names[i] != NULL; i++)
        if (same_text(value, names[i])) {
            *chosen = i;
            return 1;
        }
    return 0;
}

static const char *read_restart(void)
{
    static const char *const names[] = {"no", "on-failure", "always", "unless-stopped", NULL};
    const char *limit = restart_policy;
    long long most;
    int chosen;

    if (same_bytes(restart_policy, "on-failure:", 11)) {
        limit += 11;
        if (!read_number(limit, &most) || most > INT32_MAX)
            return "restart: not a number of times";
        /* podman: 0 is no limit */
        m.restart_most = most == 0 ? -1 : (int)most;
        m.restart = RESTART_ON_FAILURE;
        return NULL;
    }
    if (!choose(restart_policy, names, &chosen))
        return "restart: unknown policy";
    m.restart = chosen == 0 ? RESTART_NO : chosen == 1 ? RESTART_ON_FAILURE : RESTART_ALWAYS;
    return NULL;
}

static const char *read_choices(void)
{
    static const char *const kinds[] = {"none",     "k8s-file",    "json-file",
                                        "journald", "passthrough", NULL};
    static const char *const syncs[] = {"0", "late", "1", NULL};
    static const char *const whens[] = {"always", "restart", "untold", NULL};
    static const char *const actions[] = {"none", "kill", "restart", "stop", NULL};
    int chosen;

    if (!choose(log_kind, kinds, &chosen))
        return "log: unknown driver";
    the_log.kind = chosen == 4 ? LOG_NONE : (enum log_kind)chosen;
    if (!choose(sync_mode, syncs, &chosen))
        return "sync: unknown mode";
    m.sync = (enum sync)chosen;
    if (!choose(on_exit_if, whens, &chosen))
        return "on-exit-if: unknown condition";
    m.on_exit_when = (enum on_exit_when)chosen;
    if (!choose(health_on_failure, actions, &chosen))
        return "health-on-failure: unknown action";
    health.action = (enum health_action)chosen;
    if (m.stop_signal < 1 || m.stop_signal > 64)
        return "stop-signal: no such signal";
    return read_restart();
}

/* Where each command ends its own argv must: the word behind it was read by then. */
static void end_command(const struct command *command)
{
    if (command->count > 0)
        command->words[command->count] = NULL;
}

static const char *read_words(int argc, char **argv)
{
    static char complaint[160];
    struct text text = {complaint, sizeof complaint - 1, 0};
    const char *wrong = NULL;
    size_t length;
    int taken;

    set_defaults();
    for (int i = 1; i < argc && wrong == NULL; i += 1 + taken) {
        const struct word *word;

        taken = 0;
        for (length = 0; argv[i][length] != '=' && argv[i][length] != '\0'; length++)
            ;
        word = argv[i][length] == '=' ? find_word(argv[i], length) : NULL;
        wrong = word == NULL ? "unknown word"
                             : read_word(word, argv[i] + length + 1, argv + i + 1, argc - i - 1,
                                         &taken);
        if (wrong != NULL) {
            put(&text, argv[i], length < 60 ? length : 60);
            put_text(&text, ": ");
            put_text(&text, wrong);
            return complaint;
        }
    }
    return read_choices();
}

/* Everything that no word names is closed, what is named stays ours alone. */
static void close_others(void)
{
    int from = FIRST_FREE_FD;

    for (;;) {
        int next = INT32_MAX;

        for (size_t i = 0; i < WORDS; i++) {
            int fd = words[i].kind == WORD_FD ? *(int *)words[i].target : -1;

            if (fd >= from && fd < next)
                next = fd;
        }
        if (next > from && SYS3(__NR_close_range, from, (unsigned)next - 1, 0) == -ENOSYS)
            for (int fd = from; fd < next && fd < 1024; fd++)
                SYS1(__NR_close, fd);
        if (next == INT32_MAX)
            return;
        SYS3(__NR_fcntl, next, F_SETFD, FD_CLOEXEC);
        from = next + 1;
    }
}

static void null_stdio(void)
{
    long null = SYS4(__NR_openat, -100, "/dev/null", O_RDWR | O_CLOEXEC, 0);

    for (int fd = 0; fd < FIRST_FREE_FD && null >= 0; fd++)
        if (fd != null)
            SYS3(__NR_dup3, null, fd, 0);
        else
            SYS3(__NR_fcntl, null, F_SETFD, 0);
    if (null >= FIRST_FREE_FD)
        SYS1(__NR_close, null);
}

static int is_child(int pid)
{
    char news[128]; /* siginfo_t, which nobody looks at */

    return pid > 1 && SYS5(__NR_waitid, P_PID, pid, news, WEXITED | WNOHANG | WNOWAIT, 0) == 0;
}

static const char *start_log(void)
{
    struct text path = {the_log.path, LOG_PATH - 1, 0};
    struct text old = {the_log.old_path, LOG_PATH + 1, 0};
    struct text address = {the_log.journal.sun_path, sizeof the_log.journal.sun_path - 1, 0};

    the_log.dir = m.dir;
    the_log.max = (unsigned long long)log_max_bytes;
    put_text(&path, log_path);
    put_text(&old, log_path);
    put_text(&old, ".1");
    put_text(&address, journal);
    if (the_log.kind == LOG_JOURNAL)
        return log_start_journal(m.id, m.name, m.log_tag) < 0 ? "no socket for the journal" : NULL;
    if (the_log.kind != LOG_NONE && log_open() < 0)
        return "the log file cannot be opened";
    return NULL;
}

static void start_streams(void)
{
    if (m.pty >= 0) {
        m.streams[0].fd = m.pty;
        /* Held open by us too, so that a program that closes and reopens its terminal doesn't
         * make the master report a hang-up for ever in between. */
        m.pty_peer = (int)SYS3(__NR_ioctl, m.pty, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
        close_fd(&m.in);
        set_nonblocking(m.pty);
    }
    if (m.in >= 0)
        set_nonblocking(m.in);
    if (m.status >= 0)
        set_nonblocking(m.status);
    if (m.listen >= 0)
        set_nonblocking(m.listen);
    for (int i = 0; i < 2; i++)
        if (m.streams[i].fd >= 0)
            set_nonblocking(m.streams[i].fd);
}

static const char *set_up(void)
{
    uint64_t set = SIGNAL_BIT(SIGCHLD) | SIGNAL_BIT(SIGTERM) | SIGNAL_BIT(SIGUSR1);

    if (m.dir < 0 || m.run < 0)
        return "dir and run are required";
    if (!is_child(m.pid))
        return "pid: not a child of the monitor";
    close_others();
    null_stdio();
    SYS1(__NR_umask, 077);
    sys_sigmask(SIG_SETMASK, set);
    sys_signal(SIGCHLD, 0);
    sys_signal(SIGHUP, 1);
    sys_signal(SIGINT, 1);
    sys_signal(SIGPIPE, 1);
    m.signals = (int)SYS4(__NR_signalfd4, -1, &set, SIGNAL_SETSIZE, SFD_NONBLOCK | SFD_CLOEXEC);
    if (m.signals < 0)
        return "no descriptor for signals";
    end_command(&m.on_exit);
    end_command(&health.command);
    start_streams();
    if (founder >= 0)
        client_add(founder, 1, (uint8_t)(m.founder_bits & 7));
    return start_log();
}

/* Nothing can be supervised: say so where somebody listens, and leave no orphan behind. */
static int give_up(const char *wrong)
{
    static char packet[512] = "l";
    struct text text = {packet, sizeof packet, 1};

    put_text(&text, "{\"step\":\"monitor\",\"errno\":0,\"text\":");
    put_json(&text, wrong, text_length(wrong));
    put_text(&text, "}");
    if (founder >= 0)
        SYS6(__NR_sendto, founder, packet, text.used, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    if (is_child(m.pid))
        SYS2(__NR_kill, m.pid, SIGKILL);
    for (int i = 0; i < m.helper_count; i++)
        if (is_child(m.helpers[i]))
            SYS2(__NR_kill, m.helpers[i], SIGTERM);
    return ENGINE_FAILED;
}

#endif
