"""Maps between the ids inside a user namespace and those outside it (user_namespaces(7)).

A map is a tuple of ``Range``; in ``Ids`` there is one for users and one for groups.
"""


class Range(tuple):
    """``count`` ids from ``inside`` on stand for the ids from ``outside`` on."""

    __slots__ = ()

    def __new__(cls, inside, outside, count):
        return tuple.__new__(cls, (inside, outside, count))

    inside = property(lambda self: self[0])
    outside = property(lambda self: self[1])
    count = property(lambda self: self[2])


class Ids:
    """The user and group maps of one namespace, and the rung of the ladder they come from.

    ``rung`` is "range" (mapped by newuidmap, or written by a caller that holds
    CAP_SETUID), or "single" (one id, setgroups denied).  ``direct`` says that rl may write
    the maps itself; else ``programs`` has the absolute paths of newuidmap and newgidmap.
    """

    __slots__ = ("uids", "gids", "rung", "direct", "programs")

    def __init__(self, uids, gids, rung, direct=False, programs=None):
        self.uids = tuple(uids)
        self.gids = tuple(gids)
        self.rung = rung
        self.direct = direct
        self.programs = programs

    @property
    def single(self):
        """True where only one id is mapped, so that owners can't be told apart."""
        return self.rung == "single"


def to_outside(ranges, inside):
    """The id outside for ``inside``; None if it is not mapped."""
    for start, outside, count in ranges:
        if start <= inside < start + count:
            return outside + inside - start
    return None


def to_inside(ranges, outside):
    """The id inside for ``outside``; None if it is not mapped."""
    for inside, start, count in ranges:
        if start <= outside < start + count:
            return inside + outside - start
    return None


def total(ranges):
    """How many ids are mapped."""
    return sum(count for _, _, count in ranges)


def text(ranges):
    """What is written to /proc/PID/uid_map."""
    return "".join(f"{inside} {outside} {count}\n" for inside, outside, count in ranges)


def stack(first, pools):
    """Map 0 to ``first`` and the ids after it to ``pools``, a list of (start, count)."""
    ranges = [Range(0, first, 1)]
    for start, count in pools:
        ranges.append(Range(ranges[-1].inside + ranges[-1].count, start, count))
    return tuple(ranges)


def keep(ranges, at):
    """``ranges`` (as made by ``stack``) turned so that the host's user is ``at`` inside.

    The ids below ``at`` take the first ones of the pools, as podman's keep-id has it.
    """
    (_, own, count), rest = ranges[0], ranges[1:]
    pools = [(own + 1, count - 1)] if count > 1 else []
    pools += [(start, count) for _, start, count in rest]
    turned, inside, placed = [], 0, False
    for start, count in pools:
        if not placed and inside <= at < inside + count:
            below = at - inside
            if below:
                turned.append(Range(inside, start, below))
            turned.append(Range(at, own, 1))
            if count > below:
                turned.append(Range(at + 1, start + below, count - below))
            placed = True
            inside += count + 1
        else:
            turned.append(Range(inside, start, count))
            inside += count
    if not placed:
        turned.append(Range(at, own, 1))
    return tuple(turned)


def relative(ranges, around):
    """``ranges`` with the outside ids named as the namespace mapped by ``around`` names them.

    Both maps go to the same ids outside.  What ``around`` doesn't have is left out.
    """
    pieces = []
    for inside, outside, count in ranges:
        end = outside + count
        for a_inside, a_outside, a_count in around:
            low, high = max(outside, a_outside), min(end, a_outside + a_count)
            if low < high:
                pieces.append(Range(inside + low - outside, a_inside + low - a_outside, high - low))
    return tuple(sorted(pieces))


def shift(container, store):
    """How ids on disk look different in a container: what ``container`` shows of ``store``.

    Both maps go to the same ids outside.  The result is a tuple of (container's id for
    the file, the id that the store's own map gives it, count), empty where the two maps
    agree on every id they share.
    """
    pieces = relative(container, store)
    return () if all(a == b for a, b, _ in pieces) else pieces


def widest(ranges, most):
    """The ids inside, as "FIRST LAST", whose ids outside have as many mapped ones as possible
    between them: the kernel compares the latter.  None of them is above ``most``.
    """
    best, size = None, 0
    ends = [(r.inside + n, r.outside + n) for r in ranges if r.inside <= most
            for n in (0, min(r.count - 1, most - r.inside))]  # fmt: skip
    for low, first in ends:
        for high, last in ends:
            if low > high or first > last:
                continue
            covered = sum(max(0, min(last, r.outside + r.count - 1) - max(first, r.outside) + 1)
                          for r in ranges)  # fmt: skip
            if covered > size:
                best, size = f"{low} {high}", covered
    return best
