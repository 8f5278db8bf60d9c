"""What a context needs of the world around: the store, the network, programs, settings."""

import os

# What git and ssh may want to know; nothing else of the caller's environment reaches them.
_PASSED = (
    "HOME", "PATH", "LANG", "USER", "LOGNAME", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME",
    "GIT_SSH", "GIT_SSH_COMMAND", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO",
)  # fmt: skip
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class Outside:
    """``store``: where temporary files go; ``environ``: the caller's environment;
    ``program``: function name → absolute path or None; ``stdin``: descriptor for ``-``;
    ``trust``: http.Trust, by default one of ``environ``; ``attempts``: how often to try;
    ``delay``: seconds before the second try, twice as long before each further one.
    """

    def __init__(self, store, environ, program, stdin=0, trust=None, attempts=4, delay=1.0):
        self.store = store
        self.environ = environ
        self.program = program
        self.stdin = stdin
        self._trust = trust
        self.attempts = attempts
        self.delay = delay

    @property
    def trust(self):
        """The http.Trust of all that is fetched."""
        if self._trust is None:
            from rootless.image.registry import http

            self._trust = http.Trust(self.environ)
        return self._trust

    def environment(self):
        """The environment for git (a dict)."""
        names = (*_PASSED, *_PROXIES, *(name.upper() for name in _PROXIES))
        found = {name: self.environ[name] for name in names if name in self.environ}
        found.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
        return found

    def scratch_file(self):
        """A descriptor of an empty file without a name, on the store's file system."""
        with self.store.tmp.make("download") as work:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            descriptor = os.open("data", flags, 0o600, dir_fd=work.descriptor)
            os.unlink("data", dir_fd=work.descriptor)
            return descriptor
