/* cflags: -nostdlib -ffreestanding -fno-stack-protector -U_FORTIFY_SOURCE -DRL_FREESTANDING -Wl,-z,noseparate-code -Wl,--build-id=none */
/*
 * rl: finds the Python that rl was installed for and becomes it, isolated from the
 * caller's environment and directory.
 *
 * A script cannot do this: pip replaces a script's first line by the plain interpreter,
 * so site, PYTHONPATH and sitecustomize run before the first line of the script does, and
 * a shell script has to fork readlink to see through the link that pipx makes.
 *
 * Nothing is recorded at installation, since a wheel is unpacked and not run; the places
 * follow from this program's own path:
 *
 *   PREFIX/bin/rl
 *   PREFIX/lib{,64}/python3.Y/{site,dist}-packages/rootless
 *   PREFIX/bin/python3.Y, /usr/bin/python3.Y, /usr/local/bin/python3.Y, or on PATH
 *
 * Without a C library: its start alone takes 0.45 ms in a virtual machine, where asking the
 * processor for its features leaves the guest; all of this takes 0.05 ms.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "sys.h"

#define ENGINE_FAILED 125
#define MAX_PACKAGES 16
#define ANY_MINOR (-1) /* lib/python3: Debian's packages serve every 3.Y */
#define NOT_PYTHON (-2)

/* sys.path ends with the one directory: what the standard library has wins, and neither
 * the current directory nor the user's site is on it. */
#define START                                                                              \
    "import sys\n"                                                                         \
    "sys.path.append(sys.argv.pop(1))\n"                                                   \
    "sys.argv[0] = 'rl'\n"                                                                 \
    "try:\n"                                                                               \
    "    from rootless.__main__ import main\n"                                             \
    "    sys.exit(main())\n"                                                               \
    "except KeyboardInterrupt:\n"                                                          \
    "    sys.exit(130)\n"

/* A path that is being put together; one that became too long is marked and never used. */
struct path {
    size_t length;
    int too_long;
    char text[PATH_MAX];
};

struct package {
    int minor;
    int tried;
    int debian; /* dist-packages: what Debian's own interpreter reads */
    struct path directory;
};

/* The kernel's struct linux_dirent64. */
struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

static struct package packages[MAX_PACKAGES];
static int package_count;

static void add_bytes(struct path *path, const char *text, size_t length)
{
    if (path->too_long || path->length + length >= PATH_MAX) {
        path->too_long = 1;
        return;
    }
    copy_bytes(path->text + path->length, text, length);
    path->length += length;
    path->text[path->length] = '\0';
}

static void add(struct path *path, const char *text)
{
    add_bytes(path, text, text_length(text));
}

static void set(struct path *path, const char *text, size_t length)
{
    path->length = 0;
    path->too_long = 0;
    add_bytes(path, text, length);
}

static void add_number(struct path *path, int number)
{
    char digits[12];
    char *at = digits + sizeof digits;

    *--at = '\0';
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    add(path, at);
}

static int fail(const char *before, const struct path *path, const char *after)
{
    SYS3(__NR_write, 2, before, text_length(before));
    if (path != NULL)
        SYS3(__NR_write, 2, path->text, path->length);
    SYS3(__NR_write, 2, after, text_length(after));
    return ENGINE_FAILED;
}

/* The Y of "python3.Y", ANY_MINOR for "python3", NOT_PYTHON for another name. */
static int minor_of(const char *name)
{
    int minor = 0;

    if (!same_text(name, "python3")) {
        if (text_length(name) < 9 || !same_bytes(name, "python3.", 8))
            return NOT_PYTHON;
        for (name += 8; *name != '\0'; name++) {
            if (*name < '0' || *name > '9' || minor > 999)
                return NOT_PYTHON;
            minor = minor * 10 + (*name - '0');
        }
        return minor;
    }
    return ANY_MINOR;
}

static void add_package(const struct path *library, const char *name, int minor, int debian)
{
    static struct path file;
    struct package *found = &packages[package_count];
    struct path *directory = &found->directory;

    if (package_count == MAX_PACKAGES)
        return;
    set(directory, library->text, library->length);
    add(directory, "/");
    add(directory, name);
    add(directory, debian ? "/dist-packages" : "/site-packages");
    set(&file, directory->text, directory->length);
    add(&file, "/rootless/__init__.py");
    if (file.too_long || SYS4(__NR_faccessat, AT_FDCWD, file.text, 4 /* R_OK */, 0) != 0)
        return;
    found->minor = minor;
    found->debian = debian;
    package_count++;
}

