"""The user namespace of a container: --userns, --uidmap and --gidmap as id maps.  Pure.

Meanings: podman-run(1).  Ids "inside" are the container's, "outside" the machine's; the
numbers between, that --uidmap counts with, are those of the default map (0 is the user).
"""

from rootless.engine.spec.values import fail
from rootless.errors import RlError
from rootless.model import idmap
from rootless.model.idmap import Ids, Range

_MOST_LINES = 340  # user_namespaces(7): lines of a map since Linux 4.15
_AUTO_SIZE = 1024  # what a container without wishes gets: podman's smallest
_HINT = "host, keep-id[:uid=N,gid=N], auto[:size=N], nomap, container:NAME or ns:PATH"


class NoIds(RlError):
    """--userns {0} needs more ids than this user has: {1}"""

    hint = "rl doctor shows the ids and how to get more (usermod --add-subuids)"


def plan(request, host):
    """What user namespace the container gets: a dict.

    ``mode``     "new", "container" or "ns"
    ``target``   the container or path for the last two
    ``ids``      the Ids of a new one
    ``user``     "UID:GID" that the process runs as if nobody says otherwise, or None
    ``keep``     (uid, gid) that the calling user has inside, or None
    """
    options = request.options
    uidmap, gidmap = options.get("uidmap") or (), options.get("gidmap") or ()
    text = options.get("userns")
    mode, colon, rest = (text or "host").partition(":")
    if (uidmap or gidmap) and text:
        fail("--userns", text, "it cannot be combined with --uidmap and --gidmap")
    found = {"mode": "new", "target": None, "ids": host.ids, "user": None, "keep": (0, 0)}
    if uidmap or gidmap:
        found["ids"] = _mapped(uidmap or gidmap, gidmap or uidmap, host.ids)
        found["keep"] = None
    elif mode in ("container", "ns"):
        if not rest or (mode == "ns" and not rest.startswith("/")):
            fail("--userns", text, "what to join is missing", _HINT)
        found.update(mode=mode, target=rest, ids=None, keep=None)
    elif mode == "keep-id":
        found.update(_keep_id(text, rest, host))
    elif mode == "auto":
        found.update(ids=_auto(text, rest, host), keep=None)
    elif mode == "nomap" and not colon:
        found.update(ids=_nomap(host.ids), keep=None)
    elif mode not in ("host", "private") or colon:
        fail("--userns", text, "there is no such mode", _HINT)
    return found


def _like(ids, uids, gids, rung=None):
    """Other maps, made in the way that ``ids`` are."""
    return Ids(uids, gids, rung or ids.rung, ids.direct, ids.programs)


def _options(text, rest, known):
    found = {}
    for word in filter(None, rest.split(",")):
        key, _, value = word.partition("=")
        if key not in known:
            fail("--userns", text, f"unknown option {key!r}", _HINT)
        found.setdefault(key, []).append(value)
    return found


def _id(text, value):
    if not (value.isascii() and value.isdecimal()) or len(value) > 10 or int(value) >= 1 << 31:
        fail("--userns", text, f"{value!r} is not an id", "ids are numbers from 0 to 2147483647")
    return int(value)


def _keep_id(text, rest, host):
    options = _options(text, rest, ("uid", "gid"))
    uid = _id(text, options["uid"][-1]) if "uid" in options else host.uid
    gid = _id(text, options["gid"][-1]) if "gid" in options else host.gid
    ids = host.ids
    turned = _like(ids, idmap.keep(ids.uids, uid), idmap.keep(ids.gids, gid))
    return {"ids": turned, "user": f"{uid}:{gid}", "keep": (uid, gid)}


def _without_own(ranges):
    """The ids behind the user's own as (outside, count), in order."""
    return [(outside, count) for _, outside, count in ranges[1:]]


def _stack(pools):
    ranges, inside = [], 0
    for outside, count in pools:
        ranges.append(Range(inside, outside, count))
        inside += count
    return tuple(ranges)


def _nomap(ids):
    if ids.single:
        raise NoIds("nomap", "there is only the user's own")
    uids, gids = _without_own(ids.uids), _without_own(ids.gids)
    if not (uids and gids):
        raise NoIds("nomap", "root's own are all that there are; --uidmap can name some")
    return _like(ids, _stack(uids), _stack(gids))


