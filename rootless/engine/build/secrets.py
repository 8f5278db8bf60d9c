"""--secret and --ssh: what RUN --mount=type=secret and type=ssh may see of the caller's."""

import os

from rootless.build.language.source import error_at
from rootless.build.steps import run as steps
from rootless.errors import RlError

_LIMIT = 500 << 10  # bytes of a secret: what BuildKit takes
_DEFAULT = "default"


class BadSecret(RlError):
    """--secret {text}: {why}"""

    hint = "such as --secret id=token,src=token.txt or --secret id=token,env=TOKEN"


class BadSsh(RlError):
    """--ssh {text}: {why}"""

    hint = (
        "--ssh default passes on the agent at $SSH_AUTH_SOCK, --ssh NAME=SOCKET another one,"
        " --ssh NAME=FILE the key in a file"
    )


class Secrets:
    """What the options name, read when a step asks for it; nothing of it is kept.

    ``options``: engine.build.options.Options; ``environ``: the caller's environment;
    ``program``: function name of a program → absolute path or None.
    """

    def __init__(self, options, environ, program=None):
        self.environ = environ
        self.program = program
        self._keepers = {}  # id → step_keys.KeyAgent
        self._secrets = dict(self._read_secret(text) for text in options.secret)
        self._read = {}
        self._agents = dict(self._read_ssh(text) for text in options.ssh)

    def _read_secret(self, text):
        """(id, function that gives the bytes) of one --secret."""
        found = {}
        for field in text.split(","):
            name, equals, value = field.partition("=")
            name = {"source": "src"}.get(name, name)
            if not equals or name not in ("id", "src", "env", "type") or name in found:
                raise BadSecret(text=text, why=f"{field!r} is none of id=, src=, env=, type=")
            found[name] = value
        kind = found.get("type")
        if kind not in (None, "file", "env"):
            raise BadSecret(text=text, why=f"there is no type {kind}, only file and env")
        name = found.get("id")
        if not name:
            raise BadSecret(text=text, why="it has no id")
        if "src" in found and "env" in found:
            raise BadSecret(text=text, why="it has a file and a variable")
        if "env" in found or kind == "env":
            variable = found.get("env") or found.get("src") or name
            return name, lambda: self._variable(text, variable)
        if "src" not in found and name in self.environ:
            return name, lambda: self._variable(text, name)
        return name, lambda: _file(text, found.get("src") or name)

    def _variable(self, text, name):
        if name not in self.environ:
            raise BadSecret(text=text, why=f"the variable {name} isn't set")
        return self.environ[name].encode("utf-8", "surrogateescape")

    def _read_ssh(self, text):
        """(id, path of a socket, or (text, paths) of keys) of one --ssh."""
        name, equals, path = text.partition("=")
        if not name:
            raise BadSsh(text=text, why="it has no name")
        if not equals:
            path = self.environ.get("SSH_AUTH_SOCK", "")
            if not path:
                raise BadSsh(text=text, why="there is no agent: SSH_AUTH_SOCK isn't set")
        paths = [os.path.abspath(os.path.expanduser(one)) for one in path.split(",") if one]
        kinds = set()
        for one in paths:
            try:
                kinds.add(os.stat(one).st_mode & 0o170000)
            except OSError as error:
                raise BadSsh(text=text, why=f"{one}: {error.strerror}") from None
        if kinds == {0o140000} and len(paths) == 1:
            return name, paths[0]
        if kinds != {0o100000}:
            raise BadSsh(text=text, why="expected the socket of an agent, or files with keys")
        return name, (text, paths)

    # --- for a step ---

    def secret(self, mount, node):
        """The steps.Secret of a mount (language.mounts.Mount); None if it may be missing."""
        name = mount.id or mount.source or os.path.basename((mount.target or "").rstrip("/"))
        if not name:
            name = mount.env or ""
        if name not in self._secrets:
            if mount.required:
                raise error_at(node, f"there is no secret {name}",
                               f"rl build --secret id={name},src=FILE")  # fmt: skip
            return None
        target = mount.target
        if target is None and mount.env is None:
            target = f"/run/secrets/{name}"
        if name not in self._read:
            self._read[name] = self._secrets[name]()
        data = self._read[name]
        if mount.env is not None and b"\0" in data:
            raise error_at(node, f"the secret {name} has a NUL byte, which no variable can have",
                           "leave env= out: it is then a file of the step")  # fmt: skip
        return steps.Secret(data, target, mount.env, mount.mode, mount.uid, mount.gid)

    def agent(self, mount, node, number):
        """The steps.Agent of a mount; None if it may be missing.  ``number``: of this step."""
        name = mount.id or _DEFAULT
        if name not in self._agents:
            if mount.required:
                wanted = name if name == _DEFAULT else f"{name}=SOCKET"
                raise error_at(node, f"there is no SSH agent {name}", f"rl build --ssh {wanted}")
            return None
        target = mount.target or f"/run/buildkit/ssh_agent.{number}"
        return steps.Agent(self._socket(name), target, mount.mode, mount.uid, mount.gid)

    def _socket(self, name):
        found = self._agents[name]
        if isinstance(found, str):
            return found
        if name not in self._keepers:
            from rootless.engine.build.step_keys import KeyAgent

            self._keepers[name] = KeyAgent(self.program, self.environ, *found)
        return self._keepers[name].socket

    def close(self):
        """End the agents that were started."""
        while self._keepers:
            self._keepers.popitem()[1].close()


def _file(text, path):
    """The content of a file that the caller named; it may be a pipe, as of a shell's <(…)."""
    try:
        with open(os.path.expanduser(path), "rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as error:
        raise BadSecret(text=text, why=f"{path}: {error.strerror}") from None
    if len(data) > _LIMIT:
        raise BadSecret(text=text, why=f"{path} has more than {_LIMIT >> 10} KiB")
    return data
