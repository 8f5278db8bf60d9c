"""The content key of a step: what would be copied, whatever the times say.

Names, types, permission bits, link targets, contents and attributes count; owners do where
they are copied.  The same files in another place, or touched, or checked out anew, have the
same key.
"""

import os

from rootless.build.copy import view
from rootless.build.copy.errors import SourceChanged
from rootless.build.copy.writing import attributes, digest_of, sha256, whole
from rootless.kernel import files

_PIECE = 1 << 20
_VERSION = b"rl copy 1\n"


def hash_files(selections, opener):
    """Give every file and directory of the Selections the digest that it hasn't yet."""
    for selection in selections:
        opened, known = selection.view, selection.source.known
        for item in selection.items:
            place = item.place
            if item.digest is not None:
                continue
            if place.kind == view.IFREG:
                item.digest = known.get(place.status) if known is not None else None
                if item.digest is None:
                    item.digest = _file(opened, place, opener)
                    if known is not None:
                        known.put(place.status, item.digest)
            elif place.kind == view.IFDIR:
                item.digest = _directory(opened, place)


def _directory(opened, place):
    descriptor = files.open_beneath(place.descriptor, place.path)
    try:
        return attributes(opened.xattrs(place, descriptor))
    finally:
        os.close(descriptor)


def _file(opened, place, opener):
    descriptor, status = opener.regular(opened, place)
    try:
        xattrs = attributes(opened.xattrs(place, descriptor))
        if status.st_size <= _PIECE:
            data = whole(descriptor, status.st_size)
            if data is None:
                raise SourceChanged(os.fsdecode(place.path), opened.what)
            return digest_of(data) + xattrs
        hasher, left = sha256(), status.st_size
        while left:
            piece = os.read(descriptor, min(left, _PIECE))
            if not piece:
                raise SourceChanged(os.fsdecode(place.path), opened.what)
            hasher.update(piece)
            left -= len(piece)
        return hasher.digest() + xattrs
    finally:
        os.close(descriptor)


def key(parts, owned):
    """The hex digits for a step's parts: Selections, and bytes for what has no tree.

    ``owned``: the step keeps owners.
    """
    hasher = sha256()
    hasher.update(_VERSION)
    for part in parts:
        if isinstance(part, bytes):
            hasher.update(b"B%d:%b\n" % (len(part), part))
            continue
        hasher.update(b"S%d:%b\n" % (len(part.base), part.base))
        lines = [_line(part.view, name, place, b"", owned) for name, place in part.above]
        items = part.items
        if part.is_directory and not part.remade:
            items = items[1:]  # its contents are copied, it is not
            lines.append(b"contents\n")
        lines += [_line(part.view, item.name, item.place, item.digest, owned) for item in items]
        lines += [b"v%b\0%b\n" % (name, repr(facts[:6]).encode())
                  for name, facts in part.devices.items()]  # fmt: skip
        hasher.update(b"".join(lines))
    return hasher.hexdigest()


def _line(opened, name, place, digest, owned):
    head = b"%o %b\0" % (place.status.st_mode, name)
    if owned and opened.owned:
        head += b"%d:%d " % opened.owner(place)
    if place.kind == view.IFLNK:
        return head + opened.readlink(place) + b"\n"
    return head + (digest or b"") + b"\n"
