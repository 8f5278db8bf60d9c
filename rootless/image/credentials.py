"""Logins kept in auth.json and config.json, and by docker-credential helpers.

containers-auth.json(5); docker/cli "config.json"; docker/docker-credential-helpers protocol.
"""

import os
from base64 import b64decode, b64encode
from binascii import Error as Base64Error

from rootless.errors import RlError
from rootless.image.registry.auth import Login
from rootless.kernel import process
from rootless.model import jsontext

_FILE_LIMIT = 1 << 20
_HUB = ("https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")
_HELPER_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


class BadAuthFile(RlError):
    """{path}: {why}"""

    hint = "it must be a JSON file as rl login and docker login write it"


class HelperFailed(RlError):
    """the credential helper docker-credential-{name} failed: {why}"""


class NotLoggedIn(RlError):
    """not logged in to {host}"""


class Keyring:
    """Where logins are looked up and kept.

    ``environ`` is the caller's environment, ``home`` the home directory or None,
    ``authfile`` a path that stands for all others, ``find_program`` gives the absolute path
    of a program's name or None, ``helpers`` are credential helpers to ask in the end.
    """

    def __init__(
        self, environ, home, authfile=None, find_program=lambda name: None, helpers=()
    ):
        self._environ = environ
        self._find_program = find_program
        self._helpers = helpers
        self._authfile = authfile or environ.get("REGISTRY_AUTH_FILE") or None
        runtime = environ.get("XDG_RUNTIME_DIR", "")
        config = environ.get("XDG_CONFIG_HOME", "")
        if not config.startswith("/"):
            config = f"{home}/.config" if home else None
        docker = environ.get("DOCKER_CONFIG") or (f"{home}/.docker" if home else None)
        self._own = [f"{runtime}/containers/auth.json"] if runtime.startswith("/") else []
        self._own += [f"{config}/containers/auth.json"] if config else []
        self._docker = f"{docker}/config.json" if docker else None

    def files(self):
        """The files to look into, the strongest first."""
        if self._authfile:
            return [self._authfile]
        return [*self._own, *([self._docker] if self._docker else ())]

    @property
    def path(self):
        """The file that ``store`` and ``erase`` change."""
        if self._authfile:
            return self._authfile
        if not self._own:
            raise BadAuthFile(path="auth.json", why="there is no home directory to keep it in")
        return self._own[0]

    # -- looking up --

    def find(self, domain, repository=""):
        """The Login for ``domain`` (the registry's name in images), or None.

        A login for DOMAIN/PATH counts before one for DOMAIN. Raises BadAuthFile,
        HelperFailed.
        """
        for path in self.files():
            document = _read(path)
            if document is None:
                continue
            helper = _table(path, document, "credHelpers").get(domain)
            found = self._ask(helper, domain) if helper else None
            if found is None:
                found = _find_entry(path, document, domain, repository)
            if found is None and document.get("credsStore"):
                found = self._ask(document["credsStore"], domain)
            if found is not None:
                return found
        for helper in self._helpers:
            found = self._ask(helper, domain)
            if found is not None:
                return found
        return None

    def _ask(self, helper, domain):
        """What ``docker-credential-HELPER get`` says about a registry, as a Login or None."""
        names = [*_HUB[:1], domain] if domain == "docker.io" else [domain]
        for name in names:
            code, output = self._call_helper(helper, "get", name)
            if code == 0:
                break
            said = output.decode("utf-8", "replace").strip()
            if "not found" not in said:
                raise HelperFailed(name=helper, why=said[:200] or f"exit code {code}")
        else:
            return None
        try:
            answer = jsontext.loads(output)
            user, secret = answer["Username"], answer["Secret"]
        except (jsontext.DecodeError, KeyError, TypeError):
            raise HelperFailed(name=helper, why="its answer makes no sense") from None
        return Login(token=secret) if user == "<token>" else Login(user, secret)

    def _call_helper(self, helper, verb, text):
        """(exit code, output) of a helper given ``text`` on its standard input."""
        if not isinstance(helper, str) or not helper or not _HELPER_LETTERS.issuperset(helper):
            raise HelperFailed(name=str(helper)[:40], why="that is not the name of a helper")
        program = self._find_program(f"docker-credential-{helper}")
        if program is None:
            raise HelperFailed(name=helper, why="it is not installed")
        given, giver = os.pipe2(os.O_CLOEXEC)
        taker, taken = os.pipe2(os.O_CLOEXEC)
        try:
            pid = process.spawn([program, verb], {0: given, 1: taken}, dict(self._environ))
        finally:
            os.close(given)
            os.close(taken)
        try:
            os.write(giver, text.encode())
        except BrokenPipeError:
            pass  # it didn't care to read: its exit code says more
        os.close(giver)
        output = b""
        while len(output) < _FILE_LIMIT and (piece := os.read(taker, 65536)):
            output += piece
        os.close(taker)
        return process.wait_exit(pid), output

    def listed(self):
        """{registry: user} of all logins that are written in files."""
        found = {}
        for path in reversed(self.files()):
            document = _read(path)
            if document is None:
                continue
            for key in _table(path, document, "auths"):
                login = _find_entry(path, document, _host(key), "")
                if login is not None:
                    found[_host(key)] = login.user
        return found

    # -- keeping --

    def store(self, key, login):
        """Keep ``login`` for ``key`` (a registry, or REGISTRY/PATH)."""
        path = self.path
        document = _read(path) or {}
        auths = dict(_table(path, document, "auths"))
        pair = f"{login.user}:{login.password}".encode()
        auths[key] = {"auth": b64encode(pair).decode()}
        _write(path, {**document, "auths": auths})

    def erase(self, key):
        """Forget the login for ``key``. Raises NotLoggedIn."""
        path = self.path
        document = _read(path) or {}
        auths = dict(_table(path, document, "auths"))
        gone = [name for name in auths if _same(name, key)]
        if not gone:
            raise NotLoggedIn(host=key)
        for name in gone:
            del auths[name]
        _write(path, {**document, "auths": auths})

    def erase_all(self):
        """Forget every login of the file that ``store`` changes."""
        document = _read(self.path) or {}
        if document.get("auths"):
            _write(self.path, {**document, "auths": {}})


