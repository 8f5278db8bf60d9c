"""RUN: the working directory of a step, its container, and the layer that comes of it.

    founder (the build)           P1 (build.steps.supervise)
    tmp directory, spec, plan ──► P2, P3: as for `rl run`, in the build's user namespace
    output ◄───────pipes───────── the program
    layer published ◄──facts───── the upper directory made into a layer

One user namespace serves all steps of a process: newuidmap runs once.  No record, log or
monitor is made; what is left of a killed build is in tmp/, unlocked, for the next sweep.
"""

import marshal
import os
import select

from rootless.build.steps import supervise
from rootless.build.steps.run import OutOfMemory, StepFailed
from rootless.engine import assemble
from rootless.engine.build import step_limits, step_mounts, step_network, step_spec, step_user
from rootless.engine.build.step_agent import Relay
from rootless.errors import RlError
from rootless.kernel import files, process, tree, userns
from rootless.runtime import fakeowner, launch, plan, seccomp
from rootless.store import capture, digests, export, unpack

assert tree  # loaded before any fork

_PIECE = 1 << 16
_BREATH = 200  # ms in which a program may say nothing before the view hears of it


class Killed(RlError):
    """the process that watches the step was killed"""


def run(engine, step, output):
    """Do a RUN step (build.steps.run.RunStep); the facts of its layer, as store.adopt has them.

    ``output(stream, data)`` gets what the program writes, all of it, as it comes; ``stream``
    is 1 or 2.  Raises StepFailed if the program fails, and what a start can raise.
    """
    runner = engine.__dict__.get("runner")
    if runner is None or runner.process != os.getpid():
        runner = engine.__dict__["runner"] = Runner(engine)
    return runner.run(step, output)


class Runner:
    """What the steps of one process share: the user namespace, the driver, facts of the host."""

    def __init__(self, engine):
        self.engine = engine
        self.store = engine.store
        self.process = os.getpid()
        self._spaces = {}
        self.host = step_spec.host_facts(engine)
        self.driver = assemble.best_driver(engine, False)

    def run(self, step, output):
        with self.store.tmp.make("step") as work:
            return _Step(self, step, work).run(output)

    def space(self, ids):
        """The user namespace with the map ``ids``: one for all steps that have it."""
        key = ids.uids, ids.gids
        if key not in self._spaces:
            self._spaces[key] = _hold_namespace(ids)
        return self._spaces[key]


def _hold_namespace(ids):
    """The descriptor of a new user namespace with the map ``ids``, which keeps it."""
    waiting, go = os.pipe()
    child = userns.start_in(ids, os.read, waiting, 1)
    try:
        return os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(go)
        os.close(waiting)
        child.kill()


