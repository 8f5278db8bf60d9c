"""HTTP as a registry client needs it: redirects, credentials and trust in our own hands.

Built on the standard library's http.client rather than on a package above it: what such a
package adds (redirects, retries, stored credentials) is just what has to be decided here
request by request, and ``readinto`` hands a layer on without one more copy.

A ``Session`` belongs to one thread.  See RFC 9110 and, for what must never happen,
CVE-2020-15157 and python/cpython#77842: credentials that follow a redirect.
"""

import http.client
import os
import socket
import ssl
import threading
from base64 import b64encode
from urllib.parse import unquote, urljoin, urlsplit

import rootless
from rootless.errors import RlError
from rootless.image.trouble import Interrupted

MAX_REDIRECTS = 10
ERROR_LIMIT = 1 << 20
CONNECT_TIMEOUT = 20  # seconds
READ_TIMEOUT = 60  # seconds without one byte
SAME = "same"  # for Session.send: follow redirects that keep method and body
_WORTH_READING = 1 << 16  # rather than opening a new connection
_REDIRECTS = (301, 302, 303, 307, 308)
_KEEPING = (307, 308)  # those that keep method and body (RFC 9110, 15.4)
_PORTS = {"http": 80, "https": 443}


class Unreachable(RlError):
    """cannot reach {host}: {why}"""

    hint = "check the name, the network and the proxy settings (HTTPS_PROXY, NO_PROXY)"


class Untrusted(RlError):
    """{host} can't prove who it is: {why}"""

    hint = (
        "put the registry's CA certificate (*.crt) into ~/.config/containers/certs.d/{host}/, "
        "or name its directory with --cert-dir"
    )


class PlainText(RlError):
    """{host} speaks HTTP without encryption"""

    hint = "if the way to it is safe, say --tls-verify=false"


class BadRedirect(RlError):
    """{host} redirects {why}"""


class TooLarge(RlError):
    """the answer of {host} has more than {limit} bytes"""


class BadCertificates(RlError):
    """certificates in {directory} can't be used: {why}"""


def origin(url):
    """(scheme, host, port) of a URL: what credentials are bound to. Raises ValueError."""
    parts = urlsplit(url)
    plain = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in _PORTS or not parts.hostname or not plain:
        raise ValueError(f"not an HTTP address: {url[:200]!r}")
    return parts.scheme, parts.hostname.lower(), parts.port or _PORTS[parts.scheme]


def following(url, target):
    """The address that the answer of ``url`` sends us to. Raises BadRedirect."""
    where = origin(url)
    target = urljoin(url, target)
    try:
        found = origin(target)
    except ValueError:
        raise BadRedirect(host=show(where), why="to something that isn't HTTP") from None
    if where[0] == "https" and found[0] == "http":
        raise BadRedirect(host=show(where), why=f"to {show(found)} without encryption")
    return target


def show(where):
    """An origin as HOST or HOST:PORT, for messages and directory names."""
    scheme, host, port = where
    host = f"[{host}]" if ":" in host else host
    return host if port == _PORTS[scheme] else f"{host}:{port}"


# --- trust ---------------------------------------------------------------------------------


