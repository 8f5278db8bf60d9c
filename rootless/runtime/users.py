"""Who the container's program runs as: names looked up in the image's own passwd and group.

The files are an image's, so hostile: they are read as bytes, up to ``LIMIT``, and a line
that isn't well formed counts as absent.  Formats: passwd(5), group(5).
"""

import os

from rootless.errors import RlError
from rootless.model.idmap import to_outside

LIMIT = 1 << 20  # bytes of passwd or group that are looked at
LAST_ID = (1 << 31) - 1
_MOST_GROUPS = 65536  # NGROUPS_MAX


class NoUser(RlError):
    """no such user {0!r} in the image"""

    hint = "give a number, or a name that stands in the image's /etc/passwd"


class NoGroup(RlError):
    """no such group {0!r} in the image"""

    hint = "give a number, or a name that stands in the image's /etc/group"


class BadId(RlError):
    """{0!r} is not a user or group id"""

    hint = "ids are numbers from 0 to 2147483647"


class BadUser(RlError):
    """{0!r} is not a user"""

    hint = "write USER, UID, USER:GROUP or UID:GID"


class BadEntry(RlError):
    """{0!r} cannot be a line of /etc/{1}"""

    hint = "it is one line; fields have no colon: name:*:$UID:$GID:$NAME:$HOME:/bin/sh"


class NotMapped(RlError):
    """{0} {1} does not exist in this container: there {2}"""

    hint = "{3}"


class User:
    """A resolved user.  ``groups`` holds every group id, the primary one first."""

    __slots__ = ("uid", "gid", "groups", "home", "name")

    def __init__(self, uid, gid, groups, home, name):
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home
        self.name = name

    def __repr__(self):
        return f"User({self.uid}, {self.gid}, {self.groups}, {self.home!r}, {self.name!r})"


def number(text):
    """``text`` as an id (int) if it is written as a number; None if it is a name; or BadId."""
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()):
        return None
    if digits is not text or len(digits) > 10 or int(digits) > LAST_ID:
        raise BadId(text)
    return int(digits)


def split(text):
    """``USER[:GROUP]`` as (user, group) of str, each empty where it isn't given; or BadUser."""
    user, colon, group = text.partition(":")
    if ":" in group or "\0" in text or "\n" in text or (colon and not text[1:]):
        raise BadUser(text)
    return user, group


def _field_id(field):
    if field.isdigit() and len(field) <= 10:
        value = int(field)
        if value <= LAST_ID:
            return value
    return None


def _lines(text, fields):
    """The well-formed lines of a passwd or group file as lists of bytes."""
    if text is None:
        return
    for line in text[:LIMIT].split(b"\n"):
        if line[:1] in (b"#", b"+", b"-", b"") or b"\0" in line:
            continue
        found = line.split(b":")
        if len(found) >= fields and found[0]:
            yield found


def find_user(passwd, key):
    """(name, uid, gid, home) of the first line for ``key``: str is a name, int an id.

    ``passwd`` is bytes or None; None if there is no such line.
    """
    name = os.fsencode(key) if isinstance(key, str) else None
    for fields in _lines(passwd, 4):
        if name is not None and fields[0] != name:
            continue
        uid, gid = _field_id(fields[2]), _field_id(fields[3])
        if uid is None or gid is None or (name is None and uid != key):
            continue
        home = os.fsdecode(fields[5]) if len(fields) > 5 else ""
        return os.fsdecode(fields[0]), uid, gid, home if home.startswith("/") else "/"
    return None


def find_group(group, name):
    """The id of the group ``name`` (str); None if it isn't there."""
    wanted = os.fsencode(name)
    for fields in _lines(group, 3):
        if fields[0] == wanted:
            gid = _field_id(fields[2])
            if gid is not None:
                return gid
    return None


def groups_of(group, name):
    """The ids of the groups that have ``name`` (str) as a member: a list, as in the file."""
    wanted, found = os.fsencode(name), []
    for fields in _lines(group, 4):
        if wanted in fields[3].split(b","):
            gid = _field_id(fields[2])
            if gid is not None and gid not in found and len(found) < _MOST_GROUPS - 64:
                found.append(gid)
    return found


def _group_id(group, text):
    gid = number(text)
    if gid is None:
        gid = find_group(group, text)
        if gid is None:
            raise NoGroup(text)
    return gid


def resolve(text, passwd, group, more=()):
    """The User for ``text`` ("", USER, UID, with or without :GROUP).

    ``passwd`` and ``group`` are the bytes of the image's files, None where absent; ``more``
    are further groups, names or numbers as str or int.  A number is never looked up as a
    name.  As in docker and podman: a user without an entry has group 0 and home "/"; the
    memberships of the group file count unless a group is named; the primary group is always
    one of the groups (CVE-2022-2989).  Raises NoUser, NoGroup, BadId, BadUser.
    """
    user, named_group = split(text)
    uid = number(user) if user else 0
    entry = find_user(passwd, user if uid is None else uid)
    if uid is None and entry is None:
        raise NoUser(user)
    name, uid, gid, home = entry or (None, uid, 0, "/")
    groups = []
    if named_group:
        gid = _group_id(group, named_group)
    elif name is not None:
        groups = groups_of(group, name)
    for extra in more:
        groups.append(extra if isinstance(extra, int) else _group_id(group, extra))
    return User(uid, gid, _unique([gid, *groups]), home, name)


