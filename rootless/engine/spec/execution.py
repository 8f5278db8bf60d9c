"""The process object of ``rl exec``: the container's own, changed by the options.  Pure."""

from rootless.engine.spec import environment
from rootless.engine.spec.values import fail
from rootless.kernel import caps
from rootless.runtime import users


def exec_process(spec, request, environ, known):
    """The OCI process object for a command in the container of ``spec``.

    ``request`` has exec's options and the command as arguments; ``environ`` is the caller's
    environment, for ``-e NAME``; ``known`` the capabilities of the kernel (int).  The
    capabilities are the container's own for the user that runs (docs/confinement.md).
    """
    own, options = spec["process"], request.options
    found = {**own, "args": list(request.args), "terminal": bool(options.get("tty"))}
    variables = dict(entry.split("=", 1) for entry in own["env"])
    if options.get("tty"):
        variables.setdefault("TERM", "xterm")
    given = options.get("user")
    if given is not None:
        name, group = users.split(given)
        numbers = [users.number(text) if text else 0 for text in (name, group)]
        found["user"] = {
            "uid": numbers[0] or 0,
            "gid": numbers[1] or 0,
            "username": given,
            "umask": own["user"].get("umask", 0o022),
        }
        variables.pop("HOME", None)
    environment.add_given(variables, options, environ)
    found["env"] = [f"{name}={value}" for name, value in variables.items()]
    directory = options.get("workdir")
    if directory is not None:
        if not directory.startswith("/"):
            fail("--workdir", directory, "not an absolute path of the container")
        found["cwd"] = directory
    if options.get("privileged"):
        everything = caps.names(known)
        found["capabilities"] = dict.fromkeys(("bounding", "permitted", "effective"), everything)
        found["userCapabilities"] = {"bounding": everything}
        found["noNewPrivileges"] = False
    found.setdefault("setHome", spec["rl"]["setHome"])
    return found
