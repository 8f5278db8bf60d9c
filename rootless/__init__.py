"""rl: a rootless, daemonless container engine."""

import os

__version__ = "0.1.0"

_here = os.path.dirname(__file__)


def _beside(installed, *in_the_tree):
    """A directory of the installed package or, in a checkout, of the tree around it."""
    found = os.path.join(_here, installed)
    if os.path.isdir(found):
        return found
    # The package may be a link into the checkout: `make dev` makes one.
    return os.path.join(os.path.dirname(os.path.realpath(_here)), *in_the_tree)


def helpers_dir():
    """The directory that holds the static helper programs, as an absolute str."""
    return _beside("_helpers", "build", "helpers")


def conf_path(name):
    """The packaged configuration file of that name (``rl.toml``), as an absolute str."""
    return os.path.join(_beside("_conf", "conf"), name)
