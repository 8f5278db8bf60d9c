"""ADD's remote sources: fetched before the step, so that the copy only sees local files."""

import os

from rootless.build.context import places
from rootless.build.context.errors import BadChecksum
from rootless.build.copy.sources import Tree


def is_remote(text):
    """Whether a source of ADD (expanded) is a URL or a git repository."""
    return places.kind_of(text) in (places.URL, places.GIT) and not text.startswith("file:")


class Fetched:
    """The sources of one ADD that came from elsewhere; ``close`` lets go of them."""

    def __init__(self, outside):
        self.outside = outside
        self._open = []

    def source(self, text, checksum=None, keep_git_dir=None):
        """The source for a remote word: Download of a URL, Tree of a git repository.

        ``checksum``: --checksum, sha256:HEX for URLs, a commit for git.
        """
        if places.kind_of(text) == places.GIT:
            from rootless.build.context import git

            where = places.parse_git(text)
            if keep_git_dir is not None:
                where.keep_git_dir = keep_git_dir
            if checksum is not None and where.checksum not in (None, checksum):
                raise BadChecksum(checksum)
            checkout = git.Checkout(self.outside, where, checksum=checksum)
            self._open.append(checkout.close)
            found = Tree(checkout.descriptor, "/", None, where.shown)
            found.archives = False
            return found
        from rootless.build.context import fetch

        found = fetch.download(self.outside, text, checksum)
        self._open.append(lambda: os.close(found.descriptor))
        return found

    def close(self):
        """Remove what was fetched."""
        while self._open:
            self._open.pop()()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
