"""--log-driver and --log-opt: checked, and as the monitor takes them."""

import os

from rootless.engine.spec.values import fail, size
from rootless.errors import RlError

JOURNAL = "/run/systemd/journal/socket"
_LEAST = 4096


class NoJournal(RlError):
    """--log-driver journald: there is no journal on this machine"""

    hint = "leave it out: rl keeps the log in a file that rl logs reads"


def _log_path(text, path):
    if os.path.isdir(path):
        fail("--log-opt", text, "it is a directory", "name a file in it")
    if not os.access(path if os.path.exists(path) else os.path.dirname(path), os.W_OK):
        fail("--log-opt", text, "it cannot be written to", "name a file in a directory of yours")
    return path


def log_settings(engine, options):
    """A dict for the record: driver, and path, max_size (bytes), tag where they are set."""
    driver = options.get("log_driver") or engine.config.log_driver
    found = {"driver": driver}
    default = engine.config.log_size_max
    if default and driver in ("k8s-file", "json-file"):
        found["max_size"] = size("log_size_max", default)
    for text in options.get("log_opt") or ():
        key, equals, value = text.partition("=")
        if key not in ("path", "max-size", "tag") or not equals or not value:
            fail("--log-opt", text, "not an option of a log", "path=FILE, max-size=10m or tag=TEXT")
        if driver not in ("k8s-file", "json-file") and key != "tag":
            fail("--log-opt", text, f"the log driver {driver} writes no file")
        if key == "max-size":
            found["max_size"] = max(size("--log-opt max-size", value), _LEAST)
        elif key == "path":
            found["path"] = _log_path(text, os.path.abspath(value))
        else:
            found["tag"] = value
    if driver == "journald" and not os.path.exists(JOURNAL):
        raise NoJournal()
    return found
