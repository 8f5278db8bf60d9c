"""The life of one RUN step, in the process that has launched it (runtime.launch, P1).

That process stays: it waits for the program, answers for it where owners are only noted
(owners.py), and makes the layer of what it left.  It does so as root of the user namespace,
so nobody has to be started for it.

    P1 → founder    s                  the program runs
                    l JSON, x …        it doesn't (docs/monitor.md)
                    r marshal          (exit code, facts of the layer or None,
                                       whether memory was lacking)

Whoever kills the founder ends P1, whose end is that of the container's pid 1, which takes
all processes of the step along; the mounts are in namespaces of theirs.
"""

import marshal
import os
import resource
import select

from rootless.build.steps import owners, stubs
from rootless.errors import RlError
from rootless.kernel import files, process, tree, userns
from rootless.runtime import launch
from rootless.store import capture
from rootless.store.unpack import NoSpace

_NO_SPACE = (28, 122)  # ENOSPC, EDQUOT
_PATIENCE = 10_000  # ms that fuse-overlayfs has to end
_LEFT = ("work", "root", "lower", "empty", "private", "mounts", "files")


class CannotCapture(RlError):
    """the files of the step cannot be read: {0}"""


class Supervisor:
    """``Job.monitor`` of a step; never returns.

    space    descriptor of the user namespace
    upper    store.capture.Upper, or None where the founder makes the layer
    home     descriptor of the step's working directory; ``path`` names it
    tree     the name in it of what the step writes to: "upper", or "rootfs" of a clone
    lowers   trees of the layers below (paths), bottom first
    mine     (uid, gid) that are all the ids there are, where owners are noted; else None
    """

    def __init__(self, space, upper, home, tree, lowers, path, mine=None):
        self.space = space
        self.upper = upper
        self.home = home
        self.tree = tree
        self.lowers = lowers
        self.path = path
        self.mine = mine
        self.owners = None

    def __call__(self, job, descriptors):
        for descriptor in job.stdio:
            if descriptor is not None:
                os.close(descriptor)
        userns.setns(self.space, userns.CLONE_NEWUSER)
        userns.become_root()
        userns.drop_groups()
        launch.end_with(job.founder)  # the change of ids has undone it
        os.umask(0)
        try:
            before = self._look()
            if self.mine is not None:
                place = os.open(self.tree, files.DIRECTORY, dir_fd=self.home)
                self.owners = owners.Owners(place, self.mine)
                # Links that were given away are kept open; the program has its own limit.
                hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            self._begin(job, descriptors)
            code = self._wait(job, descriptors)
            self._end_helpers(job)
            facts, short = None, False
            if code:
                short = bool(job.cgroup) and job.cgroup.short_of_memory()
            else:
                stubs.clean(self.home, self.tree, before)
                facts = self._result() if self.upper else None
            for name in _LEFT:
                tree.remove_tree(self.home, name)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise NoSpace() from None
            where = f" ({os.fsdecode(error.filename)})" if error.filename else ""
            raise CannotCapture(f"{error.strerror}{where}") from None
        job.client.send(b"r" + marshal.dumps((code, facts, short)))
        os._exit(0)

    def _look(self):
        if self.tree == "rootfs":
            return stubs.added(self.home, self.tree, self.path, self.lowers)
        if self.upper:
            status = os.stat(self.tree, dir_fd=self.home)
            self.upper.root = status.st_mode & 0o7777, status.st_uid, status.st_gid
        return stubs.look(self.home, self.tree)

    def _begin(self, job, descriptors):
        """Let the program go, and hear whether it runs."""
        launch.let_go(job)
        os.close(job.go)
        if job.watched:
            word, ancillary, _, _ = job.sync.recvmsg(256, 64)
            if word == b"listener":
                descriptors["listener"] = int.from_bytes(ancillary[0][2][:4], "little")
                os.set_inheritable(descriptors["listener"], False)
        said = b""
        while chunk := os.read(descriptors["status"], 4096):
            said += chunk
        if said != b"\x06":
            job.client.send(b"l" + (said.lstrip(b"\x06") or b"a process of the set-up was killed"))
            launch.end_children()
            os._exit(125)
        job.client.send(b"s")

    def _wait(self, job, descriptors):
        """Until the program has ended, and all processes with it: its exit code."""
        listener = descriptors.get("listener")
        if listener is not None:
            ended = process.pidfd(job.init_pid)
            watch = select.poll()
            watch.register(ended, select.POLLIN)
            watch.register(listener, select.POLLIN)
            while self._answered(listener, ended, watch.poll()):
                pass
            os.close(ended)
            os.close(listener)
        code = process.wait_exit(job.init_pid)
        return code if code >= 0 else 128 - code

    def _answered(self, listener, ended, events):
        """Answer a call; False once the program has ended."""
        named = [number for number, _ in events]
        if listener in named and ended not in named:
            self.owners.answer(listener)
        return ended not in named

    def _end_helpers(self, job):
        """fuse-overlayfs has written everything when it ends; nobody waits for the network's."""
        for word in job.helpers:
            kind, _, text = word.partition("=")
            if not text.isdecimal():
                continue
            pid = int(text)
            if kind == "helper":
                descriptor = process.pidfd(pid)
                watch = select.poll()
                watch.register(descriptor, select.POLLIN)
                watch.poll(_PATIENCE)
                os.close(descriptor)
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass

    def _result(self):
        if self.owners is not None:
            self.upper.noted = self.owners.noted()
        return capture.take(self.upper)
