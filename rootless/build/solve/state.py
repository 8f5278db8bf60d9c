"""What a stage has become so far: configuration, layers, history, and its key in the cache."""

from rootless.build.solve.scope import PATH, env_pairs
from rootless.model import jsontext, oci

DEFAULT_SHELL = ["/bin/sh", "-c"]


class State:
    """The state of a stage after one of its instructions.

    config       the "config" of the image configuration (dict), own copy
    layers       facts of each layer, bottom first: {"diff_id", "size", "blob", "blob_size",
                 "compression"}, of a base image's layers also "descriptor"
    fresh        how many of the layers, from the top, were made by this build
    history      entries of the configuration's history, those of the base first
    key          digest (hex) of all that led here: where the next step is looked up
    created      time of the last instruction (RFC 3339), "" if there was none
    author       str
    platform     oci.Platform; ``extra``: os.version and os.features (dict)
    base         {"id", "name", "digest", "annotations"} of the image below; {} if there is none
    shell        what shell forms are run by, a list
    args         {name: value or None} of ARG, here and in the stages that this one is made of
    origin       [key, number of entries of the history] of what the image below brought
    """

    FIELDS = ("config", "layers", "fresh", "history", "key", "created", "author", "platform",
              "extra", "base", "shell", "args", "origin")  # fmt: skip
    __slots__ = FIELDS

    def __init__(self, platform, config=None, key=""):
        self.config = config if config is not None else {}
        self.layers = []
        self.fresh = 0
        self.history = []
        self.key = key
        self.created = ""
        self.author = ""
        self.platform = platform
        self.extra = {}
        self.base = {}
        self.args = {}
        self.origin = [key, 0]
        self.shell = list(self.config.get("Shell") or DEFAULT_SHELL)
        pairs = env_pairs(self.config.get("Env"))
        if "PATH" not in pairs:  # RUN needs one, and BuildKit and buildah note it
            self.set_env([("PATH", PATH)])

    def pack(self):
        """As plain data, for another process (marshal)."""
        found = {name: getattr(self, name) for name in self.FIELDS}
        found["platform"] = tuple(self.platform)
        return jsontext.dumps(found)

    @classmethod
    def unpack(cls, packed):
        """The State that ``pack`` made plain."""
        found = jsontext.loads(packed)
        state = cls.__new__(cls)
        for name in cls.FIELDS:
            setattr(state, name, found[name])
        state.platform = oci.Platform(*found["platform"])
        return state

    def copy(self):
        """An independent State, for a stage that stands on this one."""
        return State.unpack(self.pack())

    @property
    def diff_ids(self):
        """The layers as digests, bottom first."""
        return [layer["diff_id"] for layer in self.layers]

    @property
    def changed(self):
        """Whether anything was done to the image below."""
        return self.key != self.origin[0]

    @property
    def directory(self):
        """Where relative paths start: WORKDIR, or /."""
        return self.config.get("WorkingDir") or "/"

    @property
    def env(self):
        """{name: value} of ENV, in order."""
        return env_pairs(self.config.get("Env"))

    def set_env(self, pairs):
        """Set variables; one that is there keeps its place."""
        found = env_pairs(self.config.get("Env"))
        found.update(pairs)
        self.config["Env"] = [f"{name}={value}" for name, value in found.items()]

    def put(self, name, value):
        """Set a field of the configuration; an empty one goes."""
        if value in (None, "", [], {}):
            self.config.pop(name, None)
        else:
            self.config[name] = value

    def add_history(self, made_by, created, empty, comment=None):
        """Note what an instruction did: ``made_by`` is shown by `rl history`."""
        entry = {"created": created, "created_by": made_by}
        if self.author:
            entry["author"] = self.author
        if comment:
            entry["comment"] = comment
        if empty:
            entry["empty_layer"] = True
        self.history.append(entry)
        self.created = created

    def add_layer(self, facts):
        """Put a layer on top: ``facts`` as the store gives them."""
        self.layers.append({key: facts[key] for key in
                            ("diff_id", "size", "blob", "blob_size", "compression")})  # fmt: skip
        self.fresh += 1
