"""rl volume …: named volumes (podman-volume(1))."""

import os
import sys

from rootless.cli import output
from rootless.engine import volumes, volumes_list
from rootless.errors import RlError

_FAILED = RlError.exit_code


class CannotOpen(RlError):
    """cannot open {0}: {1}"""

    hint = "name a file, or leave it to a pipe: rl volume export VOLUME | …"


class ToTerminal(RlError):
    """an archive is not for a terminal"""

    hint = "name a file with --output, or send it to a pipe"


class BadPair(RlError):
    """{0} {1}: expected {2}"""

    hint = "rl volume create --help"


def main(engine, request):
    """Do one of the verbs of the group; the exit code."""
    return _VERBS[request.verb](engine, request) or 0


def _pairs(option, texts, shape):
    """KEY=VALUE texts as a dict; a value may be missing where ``shape`` has it in brackets."""
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not (equals or "[" in shape):
            raise BadPair(option, repr(text), shape)
        found[key] = value
    return found


def _create(engine, request):
    driver = request.driver or "local"
    if driver != "local":
        raise volumes.VolumeOption("--driver", f"{driver!r} is unknown: there is only local")
    labels = _pairs("--label", request.label, "KEY[=VALUE]")
    options = {}
    for text in request.opt:
        key, equals, value = text.partition("=")
        if not equals and key not in ("copy", "nocopy"):
            raise BadPair("--opt", repr(text), "NAME=VALUE")
        if key == "o" and key in options:
            value = f"{options[key]},{value}"  # given twice, it adds up
        options[key] = value
    name = request.args[0] if request.args else volumes.anonymous_name()
    try:
        volumes.make(engine, name, labels, options, anonymous=not request.args)
    except volumes.VolumeExists:
        if not request.ignore:
            raise
    output.line(name)


_COLUMNS = (("DRIVER", "Driver"), ("VOLUME NAME", "Name"))
_MORE = (
    ("MOUNTPOINT", "Mountpoint"),
    ("CREATED AT", "CreatedAt"),
    ("LABELS", "Labels"),
    ("SCOPE", "Scope"),
    ("OPTIONS", "Options"),
    ("ANONYMOUS", "Anonymous"),
    ("MOUNT COUNT", "MountCount"),
    ("NEEDS COPY UP", "NeedsCopyUp"),
)


def _ls(engine, request):
    rows = volumes_list.listing(engine, request.filter)
    if request.quiet:
        for row in rows:
            output.line(row["Name"])
        return
    output.listing(
        rows, _COLUMNS, format=request.format, noheading=request.noheading, hidden=_MORE
    )


def _selected(engine, request):
    """The names asked for: arguments, or all of them; (name or None, error or None) each."""
    if request.all:
        return [(name, None) for name in volumes.names(engine)]
    found = []
    for text in request.args:
        try:
            found.append((volumes.find(engine, text), None))
        except RlError as error:
            found.append((None, error))
    return found


def _inspect(engine, request):
    shown, failed = [], False
    for name, error in _selected(engine, request):
        if error is not None:
            _complain(error)
            failed = True
        else:
            shown.append(volumes.facts(engine, name))
    if request.format and request.format.strip() != "json":
        for one in shown:
            output.document(one, request.format)
    else:
        output.document(shown)
    return _FAILED if failed else 0


def _complain(error):
    """Report one failure among several arguments, as rl reports a single one."""
    text = error.message if isinstance(error, RlError) else str(error)
    advice = error.advice if isinstance(error, RlError) else None
    text = f"Error: {text}\n" + (f"hint: {advice}\n" if advice else "")
    sys.stdout.flush()
    sys.stderr.write(output.escape_for(sys.stderr, text))


def _rm(engine, request):
    """Ends with 1 if a volume didn't exist, with 2 if one is in use (podman-volume-rm(1))."""
    code = 0
    for name, error in _selected(engine, request):
        try:
            if error is not None:
                raise error
            if request.force:
                volumes_list.free(engine, name, request.time)
            volumes.remove(engine, name, request.force)
            output.line(name)
        except (RlError, OSError) as failure:
            if request.force and isinstance(failure, volumes.NoVolume):
                continue
            _complain(failure)
            own = {volumes.NoVolume: 1, volumes.VolumeInUse: 2}.get(type(failure), _FAILED)
            code = max(code, own)
    return code


def _prune(engine, request):
    if not request.force:
        from rootless.cli.confirm import confirm

        # Filters that make no sense are said before the question is asked.
        rows = volumes_list.listing(engine, (*request.filter, "dangling=true"))
        names = [row["Name"] for row in rows]
        if not confirm("This will remove all volumes not used by at least one container.", names):
            return 0
    code = 0
    for name, error in volumes_list.prune(engine, request.filter):
        if error is None:
            output.line(name)
        else:
            _complain(error)
            code = _FAILED
    return code


def _exists(engine, request):
    return 0 if request.args[0] in volumes.names(engine) else 1


def _export(engine, request):
    from rootless.engine import volume_files

    sys.stdout.flush()
    if not request.output or request.output == "-":
        if os.isatty(1):
            raise ToTerminal()
        volume_files.export(engine, request.args[0], 1)
        return
    volumes.content(engine, request.args[0])  # no file is made for a volume that isn't there
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    handle = _open(request.output, flags)
    try:
        volume_files.export(engine, request.args[0], handle)
    finally:
        os.close(handle)


def _import(engine, request):
    from rootless.engine import volume_files

    name, source = request.args
    if source == "-":
        volume_files.load(engine, name, 0, "standard input")
        return
    handle = _open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        volume_files.load(engine, name, handle, source)
    finally:
        os.close(handle)


def _open(path, flags):
    try:
        return os.open(path, flags, 0o666)
    except OSError as error:
        raise CannotOpen(path, error.strerror) from None


_VERBS = {
    "volume create": _create,
    "volume ls": _ls,
    "volume inspect": _inspect,
    "volume rm": _rm,
    "volume prune": _prune,
    "volume exists": _exists,
    "volume export": _export,
    "volume import": _import,
}
