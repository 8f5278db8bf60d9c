"""Volumes as tar archives: `rl volume export` and `rl volume import` (podman-volume-export(1)).

Both run in a child that is root of the store's user namespace and has the volume as its root
directory: no link in the volume or in the archive leads anywhere else.  The modules that
tarfile loads late are loaded before that.
"""

import os

from rootless.errors import RlError

_XATTR = "SCHILY.xattr."
_KEPT = ("user.", "security.capability")


class BadArchive(RlError):
    """cannot read the archive {0}: {1}"""

    hint = "a tar archive is expected, plain or compressed with gzip, bzip2 or xz"


class Interrupted(RlError):
    """volume {0}: {1} failed: {2}"""

    hint = "rl doctor looks at the room on the disk; what was done so far stays"


def export(engine, name, output):
    """Write the content of the volume ``name`` as a tar archive to the descriptor ``output``."""
    from rootless.engine import volumes
    from rootless.kernel import userns

    path = volumes.content(engine, name)
    try:
        userns.call_in(engine.ids, _export, path, output)
    except BrokenPipeError:
        raise  # whoever read it is gone: the command line ends quietly
    except OSError as error:
        raise Interrupted(name, "writing the archive", _said(error)) from None


def load(engine, name, source, shown):
    """Unpack the tar archive read from the descriptor ``source`` into the volume ``name``.

    What is there stays, or is replaced by files of the same name.  ``shown`` names the
    archive in errors.  Raises BadArchive.
    """
    from rootless.engine import volumes
    from rootless.kernel import userns

    name = volumes.find(engine, name)
    try:
        problem = userns.call_in(engine.ids, _import, volumes.content(engine, name), source)
    except OSError as error:
        raise Interrupted(name, f"unpacking {shown}", _said(error)) from None
    if problem:
        raise BadArchive(shown, problem)
    volumes.copied_up(engine, name)


def _said(error):
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _enter(path):
    """Make the volume the root directory, with all that tarfile needs already loaded."""
    import bz2  # noqa: F401
    import encodings.idna  # noqa: F401
    import gzip  # noqa: F401
    import lzma  # noqa: F401
    import tarfile

    # Names of users would be looked up by libraries found in the volume.
    tarfile.pwd = tarfile.grp = None
    os.chroot(path)
    os.chdir("/")
    os.umask(0)
    return tarfile


def _export(path, output):
    tarfile = _enter(path)
    with os.fdopen(output, "wb", closefd=False) as file, tarfile.open(
        fileobj=file, mode="w|", format=tarfile.PAX_FORMAT
    ) as archive:
        _add(tarfile, archive, ".")


def _add(tarfile, archive, path):
    try:
        info = archive.gettarinfo(path)
    except FileNotFoundError:
        return  # removed by a container while we were reading
    if info is None:
        return  # a socket: nothing in it
    for name, value in _xattrs(path).items():
        info.pax_headers[_XATTR + name] = value
    if info.isreg():
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags), "rb") as file:
            info.size = os.fstat(file.fileno()).st_size
            archive.addfile(info, _Padded(file))
        return
    archive.addfile(info)
    if info.isdir():
        for name in sorted(os.listdir(path)):
            _add(tarfile, archive, f"{path}/{name}")


class _Padded:
    """A file that goes on with zeros if it gets shorter while it is read."""

    def __init__(self, file):
        self.read_some = file.read

    def read(self, size):
        found = self.read_some(size)
        return found + bytes(size - len(found))


def _xattrs(path):
    found = {}
    try:
        for name in os.listxattr(path, follow_symlinks=False):
            if name.startswith(_KEPT):
                value = os.getxattr(path, name, follow_symlinks=False)
                found[name] = value.decode("utf-8", "surrogateescape")
    except OSError:
        pass
    return found


def _import(path, source):
    """None, or what is wrong with the archive (str)."""
    tarfile = _enter(path)
    try:
        with os.fdopen(source, "rb", closefd=False) as file, tarfile.open(
            fileobj=file, mode="r|*"
        ) as archive:
            # The volume is the root directory here, so there is nothing to filter out.
            archive.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
            directories = []
            for info in archive:
                _extract(archive, info, directories)
            for info in reversed(directories):
                _finish(info)
    except KeyError as error:
        return error.args[0]  # a hard link to a file that isn't in the archive
    except (tarfile.TarError, EOFError, ValueError, OverflowError, IndexError) as error:
        return str(error) or type(error).__name__
    return None


def _extract(archive, info, directories):
    if info.isdev() and not info.isfifo():
        raise ValueError(f"{info.name!r} is a device, which only root can make")
    if info.isdir():
        directories.append(info)
    archive.extract(info, ".", numeric_owner=True, set_attrs=not info.isdir())
    for key, value in info.pax_headers.items():
        name = key.removeprefix(_XATTR)
        if name != key and name.startswith(_KEPT) and not info.issym():
            try:
                os.setxattr(info.name, name, value.encode("utf-8", "surrogateescape"),
                            follow_symlinks=False)  # fmt: skip
            except OSError:
                pass  # not every file system takes them


def _finish(info):
    """Modes and times of directories come last: files in them would change them."""
    try:
        os.chown(info.name, info.uid, info.gid, follow_symlinks=False)
        os.chmod(info.name, info.mode & 0o7777)
        os.utime(info.name, (info.mtime, info.mtime), follow_symlinks=False)
    except OSError:
        pass