def _host(key):
    """The registry in a key of "auths"; docker writes some of them as URLs."""
    if key in _HUB:
        return "docker.io"
    if "://" in key:
        key = key.partition("://")[2].partition("/")[0]
    return "docker.io" if key in _HUB else key


def _same(key, wanted):
    return key == wanted or _host(key) == wanted


def _find_entry(path, document, domain, repository):
    """The login in "auths" with the longest key that DOMAIN/REPOSITORY starts with."""
    auths = _table(path, document, "auths")
    wanted = f"{domain}/{repository}" if repository else domain
    while True:
        for key, entry in auths.items():
            if _same(key, wanted):
                login = _decode(path, key, entry)
                if login is not None:
                    return login
        if "/" not in wanted:
            return None
        wanted = wanted.rpartition("/")[0]


def _decode(path, key, entry):
    if not isinstance(entry, dict):
        raise BadAuthFile(path=path, why=f"the entry of {key} is not an object")
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return Login(token=token)
    coded = entry.get("auth")
    if not coded:
        return None  # docker leaves an empty entry where a helper holds the login
    try:
        user, colon, password = b64decode(coded, validate=True).decode().partition(":")
    except (Base64Error, UnicodeDecodeError, TypeError, ValueError):
        colon = ""
    if not colon:
        raise BadAuthFile(path=path, why=f"the entry of {key} is not base64 of USER:PASSWORD")
    return Login(user, password.rstrip("\0"))


def _table(path, document, name):
    found = document.get(name) or {}
    if not isinstance(found, dict):
        raise BadAuthFile(path=path, why=f"{name} is not an object")
    return found


def _read(path):
    """The document in ``path``; None if there is no such file. Raises BadAuthFile."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BadAuthFile(path=path, why=error.strerror) from None
    try:
        with open(handle, "rb", 0) as file:
            data = file.read(_FILE_LIMIT + 1) or b""
    except OSError as error:
        raise BadAuthFile(path=path, why=error.strerror) from None
    if len(data) > _FILE_LIMIT:
        raise BadAuthFile(path=path, why="it has more than 1 MiB")
    if not data.strip():
        return {}
    try:
        document = jsontext.loads(data)
    except jsontext.DecodeError as error:
        raise BadAuthFile(path=path, why=str(error)) from None
    if not isinstance(document, dict):
        raise BadAuthFile(path=path, why="it is not a JSON object")
    return document


def _write(path, document):
    """Put ``document`` in the place of ``path``, readable by its owner only."""
    from rootless.kernel import files

    directory, name = os.path.split(os.path.abspath(path))
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            text = jsontext.dumps(document, indent=4) + "\n"
            files.write_atomic(handle, name, text.encode(), 0o600)
        finally:
            os.close(handle)
    except OSError as error:
        raise BadAuthFile(path=path, why=error.strerror) from None
