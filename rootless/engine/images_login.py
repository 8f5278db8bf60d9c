"""login and logout: credentials for registries, tried out before they are kept."""

from rootless.engine import images, images_pull
from rootless.errors import RlError
from rootless.image.credentials import Keyring, NotLoggedIn
from rootless.image.pull import Connection
from rootless.image.registries import Endpoint
from rootless.image.registry import client
from rootless.image.registry.auth import Login, LoginRefused
from rootless.model import reference


class BadRegistry(RlError):
    """{0!r} is not the name of a registry"""

    hint = "such as quay.io or 127.0.0.1:5000"


def registry_name(engine, text):
    """(key, domain) of the registry to log in to: the first to be searched by default."""
    text = text or images.registries(engine).search[0]
    key = text.removeprefix("https://").removeprefix("http://").rstrip("/")
    domain = key.partition("/")[0]
    if not reference.is_domain(domain):
        raise BadRegistry(text)
    return key, domain


def keyring(engine, authfile=None):
    """The Keyring of this call."""
    config = engine.config
    helpers = images.registries(engine).helpers
    return Keyring(config.environ, config.home, authfile, engine.program, helpers)


def known(engine, key, authfile=None):
    """The Login kept for a registry, or None."""
    domain, _, path = key.partition("/")
    return keyring(engine, authfile).find(domain, path)


def check(engine, domain, login, tls_verify=None, cert_dir=None):
    """See that the registry takes ``login``. Raises LoginRefused, Unreachable and others."""
    settings = images.registries(engine)
    options = images_pull.options(
        engine, settings, login=login, tls_verify=tls_verify, cert_dir=cert_dir
    )
    connection = Connection(options)
    try:
        place = Endpoint(domain, "", settings.is_insecure(domain))
        registry = connection.registry(place.domain, place.host, "", place.insecure)
        registry.check(connection.session)
    except client.Denied:
        raise LoginRefused(host=domain, who=f" of {login.user}" if login.user else "") from None
    finally:
        connection.close()


def login(engine, key, user, password, authfile=None, **trust):
    """Try the credentials and keep them; the file they are in."""
    one = Login(user, password)
    check(engine, key.partition("/")[0], one, **trust)
    ring = keyring(engine, authfile)
    ring.store(key, one)
    return ring.path


def logout(engine, key, authfile=None):
    """Forget the credentials for a registry. Raises NotLoggedIn."""
    keyring(engine, authfile).erase(key)


def logout_everywhere(engine, authfile=None):
    """Forget all credentials that rl keeps."""
    keyring(engine, authfile).erase_all()


__all__ = ["BadRegistry", "LoginRefused", "NotLoggedIn", "check", "known", "login", "logout",
           "logout_everywhere", "registry_name"]  # fmt: skip