def _free(pools, used, size):
    """``size`` ids of ``pools`` that nobody has, from the top down; None if there aren't."""
    found, wanted = [], size
    for start, count in reversed(pools):
        pieces = [(start, start + count)]
        for begin, length in used:
            end = begin + length
            pieces = [
                (low, high)
                for a, b in pieces
                for low, high in ((a, min(b, begin)), (max(a, end), b))
                if low < high
            ]
        for low, high in reversed(sorted(set(pieces))):
            take = min(wanted, high - low)
            found.append((high - take, take))
            wanted -= take
            if not wanted:
                return list(reversed(found))
    return None


def _auto(text, rest, host):
    """A range that no other ``auto`` container has, from the far end of the user's ids.

    The near end stays with the default map: what both have in common is the host's
    business only if a container escapes.
    """
    options = _options(text, rest, ("size", "uidmapping", "gidmapping"))
    size = _AUTO_SIZE
    if "size" in options:
        size = _id(text, options["size"][-1])
        if not size:
            fail("--userns", text, "a namespace has at least one id")
    if host.ids.single:
        raise NoIds(text, "there is only the user's own")
    maps = []
    for key, ranges in (("uidmapping", host.ids.uids), ("gidmapping", host.ids.gids)):
        forced = _parse(f"--userns {key}", options.get(key, ()), ranges)
        taken = [(outside, count) for _, outside, count in forced]
        pools = _free(_without_own(ranges), [*host.used, *taken], size)
        if pools is None:
            raise NoIds(text, f"fewer than {size} are free")
        maps.append(_around(_stack(pools), forced))
    return _like(host.ids, *maps)


def _around(ranges, forced):
    """``ranges`` with the inside ids of ``forced`` given to those instead."""
    for inside, _, count in forced:
        pieces = []
        for start, outside, length in ranges:
            before = min(max(inside - start, 0), length)
            after = min(max(start + length - inside - count, 0), length)
            if before:
                pieces.append(Range(start, outside, before))
            if after:
                pieces.append(Range(start + length - after, outside + length - after, after))
        ranges = pieces
    return tuple(sorted([*ranges, *forced]))


def _mapped(uidmap, gidmap, ids):
    uids = _parse("--uidmap", uidmap, ids.uids)
    gids = _parse("--gidmap", gidmap, ids.gids)
    # One id each is what a user may map without newuidmap, but only the own one.
    own = len(uids) == len(gids) == 1 and uids[0].count == gids[0].count == 1
    own = own and (uids[0].outside, gids[0].outside) == (ids.uids[0].outside, ids.gids[0].outside)
    return _like(ids, uids, gids, "single" if own else None)


def _parse(option, entries, ranges):
    """INSIDE:BETWEEN:COUNT entries as Ranges to the outside, checked, sorted."""
    found = []
    for entry in entries:
        parts = entry.split(":")
        if not 2 <= len(parts) <= 3 or not all(p.isascii() and p.isdecimal() for p in parts):
            fail(option, entry, "not a map", "CONTAINER_ID:FROM_ID[:COUNT]; FROM_ID 0 is you")
        inside, between, count = (int(part) for part in (*parts, "1")[:3])
        if not count or max(inside, between) + count > 1 << 32 or count > 1 << 31:
            fail(option, entry, "a number is out of range")
        while count:
            piece = next(((i, o, n) for i, o, n in ranges if i <= between < i + n), None)
            if piece is None:
                last = max(i + n for i, _, n in ranges) - 1
                fail(option, entry, f"this user has the ids 0 to {last}, not {between}",
                     "rl doctor shows how to get more")
            take = min(count, piece[0] + piece[2] - between)
            found.append(Range(inside, piece[1] + between - piece[0], take))
            inside, between, count = inside + take, between + take, count - take
    found.sort()
    for key, name in ((0, "container"), (1, "host")):
        ordered = sorted(found, key=lambda r: r[key])
        for one, other in zip(ordered, ordered[1:], strict=False):
            if one[key] + one.count > other[key]:
                fail(option, " ".join(entries), f"an id of the {name} appears twice")
    if len(found) > _MOST_LINES:
        fail(option, f"{len(found)} lines", f"the kernel takes {_MOST_LINES}")
    return tuple(found)
