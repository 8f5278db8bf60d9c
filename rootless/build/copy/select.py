"""What a step copies: the files its sources name, without what is excluded.

A source gives Selections, one for each path that its pattern matches; a Selection has Items
in the order of their names, directories before what is in them.
"""

import os

from rootless.build.copy import match, view
from rootless.build.copy.errors import BadName, NoSuchKind, NotFound
from rootless.store import merged, names

_SKIPPED = (view.IFSOCK,)
_REFUSED = {
    view.IFSOCK: "a socket",
    view.IFCHR: "a device",
    view.IFBLK: "a device",
}


class Item:
    """One file: ``name`` below the selection's top (b"" is the top itself), ``place``.

    ``digest``: of its content and attributes, bytes, once it is known.  ``optional``: a
    directory that counts only for what is in it.
    """

    __slots__ = ("name", "place", "digest", "optional")

    def __init__(self, name, place, optional=False):
        self.name = name
        self.place = place
        self.digest = None
        self.optional = optional


class Selection:
    """The files of one path: ``base`` is its last part as written, ``view`` where they are.

    ``above``: the directories between pivot and path that --parents brings along, as
    (path, Place), ``remade`` says that it is used; ``devices``: {name: facts} of nodes that
    only an index has.
    """

    def __init__(self, view, base, items, above=(), devices=None):
        self.view = view
        self.base = base
        self.items = items
        self.above = above
        self.devices = devices or {}

        self.remade = False

    @property
    def is_directory(self):
        return self.items[0].place.is_directory


def clean(text):
    """The parts of a path below the top; ``..`` doesn't leave it (path.Clean in Go)."""
    parts = []
    for part in text.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return parts


def from_tree(opened, pattern, exclude, parents):
    """The Selections of a view for one pattern (str).

    ``exclude``: Patterns or None.  NotFound if a path without wildcards isn't there; wildcards
    may match nothing, as BuildKit has it.
    """
    if parents:
        return _with_parents(opened, pattern, exclude)
    found = []
    for path in _matches(opened, clean(pattern)):
        place = view.resolve(opened, path)
        if place is None:
            raise _dangling(opened, path)
        base = path.rpartition(b"/")[2]
        if selection := _selection(opened, base, place, exclude, base, ""):
            found.append(selection)
    return found


def _dangling(opened, path):
    """The error for a link that leads to nothing in its tree, whatever is outside of it."""
    place = view.resolve(opened, path, follow=False)
    target = os.fsdecode(view.readlink(place)).replace("{", "{{").replace("}", "}}")
    hint = f"it is a symbolic link to {target!r}; links are followed inside {opened.what} only"
    return NotFound(os.fsdecode(path), opened.what, hint=hint)


def _with_parents(opened, pattern, exclude):
    """--parents: what is before /./ stays behind, what follows is made anew below."""
    before, pivot, rest = pattern.partition("/./")
    if not pivot:
        before, rest = "", pattern
    found, needed = [], not match.has_wildcards(pattern)
    for top in _matches(opened, clean(before), needed):
        place = view.resolve(opened, top)
        if place is None or not place.is_directory:
            if needed:
                raise NotFound(os.fsdecode(top), opened.what)
            continue
        inside = _Below(opened, place)
        for path in _matches(inside, clean(rest), needed):
            steps = view.walk(inside, path, follow=False)
            above, here = [], b""
            for step in steps[1:-1]:
                here = merged.join(here, step.path.rpartition(b"/")[2])
                above.append((here, step))
            before = os.fsdecode(path) + "/" if path else ""
            selection = _selection(opened, path, steps[-1], exclude, path, before)
            if selection:
                selection.above, selection.remade = above, True
                found.append(selection)
    return found


class _Below:
    """A view whose root is a directory of another."""

    def __init__(self, opened, top):
        self.opened = opened
        self.top = top
        self.what = opened.what

    def root(self):
        return self.top

    def child(self, place, name):
        return self.opened.child(place, name)

    def children(self, place):
        return self.opened.children(place)

    def readlink(self, place):
        return self.opened.readlink(place)


