"""Whether the files an image was made from are still the same: on the path of ``rl run``."""

import os


def stamp(path):
    """What tells whether ``path`` itself has changed: a list for JSON; [] if it is gone.

    Directories count by existing only: their times change with everything in them.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return []
    if status.st_mode & 0o170000 == 0o040000:
        return ["d"]
    return [status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino]


def unchanged(inputs):
    """Whether every path of ``inputs`` (path → stamp) has the stamp noted for it."""
    return all(stamp(path) == noted for path, noted in inputs.items())
