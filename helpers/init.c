/* cflags: -nostdlib -ffreestanding -fno-stack-protector -U_FORTIFY_SOURCE -DRL_FREESTANDING -Wl,-z,noseparate-code -Wl,--build-id=none */
/*
 * Pid 1 for containers that ask for one (`--init`): init [--] COMMAND [ARGUMENT…]
 *
 * Starts the command, passes every signal on to it, reaps whatever is orphaned into this
 * pid namespace, and ends as the command did (128 + signal). The rest of the namespace then
 * goes with it: that is what the kernel does when pid 1 ends.
 *
 * All signals are blocked and fetched one by one, so there are no handlers and no races
 * between looking and waiting.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "sys.h"

#define NOT_EXECUTABLE 126
#define NOT_FOUND 127
#define ENGINE_FAILED 125
#define LONGEST_PATH 4096

/* A fault of init's own must kill it, not wait in a queue. */
#define FAULTS                                                                             \
    (SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGILL) | \
     SIGNAL_BIT(SIGTRAP) | SIGNAL_BIT(SIGSYS))

static void say(const char *text)
{
    SYS3(__NR_write, 2, text, text_length(text));
}

__attribute__((noreturn)) static void fail(const char *command, long error)
{
    const char *why = "cannot be executed";
    int code = NOT_EXECUTABLE;

    if (error == -ENOENT || error == -ENOTDIR) {
        why = "no such program in the container";
        code = NOT_FOUND;
    } else if (error == -EACCES) {
        why = "no permission to execute it";
    } else if (error == -ENOEXEC) {
        why = "not a program for this machine";
    }
    say("rl-init: ");
    say(command);
    say(": ");
    say(why);
    say("\n");
    sys_exit(code);
}

static const char *search_path(char **envp)
{
    for (; *envp != NULL; envp++)
        if (same_bytes(*envp, "PATH=", 5))
            return *envp + 5;
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* execvp's search, without its second try through a shell; returns the error. */
static long become(char **argv, char **envp)
{
    static char path[LONGEST_PATH];
    const char *command = argv[0];
    const char *at = search_path(envp);
    size_t length = text_length(command);
    long found = -ENOENT;

    for (size_t i = 0; i < length; i++)
        if (command[i] == '/')
            return SYS3(__NR_execve, command, argv, envp);
    if (length == 0)
        return -ENOENT;
    for (;;) {
        size_t part = 0;
        long result;

        while (at[part] != ':' && at[part] != '\0')
            part++;
        if (part + length + 2 <= sizeof path) {
            copy_bytes(path, at, part);
            path[part] = '/';
            copy_bytes(path + part + (part > 0), command, length + 1);
            result = SYS3(__NR_execve, path, argv, envp);
            /* What exists and can't be executed is the better answer than what isn't there. */
            if (result == -EACCES)
                found = result;
            else if (result != -ENOENT && result != -ENOTDIR)
                return result;
        }
        if (at[part] == '\0')
            return found;
        at += part + 1;
    }
}

static void run_child(char **argv, char **envp)
{
    int group;

    /* A group of its own, and the terminal's foreground, so that ^C and ^Z reach the
     * command and not init. SIGTTOU is blocked here, so taking the terminal can't stop us;
     * without a terminal nothing happens. */
    SYS2(__NR_setpgid, 0, 0);
    group = (int)SYS0(__NR_getpid);
    SYS3(__NR_ioctl, 0, TIOCSPGRP, &group);
    sys_sigmask(SIG_SETMASK, 0);
    fail(argv[0], become(argv, envp));
}

/* Reaps all that has ended; leaves when the command is among it. */
static void reap(long child)
{
    int status;
    long pid;

    while ((pid = SYS4(__NR_wait4, -1, &status, WNOHANG, 0)) > 0) {
        if (pid != child)
            continue;
        sys_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
}

int main(int argc, char **argv, char **envp)
{
    uint64_t all = ~(uint64_t)FAULTS;
    long child, number;

    argv += argc > 0;
    if (*argv != NULL && same_text(*argv, "--"))
        argv++;
    if (*argv == NULL) {
        say("usage: init [--] COMMAND [ARGUMENT...]\n");
        return ENGINE_FAILED;
    }
    sys_sigmask(SIG_SETMASK, all);
    /* An inherited "ignore" would make the kernel reap the command and forget its code. */
    sys_signal(SIGCHLD, 0);
    child = sys_fork();
    if (child < 0) {
        say("rl-init: cannot fork\n");
        return ENGINE_FAILED;
    }
    if (child == 0)
        run_child(argv, envp);
    for (;;) {
        number = SYS4(__NR_rt_sigtimedwait, &all, 0, 0, SIGNAL_SETSIZE);
        if (number == SIGCHLD)
            reap(child);
        else if (number > 0)
            SYS2(__NR_kill, child, number);
    }
}
