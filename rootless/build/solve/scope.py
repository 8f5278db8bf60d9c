"""Which value a name has: ARG and ENV (the Dockerfile reference, "ARG" and "Scope").

ENV is stronger than ARG; ``--build-arg`` is stronger than a default; an ARG before the
first FROM is seen by FROM lines, and by a stage that says ``ARG NAME`` without a value.
"""

from rootless.build.language import expand

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy",
           "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy")  # fmt: skip
# Names with a meaning to other builders' frontends: passing them is no mistake.
_SILENT = ("SOURCE_DATE_EPOCH", "BUILDKIT_")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def platform_args(build, target, stage):
    """The ARGs that every build has: ``build``, ``target``: oci.Platform; ``stage``: the
    name or number (str) that --target gave, "" for none."""
    found = {"TARGETSTAGE": stage or "default"}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        found[f"{prefix}PLATFORM"] = str(platform)
        found[f"{prefix}OS"] = platform.os
        found[f"{prefix}ARCH"] = platform.architecture
        found[f"{prefix}VARIANT"] = platform.variant
    return found


class Arguments:
    """What the caller gave, and the ARGs before the first FROM.

    ``given``: --build-arg, {name: value}; ``automatic``: of ``platform_args``.
    """

    def __init__(self, given, automatic, meta_args=()):
        self.given = dict(given)
        self.automatic = dict(automatic)
        self.declared = set()
        self.early = {}
        for arg in meta_args:
            for name, default in arg.pairs:
                self.declared.add(name)
                value = self.given.get(name)
                if value is None and default is not None:
                    value = expand.expand(default, self.early_value, node=arg.node)
                if value is None:
                    value = self.automatic.get(name)
                self.early[name] = value

    def early_value(self, name):
        """What ``name`` is worth in a FROM line; None if nobody has set it."""
        found = self.early.get(name)
        return self.automatic.get(name) if found is None else found

    def value(self, name, default):
        """What ``ARG name`` or ``ARG name=default`` in a stage is worth, or None.

        ``default`` is expanded already.
        """
        self.declared.add(name)
        if name in self.given:
            return self.given[name]
        if default is not None:
            return default
        return self.early_value(name)

    def proxies(self):
        """Given ARGs that every RUN sees without their being declared: {name: value}."""
        return {name: self.given[name] for name in PROXIES if name in self.given}

    def unused(self):
        """The names (sorted) that were given and that no ARG took."""
        silent = {*PROXIES, *self.automatic, *self.declared}
        return sorted(n for n in self.given if n not in silent and not n.startswith(_SILENT))


class Values:
    """The names a stage knows at one of its instructions.

    ``env``: {name: value} of ENV, base image included; ``args``: of ARG, None where it is
    declared and has no value.
    """

    def __init__(self, arguments, env=None):
        self.arguments = arguments
        self.env = dict(env or {})
        self.args = {}

    def look_up(self, name):
        """For ``language.expand``: a str, or None if it isn't set."""
        found = self.env.get(name)
        return self.args.get(name) if found is None else found

    def expand(self, text, node):
        """``text`` with its variables replaced and its quotes removed. BuildError."""
        return expand.expand(text, self.look_up, node=node)

    def words(self, text, node):
        """As ``expand``, but a list: an unquoted value with spaces is several words."""
        return expand.words(text, self.look_up, node=node)

    def take_arg(self, instruction):
        """Carry out an ARG instruction: the (name, value or None) pairs it made."""
        done = []
        for name, default in instruction.pairs:
            if default is not None:
                default = self.expand(default, instruction.node)
            self.args[name] = self.arguments.value(name, default)
            done.append((name, self.args[name]))
        return done

    def take_env(self, instruction):
        """Carry out an ENV instruction: the (name, value) pairs.

        All see the values from before it (the Dockerfile reference, "Environment
        replacement").
        """
        done = [(self.expand(name, instruction.node), self.expand(value, instruction.node))
                for name, value in instruction.pairs]  # fmt: skip
        self.env.update(done)
        return done

    def build_args(self):
        """The ARGs that a RUN gets: {name: value}, sorted; what ENV sets is not among them."""
        return {name: value for name, value in sorted(self.args.items())
                if value is not None and name not in self.env}  # fmt: skip


def env_pairs(entries):
    """{name: value} of a configuration's Env."""
    return dict(entry.partition("=")[::2] for entry in entries or ())
