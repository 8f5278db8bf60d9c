"""What a RUN step is: plain data, with every name resolved.  Pure."""

from rootless.errors import RlError


class StepFailed(RlError):
    """{command} ended with {how}"""

    def __init__(self, command, code):
        how = f"exit code {code}" if code <= 128 else f"signal {code - 128}"
        super().__init__(command=command, how=how, code=code)

    @property
    def exit_code(self):
        """That of the program, as buildah and podman have it."""
        return self.fields["code"]


class OutOfMemory(StepFailed):
    """{command} ended with {how}: the kernel has ended processes of it, for lack of memory"""

    hint = "rl build --memory SIZE sets how much a step may use"


class RunStep:
    """One RUN.

    layers    diff ids of the layers below, bottom first
    argv      the program and its arguments, list of str
    env       list of "NAME=VALUE": all of the image's and the build's
    cwd       working directory in the image (str, absolute)
    user      USER[:GROUP] as the image's configuration has it, "" for root
    stdin     what the program reads (bytes), None for nothing
    mounts    list of Bind, Cache, Tmpfs, Secret, Agent, in the order written
    network   "default", "none" or "host"
    security  "sandbox" or "insecure"
    settings  Settings of the whole build
    limits    (OCI resources, parent) as engine.cgroups.plan has them; None: no cgroup of its own
    newest    latest time (seconds) that files may have, or None
    stamp     the time (seconds) that all files get, or None
    """

    def __init__(self, layers, argv, env=(), cwd="/", user="", **more):
        self.layers = list(layers)
        self.argv = list(argv)
        self.env = list(env)
        self.cwd = cwd
        self.user = user
        self.stdin = None
        self.mounts = []
        self.network = "default"
        self.security = "sandbox"
        self.settings = Settings()
        self.limits = None
        self.newest = self.stamp = None
        for name, value in more.items():
            if not hasattr(self, name):
                raise TypeError(f"a RUN step has no {name}")
            setattr(self, name, value)

    @property
    def shown(self):
        """The command as one writes it in a message (str)."""
        words = self.argv
        if len(words) == 3 and words[1] in ("-c", "-ec", "-xc"):
            return words[2].strip()[:200]
        return " ".join(words)[:200]


class Settings:
    """What holds for all steps of a build: texts as ``rl run`` takes them, lists of str."""

    LISTS = ("add_host", "cap_add", "cap_drop", "device", "dns", "dns_option", "dns_search",
             "group_add", "security_opt", "ulimit", "volume")  # fmt: skip
    # "network" is what "default" stands for; "environ" are the caller's variables that a step
    # gets (the proxies), which are no part of the image.
    VALUES = ("network", "shm_size", "ipc", "pid", "uts", "userns", "cgroupns", "no_hosts",
              "no_hostname")  # fmt: skip

    def __init__(self, **given):
        for name in self.LISTS:
            setattr(self, name, tuple(given.pop(name, None) or ()))
        for name in self.VALUES:
            setattr(self, name, given.pop(name, None))
        self.environ = dict(given.pop("environ", None) or {})
        if given:
            raise TypeError(f"a build has no setting {', '.join(given)}")

    @classmethod
    def of(cls, options, environ=None):
        """Those of engine.build.options.Options, or anything with attributes of these names."""
        names = (*cls.LISTS, *cls.VALUES)
        return cls(environ=environ, **{name: getattr(options, name, None) for name in names})


class Tree:
    """A directory of this machine that ``source`` of a mount is in (the context).

    ``ignored(path, is_directory)`` (bytes, bool) says what isn't there for the step; None
    where all of it is.
    """

    def __init__(self, path, ignored=None):
        self.path = path
        self.ignored = ignored


class Layers:
    """The root of a stage or image that ``source`` of a mount is in: diff ids, bottom first."""

    def __init__(self, diff_ids):
        self.diff_ids = list(diff_ids)


class Bind:
    """``type=bind``: ``source`` (path inside ``origin``, a Tree or Layers) seen at ``target``.

    What is written to it with ``readonly`` off is thrown away after the step.
    """

    def __init__(self, target, source="/", origin=None, readonly=True):
        self.target = target
        self.source = source
        self.origin = origin
        self.readonly = readonly


class Cache:
    """``type=cache``: a directory that is kept between builds under the name ``id``.

    ``origin`` and ``source``: what a new one is filled from, or None; ``mode``, ``uid`` and
    ``gid`` are those of a new one.
    """

    def __init__(self, target, id=None, sharing="shared", origin=None, source="/", mode=None,
                 uid=None, gid=None, readonly=False):  # fmt: skip
        self.target = target
        self.id = target if id is None else id
        self.sharing = sharing
        self.origin = origin
        self.source = source
        self.mode = 0o755 if mode is None else mode
        self.uid = uid or 0
        self.gid = gid or 0
        self.readonly = readonly


class Tmpfs:
    """``type=tmpfs``: an empty directory in memory; ``size`` in bytes, None for no limit."""

    def __init__(self, target, size=None):
        self.target = target
        self.size = size


class Secret:
    """``type=secret``: ``data`` (bytes) as a file at ``target``, as the variable ``env``, or
    both; None leaves one out."""

    def __init__(self, data, target=None, env=None, mode=None, uid=None, gid=None):
        self.data = data
        self.target = target
        self.env = env
        self.mode = 0o400 if mode is None else mode
        self.uid = uid or 0
        self.gid = gid or 0


class Agent:
    """``type=ssh``: the agent's ``socket`` of this machine (path), seen at ``target``.

    SSH_AUTH_SOCK names the first of a step.
    """

    def __init__(self, socket, target, mode=None, uid=None, gid=None):
        self.socket = socket
        self.target = target
        self.mode = 0o600 if mode is None else mode
        self.uid = uid or 0
        self.gid = gid or 0
