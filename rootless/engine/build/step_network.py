"""The network of a RUN step, and the files about it: /etc/hosts, /etc/resolv.conf and more."""

import os

from rootless.build.steps.run import RunStep, Settings
from rootless.engine import connect
from rootless.engine.build import step_spec
from rootless.model import network as networks

_MODES = {"none": "none", "host": "host"}
_PRIVATE = ("default", "bridge", "sandbox")
_STEPS = (*networks.OWN_MODES, "none", "host")
_ALONE = "steps have a network of their own, that of this machine, or none"


class StepNetwork:
    """``words``: what make_spec takes; ``files``: {destination: path}; ``connect``: for Job."""

    def __init__(self, words, files, connect):
        self.words = words
        self.files = files
        self.connect = connect


def prepare(engine, step, directory):
    """The StepNetwork of a step that works in ``directory`` (path)."""
    from rootless.network import setup
    from rootless.network.plan import PROGRAMS

    settings = step.settings
    words = [_MODES.get(step.network) or _default(engine, settings)]
    parsed = networks.parse(words)
    own = parsed["mode"] in networks.OWN_MODES
    servers = () if settings.dns == ("none",) else settings.dns
    found = setup.prepare(
        parsed,
        networks.parse_dns(servers, settings.dns_search, settings.dns_option),
        programs={name: engine.program(name) for name in PROGRAMS} if own else None,
        order=lambda: connect.rungs(engine),
        added=[] if settings.no_hosts else networks.parse_hosts(settings.add_host),
    )
    texts = {
        "/etc/hosts": found["hosts"], "/etc/resolv.conf": found["resolv"],
        "/etc/hostname": "", "/run/.containerenv": "",
    }  # fmt: skip
    return StepNetwork(words, _write(step, directory, texts), _connect(found["plan"], directory))


def check(engine, options):
    """See that steps can have what the options of a build (engine.build.options.Options) ask
    for, before anything is done: what is wrong is wrong for a file without RUN as well.

    Raises NotForSteps and what making a specification raises.
    """
    settings = Settings.of(options)
    if not any(getattr(settings, name) for name in (*settings.LISTS, *settings.VALUES)):
        return
    _check_mode(settings.network)
    networks.parse_dns(() if settings.dns == ("none",) else settings.dns, settings.dns_search,
                       settings.dns_option)  # fmt: skip
    networks.parse_hosts(settings.add_host)
    step = RunStep([], ["true"], settings=settings)
    step_spec.make(step, step_spec.host_facts(engine), {}, ("none",))


def _check_mode(text):
    if text and text not in _PRIVATE:
        mode = networks.parse([text])["mode"]
        if mode not in _STEPS:
            raise step_spec.NotForSteps(option="--network", value=text, why=_ALONE)


def _default(engine, settings):
    if settings.network:
        return "private" if settings.network in _PRIVATE else settings.network
    # The network of containers that the settings name may be one that steps can't be in.
    found = engine.config.network or "private"
    return found if networks.parse([found])["mode"] in _STEPS else "private"


def _write(step, directory, texts):
    os.mkdir(f"{directory}/files", 0o700)
    found = {}
    for path in step_spec.paths(step):
        if texts[path] is None:
            continue
        name = f"{directory}/files/{path.rpartition('/')[2]}"
        made = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        os.write(made, texts[path].encode())
        os.fchmod(made, 0o644)
        os.close(made)
        found[path] = name
    return found


def _connect(plan, directory):
    """For ``Job.network``; None where nothing has to be started."""
    if plan is None or not plan["rungs"]:
        return None
    from rootless.network.start import start  # before the fork

    def begin(pid, route):
        helper = start(plan, pid=pid, run_dir=directory)["pid"]
        return [] if helper is None else [f"unawaited={helper}"]

    return begin
