"""A step's content key, and its layer.

The key is all that a step needs which is in the cache; the rest is imported for the layer.
"""

import os
import time

from rootless.build.copy import content, layout, owners, select, view
from rootless.build.copy.errors import ContentChanged, Unreadable
from rootless.build.copy.plan import Times
from rootless.build.copy.sources import Download, Inline, Layers
from rootless.build.copy.writing import Opener, Writer
from rootless.build.language import ignore
from rootless.kernel import userns

_SECOND = 1_000_000_000


def digest(store, step):
    """The content key of a step (hex digits); equal keys mean equal files.  CopyError."""
    step.content = None
    if not any(isinstance(source, Layers) for source in step.sources):
        try:
            step.content = _digest(step)
        except Unreadable:
            pass  # files of mapped users: root of the namespace may read them
    if step.content is None:
        step.content = userns.call_in(store.ids, _digest, step)
    return step.content


def _digest(step):
    parts = _parts(step)
    opener = Opener()
    try:
        selections = [part for part in parts if isinstance(part, select.Selection)]
        content.hash_files(selections, opener)
        return content.key(_plain(parts), step.owner is None)  # reads links of layers
    finally:
        opener.close()
        _close(parts)


def apply(store, step, times=None):
    """Make the layer of a step and publish it; what store.adopt says of one, and "content",
    the content key of what was really copied.

    Raises CopyError, runtime.users' errors, NoSpace.  What isn't what ``digest`` saw before
    is ContentChanged: under its key nothing else may be found later.
    """
    from rootless.build.copy import archives  # noqa: F401  (once, and not in each child)
    from rootless.store.compose import Compose

    times = times or Times()
    with Compose(store, lambda scratch: _Plan(step, times, scratch), times.newest,
                 times.stamp) as made:  # fmt: skip
        facts = made.finish()
    if step.content not in (None, facts["content"]):
        what = {getattr(source, "what", "") for source in step.sources} - {""}
        raise ContentChanged(" or ".join(sorted(what)))
    return facts


# --- in the child --------------------------------------------------------------------------


def _parts(step):
    """The step's sources as Selections, Inline and Download objects, in order."""
    exclude = ignore.from_list(step.exclude) if step.exclude else None
    found, opened = [], {}
    for source in step.sources:
        if isinstance(source, (Inline, Download)):
            found.append(source)
            continue
        key = (tuple(source.paths) if isinstance(source, Layers) else source.root,
               id(getattr(source, "ignore", None)))  # fmt: skip
        if key not in opened:
            opened[key] = source.open()
        selections = select.from_tree(opened[key], source.pattern, exclude, step.parents)
        for selection in selections:
            selection.source = source
        found += selections
    return found


def _close(parts):
    for opened in {id(part.view): part.view for part in parts
                   if isinstance(part, select.Selection)}.values():  # fmt: skip
        opened.close()


def _plain(parts):
    for part in parts:
        if isinstance(part, Inline):
            yield b"inline " + os.fsencode(part.name) + b"\0" + part.data
        elif isinstance(part, Download):
            yield b"download " + os.fsencode(part.name) + b"\0" + part.digest()
        else:
            yield part


class _Plan:
    """What store.compose calls: the entries, then their way into the layer."""

    def __init__(self, step, times, scratch):
        self.step = step
        self.parts = _parts(step)
        base = view.Stack(step.base_layers)
        owner = owners.resolve(step.owner, base) if step.owner is not None else None
        created = times.created
        if created is None:
            created = time.time() if times.newest is None else times.newest
        mode = None
        if step.mode is not None:
            from rootless.build.copy import modes

            mode = modes.parse(step.mode)
        self.layout = layout.Layout(
            None if step.link else base, owner, mode, int(created) * _SECOND
        )
        self._place(scratch)

    def _place(self, scratch):
        from rootless.build.copy import archives

        step, dest = self.step, os.fsencode(self.step.path)
        extracted = archives.find(step, self.parts)
        layout.one_file(
            [part for part in self.parts if id(part) not in extracted], dest, step.into, self.layout
        )
        if step.into:
            self.layout.directory(self.layout.follow(dest))
        for part in self.parts:
            if id(part) in extracted:
                archive = archives.extract(part, scratch)
                self.layout.archive(archive.selection, archive.implied, dest)
            elif isinstance(part, Inline):
                self.layout.data(dest, step.into, os.fsencode(part.name), 0o644, None, part.data)
            elif isinstance(part, Download):
                mtime = None if part.mtime is None else part.mtime * _SECOND
                self.layout.data(dest, step.into, os.fsencode(part.name), 0o600, mtime, part)
            else:
                self.layout.selection(part, dest, step.into)
        self.selections = [part for part in self.parts if isinstance(part, select.Selection)]

    def write(self, composer):
        Writer(composer).write(self.layout.entries)
        # What a later source has replaced was not read: it belongs to the key all the same.
        content.hash_files(self.selections, Opener())

    def facts(self):
        return {"content": content.key(_plain(self.parts), self.step.owner is None)}

