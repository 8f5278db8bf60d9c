"""What the word for a context means: a directory, ``-``, a URL, or a git repository.

Pure text.  The forms are BuildKit's and podman's: docs.docker.com/build/concepts/context.
A directory is told from the others without ``re`` and urllib, whose import takes 10 ms.
"""

from rootless.build.context.errors import BadGitUrl

STDIN, URL, GIT, LOCAL = "stdin", "url", "git", "local"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
_SCP = rf"(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@(?P<host>{_HOST}):(?P<path>[^#]*)"
_SCHEMES = ("git", "ssh", "file", "http", "https")
_TRUE, _FALSE = ("", "1", "t", "true", "True", "TRUE"), ("0", "f", "false", "False", "FALSE")
# Letters that no ref has (git-check-ref-format(1)), or that would make a refspec of it.
_NOT_IN_REF = r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//"


class GitRef:
    """A place in a repository: ``remote`` for git, ``ref``, ``subdir``, ``checksum`` (str or
    None), ``keep_git_dir`` and ``submodules`` (bool or None where nothing is said)."""

    def __init__(self, remote, ref=None, subdir=None):
        self.remote = remote
        self.ref = ref
        self.subdir = subdir
        self.checksum = None
        self.keep_git_dir = None
        self.submodules = None

    @property
    def is_file(self):
        """Whether it lies on this machine."""
        return self.remote.startswith("file://")

    @property
    def public(self):
        """The address without user and password, if they are for a web server."""
        return self.shown if self.remote.startswith(("http://", "https://")) else self.remote

    @property
    def login(self):
        """git's settings that put user and password back in, for that server alone."""
        if self.public == self.remote:
            return ()
        from urllib.parse import urlsplit

        secret, public = urlsplit(self.remote), urlsplit(self.public)
        start = f"{secret.scheme}://{secret.netloc}/"
        return ((f"url.{start}.insteadOf", f"{public.scheme}://{public.netloc}/"),)

    @property
    def shown(self):
        """The address without what may be a secret."""
        return without_secrets(self.remote)


def without_secrets(url):
    """A URL without user and password."""
    head, mark, rest = url.partition("://")
    if not mark:
        return url
    host, slash, path = rest.partition("/")
    return f"{head}://{host.rpartition('@')[2]}{slash}{path}"


def kind_of(where):
    """STDIN, GIT, URL or LOCAL."""
    if where == "-":
        return STDIN
    if is_git(where):
        return GIT
    if where.startswith(("http://", "https://")):
        return URL
    return LOCAL


def is_git(where):
    """Whether a word means a git repository."""
    scheme, mark, _ = where.partition("://")
    if mark:
        if scheme in ("git", "ssh", "file"):
            return True
        from urllib.parse import urlsplit

        try:
            return scheme in ("http", "https") and urlsplit(where).path.endswith(".git")
        except ValueError:
            return False  # whoever fetches it says that it is no address
    if where.startswith(("./", "../", "/")):
        return False
    return where.startswith("github.com/") or _is_scp(where)


def _is_scp(where):
    """Whether it begins as USER@HOST: does."""
    user, at, rest = where.partition("@")
    host, colon, _ = rest.partition(":")
    return bool(user and at and host and colon) and not set("/:#@") & set(user + host)


def parse_git(where):
    """The GitRef for a word that ``is_git``; BadGitUrl."""
    import re
    from urllib.parse import urlunsplit

    if where.startswith("github.com/"):
        where = f"https://{where}"
    address, _, fragment = where.partition("#")
    if "://" in address:
        parts = _split(address)
        found = GitRef(urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")))
        query = parts.query
    else:
        if not re.fullmatch(_SCP, address):
            raise BadGitUrl(without_secrets(where), "user, host or path is wrong")
        address, _, query = address.partition("?")
        _check_path(where, address.partition(":")[2])
        found = GitRef(address)
    ref, _, subdir = fragment.partition(":")
    found.ref, found.subdir = ref or None, subdir or None
    _query(found, query, where)
    if found.ref is not None:
        check_ref(found.ref, where)
    return found


def _split(address):
    import re
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise BadGitUrl(without_secrets(address), str(error)) from None
    if parts.scheme not in _SCHEMES or not address.isprintable() or " " in address:
        raise BadGitUrl(without_secrets(address), "it has letters that no address has")
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise BadGitUrl(without_secrets(address), "a file has no host")
    elif not re.fullmatch(rf"{_HOST}|[0-9A-Fa-f:.]+", parts.hostname or "") or port == 0:
        raise BadGitUrl(without_secrets(address), "the host is wrong")
    if (parts.username or "").startswith("-"):
        raise BadGitUrl(without_secrets(address), "the user is wrong")
    _check_path(address, parts.path.lstrip("/"))
    return parts


def _check_path(where, path):
    if not path or path.startswith("-"):
        raise BadGitUrl(without_secrets(where), "the path is wrong")


def check_ref(ref, where):
    """BadGitUrl for what is no name of a branch, tag or commit."""
    import re

    odd = ref.startswith(("-", "+", "/")) or ref.endswith(("/", ".lock", "."))
    if odd or re.search(_NOT_IN_REF, ref):
        raise BadGitUrl(without_secrets(where), f"{ref!r} is no branch, tag or commit")


def _query(found, query, where):
    """``?ref= &tag= &branch= &subdir= &checksum= &keep-git-dir= &submodules=``."""
    from urllib.parse import parse_qsl

    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in ("ref", "tag", "branch"):
            value = {"tag": "refs/tags/", "branch": "refs/heads/"}.get(key, "") + value
            if found.ref not in (None, value):
                raise BadGitUrl(without_secrets(where), f"it asks for {found.ref} and for {value}")
            found.ref = value
        elif key == "subdir":
            if found.subdir not in (None, value):
                raise BadGitUrl(without_secrets(where), "it names two directories")
            found.subdir = value
        elif key in ("checksum", "commit"):
            found.checksum = value
        elif key in ("keep-git-dir", "submodules") and value in _TRUE + _FALSE:
            setattr(found, key.replace("-", "_"), value in _TRUE)
        else:
            raise BadGitUrl(without_secrets(where), f"{key}={value} means nothing")
