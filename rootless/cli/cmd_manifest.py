"""rl manifest …"""

from rootless.cli import output, results
from rootless.cli.cmd_pull import typed_login
from rootless.errors import RlError


class Both(RlError):
    """--insecure and --tls-verify contradict each other"""

    hint = "leave one of them out"


def main(engine, request):
    """Do one of the verbs of the group; the exit code."""
    if request.options.get("insecure") and "tls_verify" in request.given and request.tls_verify:
        raise Both()
    return _VERBS[request.verb](engine, request)


def _create(engine, request):
    from rootless.engine import manifests

    output.line(manifests.create(engine, request, typed_login(request))["id"])
    return 0


def _add(engine, request):
    from rootless.engine import manifests

    output.line(manifests.add(engine, request, typed_login(request))["id"])
    return 0


def _annotate(engine, request):
    from rootless.engine import manifests

    output.line(manifests.annotate(engine, request)["id"])
    return 0


def _inspect(engine, request):
    from rootless.engine import manifests

    output.document(manifests.inspect(engine, request))
    return 0


def _push(engine, request):
    from rootless.cli import progress
    from rootless.engine import manifests_push

    login = typed_login(request)
    with progress.choose(request.quiet) as view:
        digest = manifests_push.push(engine, request, view, login)
    if digest:
        output.line(digest)
    return 0


def _remove(engine, request):
    from rootless.engine import manifests

    output.line(manifests.remove(engine, *request.args)["id"])
    return 0


def _rm(engine, request):
    from rootless.engine import manifests

    return results.report(manifests.delete(engine, request.args, request.ignore))


def _exists(engine, request):
    from rootless.engine import manifests

    return 0 if manifests.exists(engine, request.args[0]) else 1


_VERBS = {
    "manifest create": _create,
    "manifest add": _add,
    "manifest annotate": _annotate,
    "manifest inspect": _inspect,
    "manifest push": _push,
    "manifest remove": _remove,
    "manifest rm": _rm,
    "manifest exists": _exists,
}
