"""Programs of other projects that the tests use."""

import os
import shutil
import subprocess

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"


def find(name):
    """The path of a program; AssertionError says how to get the missing ones."""
    found = shutil.which(name, path=PATH)
    assert found, f"{name} is missing: sudo sh tests/setup/machine.sh installs what tests need"
    return found


def run(*words, **how):
    """Run a program that must succeed: its stdout as str."""
    how.setdefault("env", {"HOME": os.path.expanduser("~"), "PATH": PATH, "LANG": "C.UTF-8"})
    how.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, **how)
    assert done.returncode == 0, f"{' '.join(words)}\n-> {done.returncode}\n{done.stderr}"
    return done.stdout


def remove_tree(path):
    """Remove a directory whose files may belong to subordinate ids or be unreadable."""
    shutil.rmtree(path, ignore_errors=True)
    if not os.path.lexists(path):
        return
    namespace = [find("unshare"), "--user", "--map-root-user", "--map-auto"]
    done = subprocess.run(
        [*namespace, "rm", "-rf", "--", path], capture_output=True, check=False
    )
    if done.returncode != 0 and os.path.lexists(path):  # util-linux before 2.38
        run(find("buildah"), "unshare", "rm", "-rf", "--", path)
    assert not os.path.lexists(path), f"cannot remove {path}: {done.stderr!r}"