class Trust:
    """Which servers to believe, and through which proxy to go.

    ``insecure``: a function of HOST[:PORT] that says whether checks are off for it;
    ``cert_dirs``: directories that hold HOST[:PORT]/*.crt, *.cert and *.key
    (containers-certs.d(5)); ``cert_dir``: one directory for every host instead;
    ``environ``: where proxy settings are looked up.  Shared by all threads.
    """

    def __init__(self, environ, insecure=lambda host: False, cert_dir=None, cert_dirs=()):
        self.environ = environ
        self.insecure = insecure
        self.cert_dir = cert_dir
        self.cert_dirs = cert_dirs
        self._contexts = {}
        self._lock = threading.Lock()

    def context(self, where):
        """The ssl.SSLContext for an origin. Raises BadCertificates."""
        host = show(where)
        with self._lock:
            if host not in self._contexts:
                self._contexts[host] = self._make_context(host)
            return self._contexts[host]

    def _make_context(self, host):
        if self.insecure(host):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        directories = [self.cert_dir] if self.cert_dir else []
        if not directories:
            directories = [f"{base}/{host}" for base in self.cert_dirs]
        for directory in directories:
            self._load(context, directory)
        return context

    def _load(self, context, directory):
        try:
            names = sorted(os.listdir(directory))
        except OSError as error:
            if self.cert_dir:
                raise BadCertificates(directory=directory, why=error.strerror) from None
            return
        for name in names:
            path = f"{directory}/{name}"
            try:
                if name.endswith(".crt"):
                    context.load_verify_locations(path)
                elif name.endswith(".cert"):
                    context.load_cert_chain(path, path.removesuffix(".cert") + ".key")
            except (OSError, ssl.SSLError) as error:
                why = f"{name}: {error.strerror or error}"
                raise BadCertificates(directory=directory, why=why) from None

    def proxy(self, where):
        """The URL of the proxy for an origin, or None (curl(1) has the variables)."""
        scheme, host, port = where
        found = self._variable(f"{scheme}_proxy") or self._variable("all_proxy")
        if not found:
            return None
        for entry in self._variable("no_proxy").lower().split(","):
            entry = entry.strip()
            if entry == "*" or entry in (host, f"{host}:{port}"):
                return None
            entry = entry.removeprefix("*").removeprefix(".")
            if entry and host.endswith(f".{entry}"):
                return None
        return found if "://" in found else f"http://{found}"

    def _variable(self, name):
        found = self.environ.get(name)
        # HTTP_PROXY in capitals may be a header of a web server's request (CVE-2016-5385).
        if found is None and name != "http_proxy":
            found = self.environ.get(name.upper())
        return found or ""


# What goes wrong on a connection that was good before.
_BROKEN = (http.client.BadStatusLine, ConnectionError, TimeoutError, ssl.SSLEOFError,
           ssl.SSLZeroReturnError)  # fmt: skip


# --- requests ------------------------------------------------------------------------------