def check_mapped(kind, number, ids):
    """Raise NotMapped unless ``number`` is a "user" or "group" (``kind``) of the Ids."""
    ranges = ids.uids if kind == "user" else ids.gids
    if to_outside(ranges, number) is not None:
        return
    spans = [str(a) if n == 1 else f"{a}-{a + n - 1}" for a, _, n in ranges]
    there = f"are {', '.join(spans)}" if len(spans) > 1 or "-" in spans[0] else f"is {spans[0]}"
    hint = f"choose another {kind}, or see rl doctor for more ids"
    if ids.single:
        hint = f"--userns keep-id:{kind[0]}id={number} makes your own id that {kind}"
    raise NotMapped(kind, number, there, hint)


def _fit(user, ids, named, wanted):
    """Make ``user`` one that the container has; NotMapped if it can't be.

    ``named`` says that the group was typed, ``wanted`` are groups that were.  Other groups
    come from the image: one that isn't mapped can own nothing here and is left out, and
    where there is one group only, that is the program's.
    """
    check_mapped("user", user.uid, ids)
    for gid in wanted:
        check_mapped("group", gid, ids)
    if ids.single and not named and to_outside(ids.gids, user.gid) is None:
        user.gid = ids.gids[0].inside
    check_mapped("group", user.gid, ids)
    mapped = [gid for gid in user.groups if to_outside(ids.gids, gid) is not None]
    user.groups = _unique([user.gid, *mapped])


def _unique(values):
    return list(dict.fromkeys(values))


def resolve_in(root, user, ids=None):
    """The User that the ``user`` object of an OCI process means in the mounted root.

    ``root`` has ``read(path, limit)`` (rootdir.RootDir).  With ``username`` (USER[:GROUP])
    the image's files decide, and ``groupNames`` are looked up too; else ``uid``, ``gid`` and
    ``additionalGids`` hold, and the files only give the home directory.  ``ids`` are those
    of the container (model.idmap.Ids): NotMapped says that the user isn't among them.
    """
    passwd = root.read("/etc/passwd", LIMIT)
    extra = list(user.get("additionalGids", ()))
    typed = user.get("username")
    if typed is None:
        entry = find_user(passwd, user["uid"])
        groups = _unique([user["gid"], *extra])
        home = entry[3] if entry else "/"
        found = User(user["uid"], user["gid"], groups, home, entry and entry[0])
    else:
        group = root.read("/etc/group", LIMIT)
        extra += [_group_id(group, name) for name in user.get("groupNames", ())]
        found = resolve(typed, passwd, group, extra)
    if ids is not None:
        _fit(found, ids, typed is None or bool(split(typed)[1]), extra)
    return found


# --- entries added for a user that the image doesn't know ----------------------------------


def _fill(template, values):
    for key in sorted(values, key=len, reverse=True):
        template = template.replace("$" + key, str(values[key]))
    return template


def _line(text, kind, fields):
    if "\n" in text or "\0" in text or text.count(":") != fields - 1:
        raise BadEntry(text, kind)
    return text + "\n"


def passwd_entry(name, uid, gid, gecos="", home="/", template=None):
    """A line of /etc/passwd (str, with its newline).

    ``template`` may hold $USERNAME, $UID, $GID, $NAME and $HOME (podman --passwd-entry).
    """
    if template is None:
        template = "$USERNAME:*:$UID:$GID:$NAME:$HOME:/bin/sh"
    values = {"USERNAME": name, "UID": uid, "GID": gid, "NAME": gecos, "HOME": home}
    return _line(_fill(template, values), "passwd", 7)


def group_entry(name, gid, members="", template=None):
    """A line of /etc/group; ``template`` may hold $GROUPNAME, $GID and $USERLIST."""
    if template is None:
        template = "$GROUPNAME:x:$GID:$USERLIST"
    values = {"GROUPNAME": name, "GID": gid, "USERLIST": members}
    return _line(_fill(template, values), "group", 4)


def amended(passwd, group, user, wanted):
    """The image's passwd and group with what ``--passwd`` adds, each None if unchanged.

    ``user`` is the User that runs; ``wanted`` is ``spec["rl"]["passwd"]``: ``accounts``, a
    list of [name, uid, gid, real name, home] of the host (--hostuser, keep-id), and the
    templates ``entry`` and ``groupEntry``.  As podman: an id or a name that is there
    already is left alone; a user or group without a line gets one named like its number.
    """
    accounts = [tuple(account) for account in wanted["accounts"]]
    groups = [(name, gid) for name, _, gid, _, _ in accounts]
    accounts.append((str(user.uid), user.uid, user.gid, "container user", user.home))
    groups.append((str(user.gid), user.gid))
    added, added_groups = b"", b""
    for name, uid, gid, gecos, home in accounts:
        template = wanted["entry"] if uid == user.uid else None
        if not _has(passwd, name, uid) and not _has(added, name, uid):
            added += passwd_entry(name, uid, gid, gecos, home, template).encode()
    for name, gid in groups:
        template = wanted["groupEntry"] if gid == user.gid else None
        if not _has(group, name, gid) and not _has(added_groups, name, gid):
            added_groups += group_entry(name, gid, "", template).encode()
    return _joined(passwd, added), _joined(group, added_groups)


def _has(text, name, wanted):
    encoded = os.fsencode(name)
    return any(
        fields[0] == encoded or _field_id(fields[2]) == wanted for fields in _lines(text, 3)
    )


def _joined(text, added):
    if not added:
        return None
    text = text or b""
    return text + (b"" if not text or text.endswith(b"\n") else b"\n") + added
