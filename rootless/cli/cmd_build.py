"""rl build"""

from rootless.cli import output
from rootless.errors import RlError

_PULL = {"true": "always", "false": "missing", "ifnewer": "newer", "ifmissing": "missing"}
# Options of the command line that are another attribute, or none, of a build's Options.
OTHERS = {"from": "from_"}
_OURS = ("pull_always", "pull_never", "load", "push", "timestamp", "retry_delay", "pull",
         "tls_verify", "creds", "format", "layers", "progress", "source_date_epoch", "rm",
         "force_rm", "provenance", "sbom", "call", "check", "isolation")  # fmt: skip
_OFF = ("false", "0", "f", "F", "FALSE", "False")


class NothingStays(RlError):
    """{0}=false: what a step ran in can't be kept"""

    hint = "rl build --target STAGE builds up to a stage; rl run looks into it"


class NoAttestations(RlError):
    """--{0} {1}: rl makes no attestations"""

    hint = "leave it out, or write --{0}=false"


class BadSetting(RlError):
    """{name} is {value!r}: expected {wanted}"""


class Together(RlError):
    """{0} and {1} can't be used together"""

    hint = "leave one of them out"


class NeedsEpoch(RlError):
    """--rewrite-timestamp needs a time that no file is to be newer than"""

    hint = "rl build --source-date-epoch SECONDS, or the variable SOURCE_DATE_EPOCH"


def main(engine, request):
    """Build an image; prints its id. The exit code."""
    options = read(engine, request)
    from rootless.cli import build_view
    from rootless.engine.build import deliver

    if options.check:
        return build_view.show_findings(deliver.check(engine, options))
    with build_view.choose(options) as shown:
        lines = deliver.build(engine, options, shown)
    for line in lines:
        output.line(line)
    return 0


def read(engine, request):
    """The engine.build.options.Options of a Request. Raises RlError."""
    from rootless.engine.build.options import Options

    _check(request)
    found = {
        OTHERS.get(name, name): list(value) if isinstance(value, tuple) else value
        for name, value in request.options.items()
        if name not in _OURS
    }
    found["check"] = request.check or request.call == "check"
    found["context"] = request.args[0] if request.args else None
    found["pull"] = _pull(request)
    found["timestamp"] = request.timestamp
    found["retry_delay"] = _delay(request.retry_delay)
    found["tls_verify"] = request.tls_verify if "tls_verify" in request.given else None
    found["creds"] = _credentials(request.creds)
    found["source_date_epoch"] = request.source_date_epoch
    _defaults(engine.config.environ, request, found)
    if "rewrite_timestamp" in request.given and request.rewrite_timestamp:
        if found["source_date_epoch"] is None:
            raise NeedsEpoch()
    if request.push:
        found["output"] = [*found["output"], "type=image,push=true"]
    elif request.load:
        found["output"] = [*found["output"], "type=image"]
    return Options(**found)


def _check(request):
    for name in ("rm", "force_rm"):
        if not request.options[name]:
            raise NothingStays(f"--{name.replace('_', '-')}")
    for name in ("provenance", "sbom"):
        text = request.options[name]
        if text is not None and text not in _OFF:
            raise NoAttestations(name, text)
    for one, other in (
        ("squash", "squash_all"),
        ("timestamp", "source_date_epoch"),
        ("quiet", "progress"),
        ("pull_always", "pull_never"),
    ):
        if {one, other} <= request.given and all(request.options[n] for n in (one, other)):
            raise Together(*(f"--{name.replace('_', '-')}" for name in (one, other)))


def _pull(request):
    policy = _PULL.get(request.pull, request.pull)
    for name in ("always", "never"):
        if request.options[f"pull_{name}"]:
            if policy not in (None, name):
                raise Together(f"--pull={request.pull}", f"--pull-{name}")
            policy = name
    return policy


def _delay(text):
    from rootless.engine import filters

    if text is None:
        return None
    found = filters.seconds(text)
    if found is None or found < 0:
        from rootless.engine.images_pull import BadDelay

        raise BadDelay(text)
    return found


def _credentials(text):
    """USER:PASSWORD of --creds; the password is asked for if it isn't there."""
    if not text or ":" in text:
        return text
    import getpass

    return f"{text}:" + getpass.getpass(f"Password for {text}: ")


def _defaults(environ, request, found):
    """What variables of the caller say, where no option does."""
    found["format"] = request.format or _one_of(
        environ, "BUILDAH_FORMAT", {"oci": "oci", "docker": "docker"}, "oci"
    )
    found["layers"] = request.layers
    if "layers" not in request.given:
        truths = {"true": True, "1": True, "false": False, "0": False}
        found["layers"] = _one_of(environ, "BUILDAH_LAYERS", truths, True)
    forms = {name: name for name in ("auto", "plain", "tty", "quiet", "rawjson")}
    found["progress"] = request.progress or _one_of(environ, "BUILDKIT_PROGRESS", forms, "auto")
    if request.source_date_epoch is None and request.timestamp is None:
        found["source_date_epoch"] = _epoch(environ, request.build_arg)


def _epoch(environ, arguments):
    """The time that the build argument SOURCE_DATE_EPOCH says, or the variable; None for none.

    The argument is BuildKit's way to say it.
    """
    name = "SOURCE_DATE_EPOCH"
    text = environ.get(name, "")
    for argument in arguments:
        if argument.startswith(f"{name}="):
            text = argument[len(name) + 1 :]
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 12:
        raise BadSetting(name=name, value=text, wanted="seconds since 1970")
    return int(text)


def _one_of(environ, name, values, default):
    text = environ.get(name, "")
    if not text:
        return default
    if text not in values:
        raise BadSetting(name=name, value=text, wanted=", ".join(values))
    return values[text]
