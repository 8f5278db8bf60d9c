"""ADD's archives: told by their content, extracted, then copied like files of a layer."""

import os

from rootless.build.copy import select, view
from rootless.build.copy.errors import BadName
from rootless.build.copy.sources import Download
from rootless.build.copy.writing import Opener
from rootless.kernel import files
from rootless.store import codec, merged, names, tarread, unpack, unpacker

_HEAD = tarread.BLOCK


def find(step, parts):
    """The ids (id()) of those of the parts that are archives to be extracted.

    ADD extracts local archives by itself and downloads with --unpack, COPY none.
    """
    found = set()
    if not step.add or step.unpack is False:
        return found
    for part in parts:
        if isinstance(part, Download):
            if step.unpack and is_archive(part.descriptor):
                found.add(id(part))
        elif isinstance(part, select.Selection) and _plain_file(part):
            descriptor = _open(part)
            try:
                if is_archive(descriptor):
                    found.add(id(part))
            finally:
                os.close(descriptor)
    return found


def _plain_file(part):
    return part.source.archives and part.items[0].place.kind == view.IFREG


def _open(part):
    opener = Opener()
    try:
        return opener.regular(part.view, part.items[0].place)[0]
    finally:
        opener.close()


def reader(descriptor):
    """A function of a number that reads the file from its start, wherever it stands."""
    at = 0

    def read(size):
        nonlocal at
        data = os.pread(descriptor, size, at)
        at += len(data)
        return data

    return read


def is_archive(descriptor):
    """Whether a file is a tar archive, plain or in one of the compressions known.

    CodecMissing for one that can't be looked into.
    """
    name = codec.detect(os.pread(descriptor, codec.LONGEST_MAGIC, 0))
    head = b""
    try:
        for piece in codec.plain(name, reader(descriptor)):
            head += piece
            if len(head) >= _HEAD:
                break
    except codec.BadCompression:
        return False
    return len(head) >= _HEAD and tarread.is_header(head[:_HEAD])


class Archive:
    """An extracted archive: a Selection, and the directories that it has no entry for."""

    def __init__(self, selection, implied):
        self.selection = selection
        self.implied = implied


class _Unpacker(unpacker.Unpacker):
    """Remembers which directories were only made because something is in them."""

    def _remember(self, path, entry):
        super()._remember(path, entry)
        self.described.add(path)


def extract(part, scratch):
    """The Archive for a Download or a Selection of one file, unpacked below ``scratch``."""
    descriptor = part.descriptor if isinstance(part, Download) else _open(part)
    name = f"archive-{os.urandom(8).hex()}"
    os.mkdir(name, 0o700, dir_fd=scratch)
    home = os.open(name, files.DIRECTORY, dir_fd=scratch)
    found = codec.detect(os.pread(descriptor, codec.LONGEST_MAGIC, 0))
    pieces = codec.prepare(found)(reader(descriptor))
    # One id or many, owners are noted: the tree isn't a layer, and they are read again.
    facts = unpack.in_tree(home, lambda listing: _unpack(pieces, listing))
    hidden = facts["whiteouts"] or facts["opaques"]
    if hidden:
        raise BadName(f"{names.WHITEOUT.decode()}{hidden[0].rpartition('/')[2]}")
    tree = os.open(unpack.TREE, files.DIRECTORY, dir_fd=home)
    os.close(home)
    stacked = view.Stack(())
    stacked.what = "the archive"
    stacked.levels.append(merged.Level(tree, facts))
    top = stacked.root()
    items = select.below(stacked, top)
    selection = select.Selection(
        stacked, b"", items, devices=select.devices(stacked, top, items)
    )  # fmt: skip
    described = facts["described"]
    implied = {item.name for item in items if item.place.is_directory} - described
    return Archive(selection, implied)


def _unpack(pieces, listing):
    maker = _Unpacker(True, listing)
    maker.described = set()
    archive = tarread.TarReader(tarread.Stream(pieces))
    unpack.add_all(maker, archive)
    maker.finish()
    facts = {**maker.index(), "described": maker.described}
    os.close(maker.root)
    return facts