class Response:
    """An answer: ``status``, ``headers`` (get is case-insensitive), ``url``, the body."""

    def __init__(self, session, where, raw, url):
        self._session = session
        self._where = where
        self._raw = raw
        self.url = url
        self.status = raw.status
        self.headers = raw.headers
        self._data = None

    @property
    def host(self):
        """Who sent it, as HOST[:PORT]."""
        return show(self._where)

    def readinto(self, buffer):
        """Fill ``buffer`` from the body; the number of bytes, 0 at its end.

        Raises Interrupted where the connection breaks.
        """
        try:
            return self._raw.readinto(buffer)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Interrupted(5, reason(error)) from None

    def read(self, limit):
        """The whole body as bytes, also when asked again. Raises TooLarge beyond ``limit``
        bytes, Interrupted."""
        if self._data is not None:
            return self._data
        expected = self._raw.length
        if expected is not None and expected > limit:
            self.close()
            raise TooLarge(host=self.host, limit=limit)
        try:
            data = self._raw.read(limit + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Interrupted(5, reason(error)) from None
        if len(data) > limit:
            self.close()
            raise TooLarge(host=self.host, limit=limit)
        if expected is not None and len(data) < expected:
            self.close()
            raise Interrupted(5, "the answer ended too early")
        self._data = data
        return data

    def close(self):
        """Drop the body; the connection lives on if little or nothing of it is left."""
        if self._raw.isclosed():
            return
        try:
            if self._raw.length is not None and self._raw.length <= _WORTH_READING:
                self._raw.read()
                return
        except (OSError, http.client.HTTPException):
            pass  # the connection is dropped below
        self._raw.close()
        self._session.drop(self._where)


class Session:
    """HTTP connections of one thread, kept open per origin."""

    def __init__(self, trust):
        self.trust = trust
        self._connections = {}

    def abort(self):
        """Cut every connection, from any thread: whoever reads gets an error at once."""
        for connection in list(self._connections.values()):
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except (OSError, AttributeError):
                pass  # it is closed, or not open yet

    def close(self):
        """Close every connection."""
        for where in list(self._connections):
            self.drop(where)

    def drop(self, where):
        """Close the connection to one origin."""
        connection = self._connections.pop(where, None)
        if connection is not None:
            connection.close()

    def send(self, method, url, headers=None, body=None, authorization=None, follow=True,
             timeout=READ_TIMEOUT):  # fmt: skip
        """One request, its redirects followed: a Response, whatever its status.

        ``authorization`` is (origin, value of the header) and is sent to that origin alone.
        ``body``: bytes, or an iterable of pieces that begins anew each time (then headers
        must have a Content-Length).  What isn't a GET or HEAD is redirected only with
        ``follow`` = SAME, which no request may have whose body holds a secret.  ``timeout``:
        seconds without one byte.
        Raises Unreachable, Untrusted, PlainText, BadRedirect; OSError that may go away.
        """
        for _ in range(MAX_REDIRECTS + 1):
            where = origin(url)
            fields = {"User-Agent": f"rl/{rootless.__version__}", **(headers or {})}
            if authorization and authorization[0] == where:
                fields["Authorization"] = authorization[1]
            response = self._exchange(method, where, url, fields, body, timeout)
            target = response.headers.get("Location")
            if not follow or response.status not in _REDIRECTS or not target:
                return response
            response.close()
            keeping = follow == SAME and response.status in _KEEPING
            if method not in ("GET", "HEAD") and not keeping:
                raise BadRedirect(host=response.host, why=f"a {method} request")
            url = following(url, target)
        raise BadRedirect(host=show(where), why=f"more than {MAX_REDIRECTS} times")

    def _exchange(self, method, where, url, headers, body, timeout):
        parts = urlsplit(url)
        target = parts.path or "/"
        if parts.query:
            target += f"?{parts.query}"
        proxy = self.trust.proxy(where)
        if proxy and where[0] == "http":
            target = f"http://{parts.netloc.rpartition('@')[2]}{target}"
            headers = {**headers, **_proxy_credentials(proxy)}
        for attempt in (1, 2):
            connection = self._connections.get(where)
            # A server that said "Connection: close" has left one without a socket.
            fresh = connection is None or connection.sock is None
            if fresh:
                connection = self._connections[where] = self._connect(where, proxy)
            try:
                connection.sock.settimeout(timeout)
                connection.request(method, target, body, headers)
                return Response(self, where, connection.getresponse(), url)
            except (OSError, http.client.HTTPException) as error:
                early = self._early(where, connection, url) if body is not None else None
                if early is not None:
                    return early
                self.drop(where)
                # A server may close an idle connection at any moment: that is no failure.
                # Of a stream it may have taken a part: whoever sends it has to ask.
                again = attempt == 1 and not fresh and (body is None or isinstance(body, bytes))
                if again and not isinstance(error, TimeoutError):
                    continue
                if isinstance(error, _BROKEN):
                    raise Interrupted(5, f"{show(where)}: {reason(error)}") from None
                raise Unreachable(host=show(where), why=reason(error)) from None
            except BaseException:
                self.drop(where)  # half a request is on its way
                raise

    def _early(self, where, connection, url):
        """The answer of a server that didn't want to read all of a request, or None.

        Such a server closes the connection, and sending fails before the answer is read.
        """
        try:
            response = Response(self, where, connection.getresponse(), url)
            if response.status < 300:
                return None
            response.read(ERROR_LIMIT)
            return response
        except (OSError, http.client.HTTPException, TooLarge):
            return None
        finally:
            self.drop(where)

    def _connect(self, where, proxy):
        scheme, host, port = where
        via = (host, port)
        if proxy:
            try:
                _, *via = origin(proxy)
            except ValueError:
                raise Unreachable(host=proxy, why="the proxy's address makes no sense") from None
        if scheme == "https":
            context = self.trust.context(where)
            connection = http.client.HTTPSConnection(
                *via, timeout=CONNECT_TIMEOUT, context=context
            )
            if proxy:
                connection.set_tunnel(host, port, _proxy_credentials(proxy))
        else:
            connection = http.client.HTTPConnection(*via, timeout=CONNECT_TIMEOUT)
        try:
            connection.connect()
            return connection
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _connect_error(where, error) from None


def _proxy_credentials(proxy):
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": "Basic " + b64encode(pair.encode()).decode()}


def _connect_error(where, error):
    host = show(where)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Untrusted(host=host, why=error.verify_message)
    if isinstance(error, ssl.SSLError):
        if error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"):
            return PlainText(host=host)
        return Untrusted(host=host, why=reason(error))
    if isinstance(error, ConnectionResetError):
        return Interrupted(5, f"{host}: {reason(error)}")
    return Unreachable(host=host, why=reason(error))


def reason(error):
    """What went wrong, in a few words."""
    if isinstance(error, socket.gaierror):
        return "its name is unknown" if error.errno in (-2, -3, -5) else error.strerror.lower()
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    if isinstance(error, http.client.IncompleteRead):
        return "the answer ended too early"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection without an answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__
