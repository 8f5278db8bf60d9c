"""Requests and machines to make specifications from."""

from rootless.engine.spec.host import HostFacts
from rootless.engine.spec.spec import make_spec
from rootless.model.idmap import Ids, stack
from rootless.model.request import Request

WHOLE = Ids(stack(1000, [(100000, 65536)]), stack(1000, [(200000, 65536)]), "range")
ONE = Ids(stack(1000, []), stack(1000, []), "single", direct=True)
# What the option table gives to options that were not typed.
UNTYPED = {"http_proxy": True, "passwd": True, "read_only_tmpfs": True}
ID = "0123456789abcdef" * 4


def request(*words, **options):
    """``rl run OPTIONS IMAGE WORDS``; a list may be given as one str."""
    texts = {
        "entrypoint", "workdir", "user", "umask", "hostname", "shm_size", "userns", "pid", "ipc",
        "uts", "cgroupns", "stop_signal", "tz", "image_volume", "systemd", "passwd_entry",
        "group_entry",
    }  # fmt: skip
    found = dict(UNTYPED)
    for name, value in options.items():
        found[name] = (value,) if isinstance(value, str) and name not in texts else value
    return Request("run", found, ("image", *words), frozenset(options))


def host(**facts):
    ids = facts.pop("ids", WHOLE)
    given = {"uid": 1000, "gid": 1000, "username": "ann", "home": "/home/ann", "container": ID,
             "hostname": "machine", "cwd": "/home/ann"}
    return HostFacts(ids, **{**given, **facts})


def make(*words, image=None, facts=None, others=None, **options):
    """The specification; the command is ``true`` unless words or an image say otherwise."""
    if not words and image is None:
        words = ("true",)
    return make_spec(request(*words, **options), image or {}, host(**(facts or {})), others)


def mount(spec, path):
    """The one mount on ``path``; None if there is none."""
    found = [entry for entry in spec["mounts"] if entry["destination"] == path]
    assert len(found) < 2, found
    return found[0] if found else None


def options(spec, path):
    return mount(spec, path)["options"]


def environ(spec):
    return dict(entry.split("=", 1) for entry in spec["process"]["env"])


def kinds(spec):
    return [entry["type"] for entry in spec["linux"]["namespaces"]]
