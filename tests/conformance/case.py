"""One thing to build, and what is known about the result."""

import hashlib

# Where Debian's buildah can't be the judge; the case says what docker's documentation has.
NO_HEREDOCS = "buildah reads heredocs since 1.33"
NO_LINK = "buildah has --link since 1.37"
NO_PARENTS = "buildah has --parents and --exclude since 1.38"
NO_MODIFIERS = "buildah 1.28 knows only - + and ? in ${…}"


class Case:
    """``containerfile`` and ``files`` (see engines.write_context) to build with ``args``.

    ``without_buildah``: why that can't judge; then ``expect`` has all that matters.
    ``expect``: {what: value} of tree.facts that have to hold for rl in any case; None: not there.
    ``differs``: {what: (rl's value, why)} where buildah's is known to be another one.
    """

    def __init__(self, name, containerfile, files=None, args=(), *, expect=None, differs=None,
                 without_buildah=None, env=None):  # fmt: skip
        self.name = name
        self.containerfile = containerfile
        self.files = files or {}
        self.args = args
        self.expect = expect or {}
        self.differs = differs or {}
        self.without_buildah = without_buildah
        self.env = env

    def __repr__(self):
        return self.name


def file(content, mode="rw-r--r--", owner="0:0"):
    """What tree.describe says about such a file."""
    data = content.encode() if isinstance(content, str) else content
    digest = hashlib.sha256(data).hexdigest()[:12]
    return f"-{mode} {owner} {len(data)} bytes {digest}"


def directory(mode="rwxr-xr-x", owner="0:0"):
    """What tree.describe says about such a directory."""
    return f"d{mode} {owner}"


def link(target, owner="0:0"):
    """What tree.describe says about such a symbolic link."""
    return f"lrwxrwxrwx {owner} -> {target}"