class _Step:
    def __init__(self, runner, step, work):
        self.runner = runner
        self.engine = runner.engine
        self.store = runner.store
        self.step = step
        self.work = work
        self.overlay = runner.driver.name == "overlay"
        self.tree = "rootfs" if runner.driver.name == "clone" else capture.UPPER
        self.ids = step_user.ids_for(runner.engine, step)
        self.mounts = step_mounts.Mounts(step, self.store, work.path, self.overlay,
                                         not self.ids.single)  # fmt: skip

    def run(self, output):
        blob = self.store.blobs.writer() if self.overlay else None
        try:
            facts = self._run(output, blob)
            if not self.overlay:
                return self._adopt()
            capture.publish(self.store, self.work, facts)
            blob.written(digests.hexdigits(facts["diff_id"]), facts["size"])
            return {**facts, "blob": blob.commit(), "blob_size": facts["size"]}
        finally:
            if blob is not None:
                blob.close()
            for descriptor in self.mounts.locks:
                os.close(descriptor)

    # --- what is launched ---

    def _run(self, output, blob):
        lowers = self.store.layers.paths(self.step.layers)
        rootfs = self.runner.driver.prepare(self.work.path, lowers, volatile=True)
        os.mkdir("root", 0o700, dir_fd=self.work.descriptor)
        upper = layer = None
        try:
            if blob is not None:
                layer = _make(self.work.descriptor, unpack.BUILD)
                upper = self._upper(lowers, layer, blob)
            job = self._job(rootfs, upper)
            return self._launch(job, output)
        finally:
            if layer is not None:
                os.close(layer)

    def _upper(self, lowers, layer, blob):
        return capture.Upper(
            work=self.work.descriptor, layer=layer, blob=blob.fileno(), hasher=digests.hasher(),
            lowers=lowers, single=self.ids.single, mine=step_user.mine(self.ids),
            newest=self.step.newest, stamp=self.step.stamp,
        )  # fmt: skip

    def _job(self, rootfs, upper):
        step, engine = self.step, self.engine
        network = step_network.prepare(engine, step, self.work.path)
        self.runner.host.ids = self.ids
        spec, _ = step_spec.make(step, self.runner.host, network.files, network.words)
        if "/etc/hostname" in network.files:
            with open(network.files["/etc/hostname"], "w", encoding="utf-8") as file:
                file.write(spec["rl"]["hostname"] + "\n")
        self.mounts.make()
        mounts = self.mounts
        spec["process"]["env"] += mounts.environ
        spec["mounts"] = sorted([*spec["mounts"], *mounts.entries],
                                key=lambda entry: entry["destination"].count("/"))  # fmt: skip
        steps = mounts.place(plan.make_plan(spec, rootfs, f"{self.work.path}/root"))
        asked = self.ids.single and self.overlay
        filters = seccomp.programs(spec, self.ids, f"{engine.runroot}/seccomp", asked)
        space, mine = self.runner.space(self.ids), step_user.mine(self.ids)
        supervisor = supervise.Supervisor(
            space, upper, self.work.descriptor, self.tree,
            self.store.layers.paths(step.layers), self.work.path, mine if asked else None,
        )  # fmt: skip
        return launch.Job(
            spec={**spec, "process": {**spec["process"], "setHome": spec["rl"]["setHome"]}},
            plan=steps, rootfs=rootfs, target=f"{self.work.path}/root", ids=self.ids,
            store_ids=engine.ids, join={"user": space}, terminal=False, stdin=False,
            filters=filters, network=network.connect, hold=True, founder=os.getpid(),
            monitor=supervisor, cgroup=step_limits.group(engine, step),
            watched=fakeowner.program(*mine, ask=True) if asked else None,
        )  # fmt: skip

    def _launch(self, job, output):
        streams, ends = {}, [_input(self.step.stdin)]
        for number in (1, 2):
            reading, writing = os.pipe()
            streams[reading] = number
            ends.append(writing)
        job.stdio = ends
        relay = Relay(self.mounts.relays)
        job.private = (*streams, *relay.listening)
        try:
            pid, socket = launch.start(job)
        finally:
            for descriptor in ends:
                if descriptor is not None:
                    os.close(descriptor)
        try:
            said = _listen(socket, streams, output, relay)
        except BaseException:
            os.kill(pid, 9)
            raise
        finally:
            for descriptor in streams:
                os.close(descriptor)
            relay.close()
            socket.close()
            process.wait_exit(pid)
            if job.cgroup:
                job.cgroup.remove()
        if said is None:
            raise Killed()
        code, facts, short = said
        if code:
            raise (OutOfMemory if short else StepFailed)(self.step.shown, code)
        return facts

    def _adopt(self):
        """The layer of a step with another driver than overlayfs."""
        step = self.step
        lowers = self.store.layers.paths(step.layers)
        with self.store.layers.adopt(compress=False) as adopt:
            export.export_layer(self.store, self.runner.driver, self.work.path, lowers,
                                adopt.write, step.newest, step.stamp)  # fmt: skip
            return adopt.finish()


def _make(directory, name):
    os.mkdir(name, 0o700, dir_fd=directory)
    return os.open(name, files.DIRECTORY, dir_fd=directory)


def _input(data):
    """A descriptor that gives ``data`` (bytes) and then ends; None for /dev/null."""
    if data is None:
        return None
    made = os.memfd_create("stdin", os.MFD_CLOEXEC)
    files.write_all(made, data)
    os.lseek(made, 0, os.SEEK_SET)
    return made


def _listen(socket, streams, output, relay):
    """Pass output on until all have ended: what the supervisor said last, None for nothing."""
    watch = select.poll()
    for descriptor in (*streams, socket.fileno()):
        watch.register(descriptor, select.POLLIN)
    relay.register(watch)
    waiting = {*streams, socket.fileno()}
    said, error = None, None
    while waiting:
        found = watch.poll(_BREATH)
        if not found:
            output(1, b"")  # nothing said: whoever shows the time may do so
        for descriptor, _ in found:
            if relay.handle(descriptor) or descriptor not in waiting:
                continue  # the agent's; its other end may just have closed it
            if descriptor == socket.fileno():
                packet = process.look_twice(socket.recv, 1 << 18) or b""
                if packet[:1] == b"r":
                    said = marshal.loads(packet[1:])
                elif packet[:1] == b"l":
                    error = packet[1:]
            else:
                packet = os.read(descriptor, _PIECE)
                if packet:
                    output(streams[descriptor], packet)
            if not packet:
                watch.unregister(descriptor)
                waiting.discard(descriptor)
    if error is not None:
        from rootless.runtime.enter import told

        raise told(error)
    return said
