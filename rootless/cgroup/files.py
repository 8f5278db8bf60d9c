"""Reading and writing the files of a cgroup v2 (the kernel's admin-guide/cgroup-v2.rst)."""

import errno
import os

TOP = "/sys/fs/cgroup"


def read(path):
    """The text of a file there (str); "" if it can't be read."""
    try:
        with open(path, "rb", 0) as file:
            return file.read(1 << 16).decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def write(path, text):
    """Write ``text`` in one call, as these files want it.  Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def number(path):
    """The number in a file; None for "max" and where there is none."""
    text = read(path).strip()
    return int(text) if text.isdigit() else None


def keyed(path):
    """The numbers of a file of lines "KEY NUMBER" (dict)."""
    pairs = (line.split() for line in read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def of_process(pid="self"):
    """The cgroup v2 of a process: its path from the root of the hierarchy, "/" for the root.

    None if there is none, or it is outside of what this process can see.
    """
    return own_path(read(f"/proc/{pid}/cgroup"))


def own_path(text):
    """``of_process`` of the ``text`` of a /proc/PID/cgroup."""
    for line in text.splitlines():
        if line.startswith("0::/"):
            path = line[3:]
            return None if path.startswith("/..") or path.endswith(" (deleted)") else path
    return None


def join(directory, pid):
    """Move a process into the cgroup at ``directory``.

    False if this user may not move it from where it is (cgroups(7): write permission for the
    common ancestor).  Raises OSError for anything else.
    """
    try:
        write(f"{directory}/cgroup.procs", str(pid))
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            return False
        raise
    return True


def remove(directory):
    """Remove a cgroup and those below it, if no process is left; True if it is gone."""
    try:
        names = [
            entry.name for entry in os.scandir(directory) if entry.is_dir(follow_symlinks=False)
        ]
    except FileNotFoundError:
        return True
    except OSError:
        return False
    for name in names:
        remove(f"{directory}/{name}")
    return remove_empty(directory)


def remove_empty(directory):
    """Remove a cgroup that has none below it; True if it is gone."""
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


_MARK = "user.rl"  # cgroups have attributes since Linux 5.7


def mark(directory):
    """Note on a cgroup that rl has made it."""
    try:
        os.setxattr(directory, _MARK, b"1")
    except OSError:
        pass  # then nobody removes it


def is_marked(directory):
    """Whether rl has made this cgroup."""
    try:
        return os.getxattr(directory, _MARK) == b"1"
    except OSError:
        return False
