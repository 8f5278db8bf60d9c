"""Names with a meaning to layers: whiteouts, and attributes that belong to drivers.

See the OCI image layer specification, "Whiteouts"; overlayfs documentation, "User xattr"
and "whiteouts and opaque directories"; fuse-overlayfs(1).
"""

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
META = b".wh..wh."

OPAQUE_XATTRS = ("user.overlay.opaque", "user.fuseoverlayfs.opaque")

_PRIVATE = (
    "user.overlay.",
    "user.fuseoverlayfs.",
    "user.containers.",
    "user.rootlesscontainers",
)
_ALLOWED = ("security.capability", "system.posix_acl_access", "system.posix_acl_default")


def keep_xattr(name):
    """True for attributes (str) that images may have and that mean nothing to a driver.

    The others steer a driver (opaque directories, redirects, overridden owners), are only
    for the machine's root (trusted.*) or belong to its security modules.
    """
    if name.startswith("user."):
        return not name.startswith(_PRIVATE)
    return name in _ALLOWED


def text(path):
    """A path (bytes) as str for JSON; ``raw`` gives it back unchanged."""
    return path.decode("utf-8", "surrogateescape")


def raw(path):
    """The bytes of a path that ``text`` made a str."""
    return path.encode("utf-8", "surrogateescape")
