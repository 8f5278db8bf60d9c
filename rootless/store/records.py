"""One JSON file per object: versioned, replaced whole, read by tolerant readers."""

import errno

from rootless.errors import RlError
from rootless.kernel import files
from rootless.model import jsontext

LIMIT = 16 << 20
VERSION = 1
# Not an ordinary file, too large, a link: what files.read_limited says of its kind.
_ODD_FILE = (errno.EINVAL, errno.EFBIG, errno.ELOOP, errno.EISDIR, errno.ENXIO)


class DamagedRecord(RlError):
    """{path} is damaged: {problem}"""

    hint = "rl system check --repair puts it right or takes it out"


class NewerRecord(RlError):
    """{path} was written by a newer rl (version {found})"""

    hint = "use that rl, or another store: rl --root DIR"


def read(directory, name, path=None, limit=LIMIT):
    """The dict in file ``name`` of the directory descriptor.

    ``path`` is how errors call the file.  Unknown fields are kept as they are.
    FileNotFoundError, DamagedRecord or NewerRecord; another OSError says nothing about
    the record: it couldn't be read just now.
    """
    shown = path or name
    try:
        value = jsontext.loads(files.read_limited(directory, name, limit))
    except OSError as error:
        if error.errno not in _ODD_FILE:
            raise
        raise DamagedRecord(path=shown, problem=error.strerror) from None
    except ValueError as error:
        raise DamagedRecord(path=shown, problem=str(error)) from None
    if not isinstance(value, dict):
        raise DamagedRecord(path=shown, problem="not a JSON object")
    version = value.get("version", VERSION)
    if not isinstance(version, int):
        raise DamagedRecord(path=shown, problem="its version is not a number")
    if version > VERSION:
        raise NewerRecord(path=shown, found=version)
    return value


def write(directory, name, value, sync=True):
    """Replace file ``name`` of the directory descriptor by ``value`` (dict), durably."""
    text = jsontext.dumps({"version": VERSION, **value})
    files.write_atomic(directory, name, text.encode() + b"\n", sync=sync)
