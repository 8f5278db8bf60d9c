"""kill -9 and failing system calls at every step: the store stays usable, and keeps promises."""

import os
import signal

import pytest

from rootless.errors import RlError
from rootless.kernel import files
from rootless.store import check, gc
from rootless.store.store import open_store
from support import layers
from support.layers import Archive

pytestmark = pytest.mark.integration

STEPS = ("open", "write", "rename", "fsync", "mkdir", "unlink", "rmdir", "ftruncate", "link")


def work(store):
    """What a pull does, with a tag moved from an older image."""
    first = Archive().directory("d").file("d/a", b"a" * 3000, uid=3).data()
    second = Archive().file("d/.wh.a").file("b", b"b").data()
    layers.image(store, [first], ["localhost/one:latest"])
    layers.image(store, [first, second], ["localhost/one:latest", "localhost/two:latest"])
    store.images.remove("localhost/two:latest")
    gc.collect(store)


class Fault:
    """Counts system calls; does ``what`` at number ``at``."""

    def __init__(self, at, what):
        self.at, self.what, self.count = at, what, 0

    def install(self):
        for name in STEPS:
            setattr(os, name, self.wrap(getattr(os, name)))
        files.syncfs = self.wrap(files.syncfs)

    def wrap(self, real):
        def call(*args, **kwargs):
            self.count += 1
            if self.count == self.at:
                self.what()
            return real(*args, **kwargs)

        return call


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def fail_with(number):
    def fail():
        raise OSError(number, os.strerror(number))

    return fail


def run_with(root, rung, at, what):
    """Do the work in a process with a fault: True once it gets through without one."""
    pid = os.fork()
    if pid == 0:
        code = 3
        try:
            store = open_store(root, layers.ids_of(rung))
            fault = Fault(at, what)
            fault.install()
            try:
                work(store)
            except (RlError, OSError):
                code = 1
            else:
                code = 0 if fault.count < at else 2
        finally:
            os._exit(code)
    status = os.waitpid(pid, 0)[1]
    assert status != 3 << 8, "the work ended with something else than an error of rl"
    return status == 0


def inspect(root, rung):
    """Open it again: all that it lists is whole, and all verbs work."""
    store = open_store(root, layers.ids_of(rung))
    try:
        found = [p for p in check.check(store) if p.kind not in check.REMARKS]
        assert found == []
        for record in store.images.list():
            store.layers.paths(record["layers"])
            assert store.blobs.read(record["manifest"]) and store.blobs.read(record["config"])
    finally:
        store.close()


@pytest.mark.parametrize("what", [die, fail_with(28), fail_with(5)], ids=["kill", "ENOSPC", "EIO"])
def test_a_fault_at_every_step(workdir, rung, what):
    root, at = f"{workdir}/store", 0
    open_store(root, layers.ids_of(rung)).close()
    while True:
        at += 1
        assert at < 1000
        done = run_with(root, rung, at, what)
        inspect(root, rung)
        if done:
            break
    assert at > 50
    store = open_store(root, layers.ids_of(rung))
    try:
        work(store)
        store.tmp.release()
        gc.collect(store, resumable=True)
        assert os.listdir(f"{root}/tmp") == []
        assert sorted(store.images.refs.all()) == ["localhost/one:latest"]
        assert len(store.layers.list()) == 2
    finally:
        store.close()


def test_killed_while_making_the_store(workdir, rung):
    for at in range(1, 60):
        root = f"{workdir}/store{at}"
        pid = os.fork()
        if pid == 0:
            Fault(at, die).install()
            try:
                open_store(root, layers.ids_of(rung))
            finally:
                os._exit(0)
        ended = os.waitpid(pid, 0)[1]
        inspect(root, rung)
        if ended == 0:
            assert at > 5
            return
    raise AssertionError("it never got through")


def test_killed_at_any_time(workdir, rung):
    """Not only between system calls of ours: also in the middle of the child's work."""
    import random
    import time

    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    rng = random.Random(seed)
    root = f"{workdir}/store"
    open_store(root, layers.ids_of(rung)).close()
    data = Archive()
    for number in range(300):
        data.file(f"d{number % 7}/f{number}", os.urandom(3000))
    data = data.data()
    for _ in range(12):
        pid = os.fork()
        if pid == 0:
            try:
                layers.image(open_store(root, layers.ids_of(rung)), [data])
            finally:
                os._exit(0)
        time.sleep(rng.random() * 0.12)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        inspect(root, rung)
    store = open_store(root, layers.ids_of(rung))
    record = layers.image(store, [data])
    store.tmp.release()
    store.tmp.sweep(resumable=True)
    assert os.listdir(f"{root}/tmp") == []
    assert store.images.find("localhost/test")["id"] == record["id"]
    store.close()
