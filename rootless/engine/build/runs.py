"""RUN: what its result depends on, and the step that does it."""

import os

from rootless.build.copy import plan, sources
from rootless.build.copy.view import Directory
from rootless.build.language.source import error_at
from rootless.build.solve.scope import PROXIES
from rootless.build.solve.stage import Task
from rootless.build.steps import run as steps
from rootless.build.steps.run import RunStep, Settings
from rootless.engine.build import entitlements
from rootless.kernel import files

# Options that a step can see something of: they belong to its key.
_SEEN = ("add_host", "cap_add", "cap_drop", "device", "dns", "dns_option", "dns_search",
         "group_add", "ipc", "cgroupns", "no_hosts", "no_hostname", "network", "security_opt",
         "shm_size", "ulimit", "uts", "volume")  # fmt: skip
_PIPES = "/dev/pipes"


class Origin:
    """A mount of a RUN, with its variables put in, and where it comes from.

    mount    language.mounts.Mount
    source   copy.sources.Tree or Layers with the path in it as ``pattern``; None for what
             comes from nowhere (tmpfs, secret, ssh, a cache that starts empty)
    """

    def __init__(self, mount, source=None):
        self.mount = mount
        self.source = source


def task(work, build, number, instruction):
    """The stage.Task of a RUN."""
    state, values, node = build.state, build.values, instruction.node
    entitlements.check(work.options, instruction)
    argv, script = _command(state, instruction)
    _check_devices(instruction)
    arguments = values.build_args()
    mounts = [_origin(work, build, number, mount, values, node) for mount in instruction.mounts]
    key = [
        argv,
        script and [script[0], script[1].decode("utf-8", "surrogateescape")],
        [[name, value] for name, value in arguments.items()],
        state.directory,
        state.config.get("User", ""),
        [_mount_key(work, one) for one in mounts],
        instruction.network,
        instruction.security,
        [list(device) for device in instruction.devices],
        {name: getattr(work.options, name) for name in _SEEN if getattr(work.options, name)},
    ]

    def do(output):
        from contextlib import ExitStack

        from rootless.engine.build import run_step

        entitlements.check_platform(build.vertex.image or build.vertex.title, state.platform, node)
        env = {**arguments, **state.env}
        with ExitStack() as stack:
            step = RunStep(
                state.diff_ids,
                argv,
                [f"{name}={value}" for name, value in env.items()],
                state.directory,
                state.config.get("User", ""),
                mounts=_mounts(work, mounts, script, stack, node),
                network=instruction.network,
                security=instruction.security,
                settings=Settings.of(work.options, _proxies(work)),
                limits=work.limits,
                newest=work.times.newest,
                stamp=work.times.stamp,
            )
            return run_step.run(work.engine, step, output)

    return Task(key, _made_by(arguments, argv), do)


def _check_devices(instruction):
    """Devices by the names of a registry of them (CDI), which there is none of here."""
    for name, required in instruction.devices:
        if required:
            raise error_at(
                instruction.node, f"there is no device {name}",
                "rl build --device PATH gives a device of this machine to every step", "--device",
            )  # fmt: skip


def _command(state, instruction):
    """(the words to run, None or the (name, bytes) of a script that has to be there)."""
    if instruction.words is not None:
        return list(instruction.words), None
    script = instruction.script
    if script is not None and script.text.startswith("#!"):
        data = script.text.encode("utf-8", "surrogateescape")
        return [f"{_PIPES}/{script.name}"], (script.name, data)
    return [*state.shell, instruction.shell_text], None


def _made_by(arguments, argv):
    """As the history of docker and podman has it."""
    given = [f"{name}={value}" for name, value in arguments.items()]
    head = [f"|{len(given)}", *given] if given else []
    return " ".join([*head, *argv])


def _origin(work, build, number, mount, values, node):
    mount = mount.expanded(values.look_up, node)
    if mount.type not in ("bind", "cache"):
        return Origin(mount)
    path = _escaped(mount.source or "/")
    if mount.from_ is not None:
        return Origin(mount, work.origin(build, number, mount.from_, node)(path))
    return Origin(mount, work.context.source(path)) if mount.type == "bind" else Origin(mount)


def _escaped(path):
    """``path`` as a pattern that means only itself."""
    return "".join(f"\\{char}" if char in "*?[\\" else char for char in path)


def _mount_key(work, origin):
    """What of a mount a step's result depends on: of a bind mount its content."""
    mount, source = origin.mount, origin.source
    options = [list(pair) for pair in sorted(mount.options.items())]
    if mount.type == "bind":
        return [mount.type, options, work.content(plan.CopyStep([source], "/"))]
    if isinstance(source, sources.Layers):
        return [mount.type, options, source.diff_ids]
    return [mount.type, options]


# --- for the step --------------------------------------------------------------------------


def _proxies(work):
    """The proxy variables of the caller, and those given as build arguments."""
    environ = work.engine.config.environ
    found = {}
    if work.options.http_proxy:
        found = {name: environ[name] for name in PROXIES if environ.get(name)}
    return {**found, **work.arguments.proxies()}


def _mounts(work, origins, script, stack, node):
    """The mounts of a step (build.steps.run); what they need until its end goes to ``stack``."""
    found = []
    agents = 0
    for one in origins:
        mount = one.mount
        if mount.type == "bind":
            found.append(steps.Bind(mount.target, mount.source or "/", _root(one), mount.readonly))
        elif mount.type == "cache":
            found.append(steps.Cache(
                mount.target, mount.id, mount.sharing, _root(one), mount.source or "/",
                mount.mode, mount.uid, mount.gid, mount.readonly,
            ))  # fmt: skip
        elif mount.type == "tmpfs":
            found.append(steps.Tmpfs(mount.target, mount.size))
        elif mount.type == "secret":
            secret = work.secrets.secret(mount, node)
            found += [secret] if secret else []
        else:
            agent = work.secrets.agent(mount, node, agents)
            found += [agent] if agent else []
            agents += 1
    if script is not None:
        found.append(_script(work, script, stack))
    return found


def _root(origin):
    """The build.steps.run.Tree or Layers that a mount's path is in; None for none."""
    source = origin.source
    if source is None:
        return None
    if isinstance(source, sources.Layers):
        return steps.Layers(source.diff_ids)
    ignored = None
    if source.ignore is not None:
        ignored = Directory(source.root, source.ignore).hidden
    return steps.Tree(os.readlink(f"/proc/self/fd/{source.root}"), ignored)


def _script(work, script, stack):
    """The mount of a heredoc that is a program of its own."""
    name, data = script
    place = stack.enter_context(work.store.tmp.make("script"))
    os.mkdir("pipes", 0o755, dir_fd=place.descriptor)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(f"pipes/{name}", flags, 0o700, dir_fd=place.descriptor)
    try:
        os.fchmod(descriptor, 0o755)
        files.write_all(descriptor, data)
    finally:
        os.close(descriptor)
    return steps.Bind(_PIPES, "/", steps.Tree(f"{place.path}/pipes"))