def _matches(opened, parts, needed=True):
    """The paths (bytes) that the parts of a pattern match, sorted; links aren't followed.

    NotFound for a path without wildcards that isn't there, if it is ``needed``.
    """
    fixed = 0
    while fixed < len(parts) and not match.has_wildcards(parts[fixed]):
        fixed += 1
    path = os.fsencode("/".join(parts[:fixed]))
    if fixed == len(parts):
        if "\\" in "/".join(parts) and view.resolve(opened, path) is None:
            path = os.fsencode(match.plain("/".join(parts)))
        if view.resolve(opened, path, follow=False) is not None:
            return [path]
        if needed:
            raise NotFound("/".join(parts), opened.what)
        return []
    place = view.resolve(opened, path)
    if place is None:
        return []
    found = {}
    tests = [None if part == "**" else match.compile_part(part) for part in parts[fixed:]]
    _descend(opened, place, path, tests, found, set())
    return sorted(found, key=lambda path: path.split(b"/"))


def _descend(opened, place, path, tests, found, seen):
    """Add to ``found`` what the tests, one for each level, let through below ``place``.

    ``seen``: what was looked into with as many tests left; several ``**`` lead to it often.
    """
    if not place.is_directory or (path, len(tests)) in seen:
        return
    seen.add((path, len(tests)))
    test, rest = tests[0], tests[1:]
    if test is None and rest:
        _descend(opened, place, path, rest, found, seen)
    for name, child in opened.children(place):
        here = merged.join(path, name)
        if test is None:
            if not rest:
                found[here] = True
            else:
                _descend(opened, child, here, tests, found, seen)
        elif test(os.fsdecode(name)):
            if rest:
                _descend(opened, child, here, rest, found, seen)
            else:
                found[here] = True


# --- what is below a path ------------------------------------------------------------------


def _selection(opened, base, place, exclude, alone, before):
    """The Selection of what is at ``place``; None if it is a file that is excluded.

    --exclude sees a file as ``alone``, and what is in a directory with ``before`` in front:
    patterns begin at the path that is copied or, with --parents, at the pivot.
    """
    if not place.is_directory:
        if place.kind in _REFUSED:
            raise NoSuchKind(os.fsdecode(place.path), opened.what, _REFUSED[place.kind])
        if exclude is not None and exclude.ignored(os.fsdecode(alone), False):
            return None
        return Selection(opened, base, [Item(b"", place)])
    items = below(opened, place, exclude, before)
    return Selection(opened, base, items, devices=devices(opened, place, items))


def below(opened, top, exclude=None, before=""):
    """The Items of the directory ``top`` and all below it, parents first; see _selection."""
    items = [Item(b"", top)]
    waiting = _reversed(opened.children(top), b"")
    optional = False
    while waiting:
        name, place = waiting.pop()
        if exclude is not None:
            text = before + os.fsdecode(name)
            optional = exclude.ignored(text, place.is_directory)
            if optional and not (place.is_directory and exclude.may_contain(text)):
                continue
        kind = place.kind
        if kind == view.IFDIR:
            items.append(Item(name, place, optional or opened.left_out(place)))
            waiting += _reversed(opened.children(place), name + b"/")
        elif kind in _REFUSED:
            if kind not in _SKIPPED:
                raise NoSuchKind(os.fsdecode(place.path), opened.what, _REFUSED[kind])
        else:
            items.append(Item(name, place))
    return _needed(items)


def _reversed(children, before):
    children.reverse()
    return [(before + name, place) for name, place in children]


def _needed(items):
    """The items without the optional directories that nothing is in."""
    if not any(item.optional for item in items):
        return items
    kept, needed = [], set()
    for item in reversed(items):
        if item.optional and item.name not in needed:
            continue
        needed.add(item.name.rpartition(b"/")[0])
        kept.append(item)
    kept.reverse()
    return kept


def devices(opened, top, items):
    """{name: facts} of the device nodes below ``top`` that only an index has."""
    found = {}
    noted = opened.devices()
    if not noted:
        return found
    before = top.path + b"/" if top.path else b""
    known = {item.name for item in items}
    for path, facts in sorted(noted.items()):
        if path.startswith(before):
            name = path[len(before) :]
            if name not in known and name.rpartition(b"/")[0] in known:
                found[name] = facts
    return found


def check_name(path):
    """BadName if a layer can't have a file of that name."""
    if path.rpartition(b"/")[2].startswith(names.WHITEOUT):
        raise BadName(os.fsdecode(path))