static void find_packages(const struct path *prefix, const char *lib)
{
    static char entries[8192] __attribute__((aligned(8)));
    static struct path library;
    const struct entry *entry;
    long directory, filled;
    int minor;

    set(&library, prefix->text, prefix->length);
    add(&library, lib);
    directory = SYS4(__NR_openat, AT_FDCWD, library.text, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (directory < 0)
        return;
    while ((filled = SYS3(__NR_getdents64, directory, entries, sizeof entries)) > 0)
        for (long at = 0; at < filled; at += entry->length) {
            entry = (const struct entry *)(const void *)(entries + at);
            minor = minor_of(entry->name);
            if (minor == NOT_PYTHON)
                continue;
            add_package(&library, entry->name, minor, 0);
            add_package(&library, entry->name, minor, 1);
        }
    SYS1(__NR_close, directory);
}

/* Becomes the interpreter in a directory of that length; returns if there is none. */
static void become(const char *directory, size_t length, struct package *package, int argc,
                   char **argv, char **envp)
{
    static struct path python;
    char *words[argc + 6];
    int used = 0;

    set(&python, directory, length);
    add(&python, "/python3");
    if (package->minor != ANY_MINOR) {
        add(&python, ".");
        add_number(&python, package->minor);
    }
    if (python.too_long)
        return;
    words[used++] = python.text;
    words[used++] = (char *)"-IS";
    words[used++] = (char *)"-c";
    words[used++] = (char *)START;
    words[used++] = package->directory.text;
    for (int i = 1; i < argc; i++)
        words[used++] = argv[i];
    words[used] = NULL;
    SYS3(__NR_execve, python.text, words, envp);
}

static void become_one_on_path(struct package *package, int argc, char **argv, char **envp)
{
    const char *at = NULL;
    size_t length;

    for (char **variable = envp; *variable != NULL; variable++)
        if (text_length(*variable) > 5 && same_bytes(*variable, "PATH=", 5))
            at = *variable + 5;
    while (at != NULL && *at != '\0') {
        for (length = 0; at[length] != ':' && at[length] != '\0';)
            length++;
        /* Only absolute ones: an interpreter from the current directory is never meant. */
        if (*at == '/')
            become(at, length, package, argc, argv, envp);
        at += length + (at[length] == ':');
    }
}

static void start(const struct path *prefix, struct package *package, int argc, char **argv,
                  char **envp)
{
    static struct path own;

    set(&own, prefix->text, prefix->length);
    add(&own, "/bin");
    if (package->debian)
        become("/usr/bin", 8, package, argc, argv, envp);
    become(own.text, own.length, package, argc, argv, envp);
    become("/usr/bin", 8, package, argc, argv, envp);
    become("/usr/local/bin", 14, package, argc, argv, envp);
    become_one_on_path(package, argc, argv, envp);
}

static struct package *newest_untried(void)
{
    struct package *best = NULL;

    for (int i = 0; i < package_count; i++)
        if (!packages[i].tried && (best == NULL || packages[i].minor > best->minor))
            best = &packages[i];
    return best;
}

/* A descriptor that the caller closed would be taken by the first file rl opens, and
 * what is meant for a person would be written into that file. */
static void open_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (SYS2(__NR_fcntl, fd, F_GETFD) < 0 &&
            SYS4(__NR_openat, AT_FDCWD, "/dev/null", O_RDWR, 0) != fd)
            sys_exit(ENGINE_FAILED);
}

static void cut_last_part(struct path *path)
{
    while (path->length > 0 && path->text[--path->length] != '/')
        ;
    path->text[path->length] = '\0';
}

int main(int argc, char **argv, char **envp)
{
    static struct path prefix;
    struct package *package;
    long length;

    open_standard_descriptors();
    length = SYS4(__NR_readlinkat, AT_FDCWD, "/proc/self/exe", prefix.text, PATH_MAX - 1);
    if (length < 0)
        return fail("Error: cannot read /proc/self/exe\n", NULL,
                    "hint: rl needs /proc; mount it with: mount -t proc proc /proc\n");
    prefix.length = (size_t)length;
    cut_last_part(&prefix);
    cut_last_part(&prefix);
    find_packages(&prefix, "/lib");
    find_packages(&prefix, "/lib64");
    while ((package = newest_untried()) != NULL) {
        package->tried = 1;
        start(&prefix, package, argc, argv, envp);
    }
    if (package_count == 0)
        return fail("Error: no Python package \"rootless\" under ", &prefix,
                    "/lib\nhint: this rl was moved from where it was installed; install it "
                    "again with: pipx install --force rl\n");
    return fail("Error: the Python is gone that could run ", &packages[0].directory,
                "/rootless\nhint: install rl again with: pipx reinstall rl\n");
}
