/* cflags: -nostdlib -ffreestanding -fno-stack-protector -U_FORTIFY_SOURCE -DRL_FREESTANDING -Wl,-z,noseparate-code -Wl,--build-id=none */
/*
 * The greeting of the image `hello`: what just happened, in the user's own terms, and what
 * to type next. It looks at the user namespace that it finds itself in, so that what it
 * says about it is true.
 */
#include <fcntl.h>

#include "sys.h"

#define STDOUT 1

static char message[4096];
static size_t used;

static void say(const char *text)
{
    size_t length = text_length(text);

    if (length > sizeof message - used)
        length = sizeof message - used;
    copy_bytes(message + used, text, length);
    used += length;
}

/* The word of a uid_map line that starts at *at; moves *at behind it. */
static const char *word(char **at)
{
    char *start;

    while (**at == ' ')
        (*at)++;
    start = *at;
    while (**at != ' ' && **at != '\n' && **at != '\0')
        (*at)++;
    if (**at != '\0')
        *(*at)++ = '\0';
    return start;
}

static void say_who(void)
{
    char map[256];
    char *at = map;
    const char *inside, *outside;
    long fd, got;

    fd = SYS4(__NR_openat, -100, "/proc/self/uid_map", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    got = SYS3(__NR_read, fd, map, sizeof map - 1);
    SYS1(__NR_close, fd);
    if (got <= 0)
        return;
    map[got] = '\0';
    inside = word(&at);
    outside = word(&at);
    if (!same_text(inside, "0") || same_text(outside, "0"))
        return;
    say("    (in /proc/self/uid_map: id 0 here is id ");
    say(outside);
    say(" one level out)\n");
}

int main(int argc, char **argv, char **envp)
{
    size_t done = 0;
    long got;

    (void)argc;
    (void)argv;
    (void)envp;
    say("\n"
        "Hello from rl! Your installation works.\n"
        "\n"
        "What just happened:\n"
        "  1. rl made a user namespace: root in here is only you outside.\n");
    say_who();
    say("  2. It stacked this image's layers under a writable one and made that tree the root\n"
        "     directory, in namespaces of its own for processes, mounts and the network.\n"
        "  3. It dropped capabilities, set a system call filter and became this program.\n"
        "  No daemon was asked, no administrator needed, and nothing keeps running.\n"
        "\n"
        "What to try next:\n"
        "  rl run -it --rm debian bash         a shell in a Debian container\n"
        "  rl run --rm elf:/usr/bin/env A=1    a program of this machine, no registry needed\n"
        "  rl run -d --name job debian sh -c 'while date; do sleep 1; done'\n"
        "                                      one that stays; then: rl logs -f job, rl stop job\n"
        "  rl ps -a                            what runs and what has ended\n"
        "  rl info                             which features this machine offers, and why\n"
        "  rl --help                           everything else\n"
        "\n");
    while (done < used) {
        got = SYS3(__NR_write, STDOUT, message + done, used - done);
        if (got <= 0)
            return 1;
        done += (size_t)got;
    }
    return 0;
}
