"""``--chown``: names of the image's own passwd and group as numbers."""

import os

from rootless.build.copy import view
from rootless.kernel import files
from rootless.runtime import users


def resolve(text, base):
    """(uid, gid) for USER[:GROUP], names looked up in the view ``base``.

    A number without a group is the group's number too, a name has the group of its line
    (docs.docker.com/reference/dockerfile#copy---chown).  Raises NoUser, NoGroup, BadId,
    BadUser of runtime.users.
    """
    user, group = users.split(text)
    uid = users.number(user) if user else 0
    gid = users.number(group) if group else None
    if uid is None:
        entry = users.find_user(_read(base, b"etc/passwd"), user)
        if entry is None:
            raise users.NoUser(user)
        uid, primary = entry[1:3]
    else:
        primary = uid
    if not group:
        gid = primary
    elif gid is None:
        gid = users.find_group(_read(base, b"etc/group"), group)
        if gid is None:
            raise users.NoGroup(group)
    return uid, gid


def _read(base, path):
    """The bytes of a file of the image, up to users.LIMIT; None if it isn't there."""
    place = view.resolve(base, path)
    if place is None or place.kind != view.IFREG:
        return None
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
    descriptor = files.open_beneath(place.descriptor, place.path, flags)
    try:
        return os.read(descriptor, users.LIMIT)
    finally:
        os.close(descriptor)
