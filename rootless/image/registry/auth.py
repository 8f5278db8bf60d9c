"""Proving who we are to a registry: challenges, tokens, basic authentication.

distribution "token authentication" and "OAuth2" specifications; RFC 9110 section 11.
"""

import threading
import time
from base64 import b64encode
from urllib.parse import urlencode

from rootless.errors import RlError
from rootless.image.registry import http
from rootless.model import jsontext

_TOKEN_LIFE = 60  # seconds: what the specification says where the answer doesn't
_MARGIN = 5


class LoginRefused(RlError):
    """{host} doesn't accept the user name and password{who}"""

    hint = "rl login {host}"


class BadChallenge(RlError):
    """{host} asks for a way to log in that rl doesn't know: {challenge!r}"""


class BadToken(RlError):
    """{host} answers the request for a token with {why}"""


class Login:
    """What to prove it with: ``user`` and ``password``, or an identity ``token``."""

    __slots__ = ("user", "password", "token")

    def __init__(self, user=None, password=None, token=None):
        self.user = user
        self.password = password
        self.token = token

    @property
    def basic(self):
        """The value of an Authorization header."""
        return "Basic " + b64encode(f"{self.user}:{self.password}".encode()).decode()


def parse_challenge(text):
    """(scheme, parameters) pairs of a WWW-Authenticate header, schemes in lower case."""
    found, position = [], 0
    while position < len(text):
        word, position = _word(text, position)
        if not word:
            position += 1
            continue
        if text[position : position + 1] == "=" and found:
            value, position = _value(text, position + 1)
            found[-1][1][word.lower()] = value
        else:
            found.append((word.lower(), {}))
    return found


def _word(text, start):
    end = start
    while end < len(text) and text[end] not in ' ,="\t':
        end += 1
    return text[start:end], end


def _value(text, start):
    if text[start : start + 1] != '"':
        return _word(text, start)
    pieces, position = [], start + 1
    while position < len(text) and text[position] != '"':
        if text[position] == "\\":
            position += 1
        pieces.append(text[position : position + 1])
        position += 1
    return "".join(pieces), position + 1


class Authenticator:
    """The authorizations of one registry, shared by the threads that talk to it.

    ``where`` is the registry's origin, to which what ``header`` gives is bound; ``login`` is
    a Login or None (anonymous).
    """

    def __init__(self, where, login=None):
        self.where = where
        self.login = login
        self._basic = False
        self._tokens = {}
        self._challenge = None
        self._lock = threading.RLock()

    def header(self, scope):
        """(origin, Authorization value) for requests within ``scope``; None if none is known.

        ``scope`` may be several, with blanks between them.
        """
        with self._lock:
            if self._basic:
                return self.where, self.login.basic
            token, ends = self._tokens.get(scope, (None, 0))
            if token and time.monotonic() < ends:
                return self.where, f"Bearer {token}"
            return None

    def prepare(self, session, scope):
        """``header``, with a new token where the old one has run out."""
        with self._lock:
            found = self.header(scope)
            if found is None and self._challenge is not None:
                self._fetch(session, self._challenge, scope)
                found = self.header(scope)
            return found

    def answer(self, session, response, scope, used):
        """Meet the challenge of a 401 ``response`` to a request that carried ``used`` (what
        ``header`` gave).  True if the request should be sent again.

        Raises LoginRefused, BadChallenge, BadToken and what Session.send raises.
        """
        challenges = parse_challenge(response.headers.get("WWW-Authenticate") or "")
        with self._lock:
            now = self.header(scope)
            if now is not None and now != used:
                return True  # another thread has met the same challenge in the meantime
            for scheme, parameters in challenges:
                if scheme == "bearer" and parameters.get("realm"):
                    if used is not None and parameters.get("error") != "invalid_token":
                        # A token for all that we may do did not help: no right, no login.
                        return False
                    self._tokens.pop(scope, None)
                    self._challenge = parameters
                    self._fetch(session, parameters, scope)
                    return used is None or self.header(scope) != used
                if scheme == "basic":
                    if used is not None or self.login is None or self.login.user is None:
                        return False
                    self._basic = True
                    return True
        named = response.headers.get("WWW-Authenticate")
        if named and not any(scheme in ("bearer", "basic") for scheme, _ in challenges):
            raise BadChallenge(host=http.show(self.where), challenge=named[:200])
        return False

    def _fetch(self, session, parameters, scope):
        realm = parameters["realm"]
        try:
            target = http.origin(realm)
        except ValueError:
            raise BadChallenge(host=http.show(self.where), challenge=realm[:200]) from None
        if self.where[0] == "https" and target[0] == "http":
            # The password would go over the wire in the clear.
            raise BadChallenge(host=http.show(self.where), challenge=realm[:200])
        scopes = sorted({*scope.split(), *parameters.get("scope", "").split()})
        if self.login is not None and self.login.token:
            response = self._refresh(session, realm, parameters, scopes)
        else:
            fields = [("service", parameters["service"])] if "service" in parameters else []
            fields += [("scope", one) for one in scopes]
            authorization = None
            if self.login is not None:
                fields.append(("account", self.login.user))
                authorization = (target, self.login.basic)
            url = realm + ("&" if "?" in realm else "?") + urlencode(fields)
            response = session.send("GET", url, authorization=authorization)
        self._tokens[scope] = self._read(response)

    def _refresh(self, session, realm, parameters, scopes):
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self.login.token,
            "service": parameters.get("service", ""),
            "scope": " ".join(scopes),
            "client_id": "rl",
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return session.send("POST", realm, headers, urlencode(form).encode())

    def _read(self, response):
        """(token, when it ends) from the answer of a token server."""
        data = response.read(http.ERROR_LIMIT)
        if response.status in (400, 401, 403) and self.login is not None:
            who = f" of {self.login.user}" if self.login.user else ""
            raise LoginRefused(host=http.show(self.where), who=who)
        if response.status >= 500 or response.status == 429:
            raise http.Interrupted(5, f"{response.host} answers {response.status}")
        if response.status != 200:
            raise BadToken(host=response.host, why=f"status {response.status}")
        try:
            document = jsontext.loads(data)
        except jsontext.DecodeError:
            raise BadToken(host=response.host, why="something that isn't JSON") from None
        token = None
        if isinstance(document, dict):
            token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise BadToken(host=response.host, why="no token")
        life = document.get("expires_in")
        if not isinstance(life, int) or life < _TOKEN_LIFE:
            life = _TOKEN_LIFE
        return token, time.monotonic() + life - _MARGIN
