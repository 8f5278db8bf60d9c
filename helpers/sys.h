/*
 * The few system calls that the helpers need, made without a C library.
 *
 * A static libc costs half a megabyte of file and a quarter millisecond of start-up for
 * things that these programs never do. Every function returns what the kernel returns:
 * a negative errno on failure; there is no errno variable.
 *
 * With -DRL_FREESTANDING this file also brings the entry point and what the compiler
 * itself calls (memcpy and relatives). Without it the same source links with a libc, which
 * then serves only to start main: that is how the address sanitizer gets to see it.
 */
#ifndef RL_SYS_H
#define RL_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#ifndef __NR_close_range /* headers older than Linux 5.9 */
#define __NR_close_range 436
#endif

#if defined(__x86_64__)

static inline long sys6(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__)

static inline long sys6(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;

    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
}

#else
#error "no system call stub for this machine: add one"
#endif

#define SYS0(n) sys6(n, 0, 0, 0, 0, 0, 0)
#define SYS1(n, a) sys6(n, (long)(a), 0, 0, 0, 0, 0)
#define SYS2(n, a, b) sys6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3(n, a, b, c) sys6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4(n, a, b, c, d) sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS5(n, a, b, c, d, e) \
    sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS6(n, a, b, c, d, e, f) \
    sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* Signals: the kernel's own set is one 64-bit word, bit N-1 for signal N. */
#define SIGNAL_BIT(n) (1ULL << ((n)-1))
#define SIGNAL_SETSIZE 8

struct kernel_action {
    void *handler;
    unsigned long flags;
    void *restorer;
    uint64_t mask;
};

static inline long sys_signal(int number, long handler)
{
    struct kernel_action action = {(void *)handler, 0, 0, 0};

    return SYS4(__NR_rt_sigaction, number, &action, 0, SIGNAL_SETSIZE);
}

/* how: 0 block, 1 unblock, 2 set */
static inline long sys_sigmask(int how, uint64_t set)
{
    return SYS4(__NR_rt_sigprocmask, how, &set, 0, SIGNAL_SETSIZE);
}

__attribute__((noreturn)) static inline void sys_exit(int code)
{
    for (;;)
        SYS1(__NR_exit_group, code);
}

/* fork: only 17 (SIGCHLD) in the flags, so the order of the other arguments, which
 * differs between machines, doesn't matter. */
static inline long sys_fork(void)
{
    return SYS5(__NR_clone, 17, 0, 0, 0, 0);
}

static inline size_t text_length(const char *text)
{
    size_t length = 0;

    while (text[length] != '\0')
        length++;
    return length;
}

static inline int same_bytes(const void *one, const void *other, size_t length)
{
    const unsigned char *a = one, *b = other;

    for (size_t i = 0; i < length; i++)
        if (a[i] != b[i])
            return 0;
    return 1;
}

static inline int same_text(const char *one, const char *other)
{
    size_t length = text_length(one);

    return length == text_length(other) && same_bytes(one, other, length);
}

static inline void copy_bytes(void *to, const void *from, size_t length)
{
    __builtin_memcpy(to, from, length);
}

#ifdef RL_FREESTANDING

int main(int argc, char **argv, char **envp);
void *memcpy(void *to, const void *from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *to, int value, size_t length);
int memcmp(const void *one, const void *other, size_t length);
__attribute__((noreturn, used)) void start_c(long *stack);

/* The empty asm keeps the compiler from turning each loop into a call of itself. */
#define NOT_A_PATTERN __asm__ volatile("" ::: "memory")

__attribute__((used)) void *memcpy(void *restrict to, const void *restrict from, size_t length)
{
#if defined(__x86_64__)
    void *result = to;

    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length)::"memory");
    return result;
#else
    char *target = to;
    const char *source = from;

    for (; length >= 8; length -= 8, target += 8, source += 8) {
        NOT_A_PATTERN;
        __builtin_memcpy(target, source, 8);
    }
    while (length-- > 0) {
        NOT_A_PATTERN;
        *target++ = *source++;
    }
    return to;
#endif
}

__attribute__((used)) void *memmove(void *to, const void *from, size_t length)
{
    char *target = to;
    const char *source = from;

    if (target <= source || target >= source + length)
        return memcpy(to, from, length);
    while (length-- > 0) {
        NOT_A_PATTERN;
        target[length] = source[length];
    }
    return to;
}

__attribute__((used)) void *memset(void *to, int value, size_t length)
{
    char *target = to;

    while (length-- > 0) {
        NOT_A_PATTERN;
        *target++ = (char)value;
    }
    return to;
}

__attribute__((used)) int memcmp(const void *one, const void *other, size_t length)
{
    const unsigned char *a = one, *b = other;

    for (; length > 0; length--, a++, b++) {
        NOT_A_PATTERN;
        if (*a != *b)
            return *a - *b;
    }
    return 0;
}

void start_c(long *stack)
{
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1);

    sys_exit(main(argc, argv, argv + argc + 1));
}

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl _start\n"
        ".type _start,@function\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    and $-16, %rsp\n"
        "    call start_c\n"
        "    hlt\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl _start\n"
        ".type _start,%function\n"
        "_start:\n"
        "    mov x29, #0\n"
        "    mov x30, #0\n"
        "    mov x0, sp\n"
        "    bl start_c\n");
#endif

#endif /* RL_FREESTANDING */

#endif
