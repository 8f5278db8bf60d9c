"""From a RUN step to the specification of the container that does it.

It is the one that ``rl run`` would get with the same options: security defaults, masked
paths, capabilities and filters are those of engine/spec.
"""

import os
import posixpath

from rootless.engine.spec.host import gather
from rootless.engine.spec.spec import make_spec
from rootless.errors import RlError
from rootless.model.request import Request

_FILES = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/run/.containerenv")
# They are about files that step_network makes; a step without a network has these, too.
_OF_FILES = ("add_host", "dns", "dns_option", "dns_search")


class NotForSteps(RlError):
    """{option} {value}: {why}"""

    hint = "leave it out"


class NoNamedVolumes(RlError):
    """--volume {0}: a build mounts directories of this machine only"""

    hint = "give an absolute path, or use RUN --mount=type=cache"


def host_facts(engine):
    """What is gathered once for all steps of a build: spec.host.HostFacts."""
    return gather(engine.ids, {})


def make(step, host, files, network):
    """(spec, the container's id) of a step.

    ``host``: HostFacts; ``files``: {destination: path of this machine} of /etc/hosts and the
    like; ``network``: the mode, a list of str as ``rl run --network`` takes it.
    """
    host.container = os.urandom(32).hex()
    host.files = {path: files[path] for path in files if _wanted(step.settings, path)}
    options = _options(step, network)
    environ = [f"{name}={value}" for name, value in step.settings.environ.items()]
    image = {"Env": [*environ, *step.env]}
    spec = make_spec(Request("run", options, ("image", *step.argv)), image, host)
    for entry in spec["mounts"]:
        if entry["type"] == "volume":
            raise NoNamedVolumes(f"{entry['source']}:{entry['destination']}")
    return spec, host.container


def paths(step):
    """The files that the container of a step gets from rl."""
    return [path for path in _FILES if _wanted(step.settings, path)]


def _wanted(settings, path):
    if path == "/etc/hosts":
        return not settings.no_hosts
    if path == "/etc/hostname":
        return not settings.no_hostname
    return path != "/etc/resolv.conf" or settings.dns != ("none",)


def _options(step, network):
    settings = step.settings
    if settings.pid not in (None, "", "private", "container"):
        raise NotForSteps(option="--pid", value=settings.pid,
                          why="processes of a step could then outlive it")  # fmt: skip
    if settings.userns not in (None, "", "host", "private", "container"):
        raise NotForSteps(option="--userns", value=settings.userns,
                          why="all steps of a build share one user namespace")  # fmt: skip
    options = {name: getattr(settings, name) for name in settings.LISTS if name not in _OF_FILES}
    options.update(
        user=step.user or None,
        workdir=posixpath.normpath(posixpath.join("/", step.cwd or "/")),
        network=tuple(network),
        ipc=_space(settings.ipc),
        uts=_space(settings.uts),
        cgroupns=settings.cgroupns or None,
        shm_size=settings.shm_size,
        no_hosts=bool(settings.no_hosts),
        privileged=step.security == "insecure",
        passwd=False,
        http_proxy=False,
        systemd="false",
    )
    return options


def _space(text):
    return None if text in (None, "", "private", "container") else text
