"""rl login"""

import sys

from rootless.cli import output
from rootless.errors import RlError


class NoUser(RlError):
    """a user name is needed"""

    hint = "rl login --username USER {0}"


class NoPassword(RlError):
    """a password is needed"""

    hint = "rl login --username USER --password-stdin {0} < FILE"


class TwoPasswords(RlError):
    """--password and --password-stdin exclude each other"""


def main(engine, request):
    """Log in to a registry."""
    from rootless.engine import images_login

    key, domain = images_login.registry_name(engine, request.args[0] if request.args else None)
    known = images_login.known(engine, key, request.authfile)
    if request.get_login:
        if known is None:
            raise images_login.NotLoggedIn(host=key)
        output.line(known.user or "<token>")
        return 0
    trust = {
        "tls_verify": request.tls_verify if "tls_verify" in request.given else None,
        "cert_dir": request.cert_dir,
    }
    if request.password is not None and request.password_stdin:
        raise TwoPasswords()
    typed = request.username or request.password is not None or request.password_stdin
    if known is not None and not typed and _still_good(engine, domain, key, known, trust):
        return 0
    user = request.username or _ask_user(key, known)
    password = request.password
    if request.password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif password is None:
        password = _ask_password(key)
    path = images_login.login(engine, key, user, password, request.authfile, **trust)
    if request.verbose:
        output.line(f"Used: {path}")
    output.line("Login Succeeded!")
    return 0


def _still_good(engine, domain, key, known, trust):
    """Whether what was kept before still opens the registry."""
    from rootless.engine import images_login

    output.line(f"Authenticating with existing credentials for {key}")
    try:
        images_login.check(engine, domain, known, **trust)
    except images_login.LoginRefused:
        output.line("Existing credentials are invalid, please enter valid username and password")
        return False
    output.line(f"Existing credentials are valid. Already logged in to {key}")
    return True


def _ask_user(key, known):
    if not sys.stdin.isatty():
        raise NoUser(key)
    before = f" ({known.user})" if known is not None and known.user else ""
    sys.stderr.write(output.escape_for(sys.stderr, f"Username{before}: "))
    sys.stderr.flush()
    return sys.stdin.readline().strip() or (known.user if known else None) or _no_user(key)


def _no_user(key):
    raise NoUser(key)


def _ask_password(key):
    import getpass

    if not sys.stdin.isatty():
        raise NoPassword(key)
    return getpass.getpass("Password: ")
