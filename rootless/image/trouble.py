"""Trouble that any way of getting an image may run into."""

import errno

from rootless.store.unpack import NoSpace


class Interrupted(OSError):
    """A source broke off while it was read: worth another try."""


class full_disk:  # noqa: N801 (a context manager, read as a phrase: with full_disk():)
    """A context in which ENOSPC and EDQUOT become NoSpace."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace() from None
