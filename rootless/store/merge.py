"""Several layers as one archive: what stacking them gives, with what they hide below them."""

from rootless.store import export, merged, names

_IFMT, _IFDIR = 0o170000, 0o040000


def export_stacked(store, layer_paths, write, bottom):
    """Write the layers (paths of their trees, bottom first) as the archive of one; counts.

    ``write`` takes the plain tar in pieces.  ``bottom``: there is nothing below them, so
    nothing needs to be hidden.  The same layers give the same bytes.
    """
    return export.stream(store, write, _write, (list(layer_paths), bottom))


def start_stacked(store, layer_paths, bottom):
    """As ``export_stacked``, but the archive is to be read from a descriptor: (Child, it)."""
    return export.start(store, _write, (list(layer_paths), bottom))


def _write(writer, layer_paths, bottom):
    stacked = merged.stack(layer_paths)
    try:
        return _Stack(writer, stacked, not bottom).write()
    finally:
        stacked.close()


class _Stack:
    def __init__(self, writer, stacked, hiding):
        self.writer = writer
        self.stacked = stacked
        self.hiding = hiding
        self.marks = export.Members(writer, -1)
        self.members = {}
        for level in stacked.levels:
            recorded = {names.raw(text): owner for text, owner in level.owners.items()}
            members = export.Members(writer, level.descriptor, None, recorded)
            members.links = self.marks.links  # a second name of a file may be in another layer
            self.members[id(level)] = members

    def write(self):
        waiting = [(b"", self.stacked.levels, False)]
        while waiting:
            path, levels, covered = waiting.pop()
            entries, hidden, opaque, replaced = self._list(path, levels)
            opaque = opaque or covered
            if self.hiding and opaque:
                self.marks.whiteout(merged.join(path, names.OPAQUE[len(names.WHITEOUT) :]))
            if self.hiding and not opaque:
                for name in sorted(hidden - entries.keys()):
                    self.marks.whiteout(merged.join(path, name))
            below = []
            for name, (status, stack) in sorted(entries.items()):
                self.members[id(stack[0])].add(merged.join(path, name))
                if status.st_mode & _IFMT == _IFDIR:
                    below.append((merged.join(path, name), stack, name in replaced and not opaque))
            waiting.extend(reversed(below))
        for path, facts in sorted(export.devices_of(self.stacked).items()):
            self.marks.device(path, facts)
        found = self.marks.finish()
        for members in self.members.values():
            found["entries"] += members.entries
            found["bytes"] += members.bytes
        return found

    def _list(self, path, levels):
        """(entries as of merged.Merged.list, names hidden, whether all below is hidden, names
        of directories that hide what is below the layers)."""
        entries, closed, hidden, replaced = {}, set(), set(), set()
        for level in levels:
            listed = level.list(path)
            if listed is None:
                continue
            found, gone, opaque = listed
            for name, status in found.items():
                is_directory = status.st_mode & _IFMT == _IFDIR
                if name in closed:
                    continue
                if name not in entries:
                    entries[name] = (status, [level])
                elif is_directory:
                    entries[name][1].append(level)
                else:
                    replaced.add(name)  # a directory in the place of what this layer had
                if not is_directory:
                    closed.add(name)
            # Removed in this layer, made again as a directory by one above it.
            replaced |= {name for name in gone if name in entries and name not in closed}
            closed |= gone
            hidden |= gone
            if opaque:
                return entries, hidden, True, replaced
        return entries, hidden, False, replaced
