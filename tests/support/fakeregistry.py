"""A registry in this process that misbehaves on demand and remembers what it was asked."""

import base64
import hashlib
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


def digest_of(data):
    """``sha256:HEX`` of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class FakeRegistry:
    """A registry on loopback; use it in a ``with``.

    ``add(image, repository, tag)`` puts a support.oci.Image there, ``index`` a list of
    platforms.  ``requests``: (method, path, headers) of everything that came.  What is to go
    wrong is set by ``script[path] = [behaviour, …]``: each request to the path takes the
    next one, and the last of them goes on for ever if it is in ``lasting``.  A behaviour is
    a function of the handler that answers the request itself, or None for the usual answer.

    What is pushed lands in ``manifests``, ``blobs`` and ``holds`` (repository → digests).
    Uploads are /v2/NAME/blobs/uploads/1, 2, …; ``begun`` has their bytes.  ``mounts``: blobs
    may be mounted; ``resumes``: it tells how far an upload came; ``elsewhere``: the start of
    the addresses that uploads are sent to; ``largest``: the most bytes of one request.
    """

    def __init__(self, certificate=None, key=None):
        self.manifests, self.blobs, self.script = {}, {}, {}
        self.lasting = set()
        self.requests = []
        self.users, self.tokens, self.realm = {}, None, None
        self.ranges = True
        self.holds, self.begun, self.mounts, self.resumes = {}, {}, True, True
        self.elsewhere, self.largest = "", None
        self.lock = threading.Lock()
        registry = self

        class Handler(_Handler):
            owner = registry

        self.server = _Server(("127.0.0.1", 0), Handler)
        self.scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme = "https"
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"{self.scheme}://{self.address}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    # -- what is in it --

    def add(self, image, repository, tag="latest"):
        """Offer an image: its full name."""
        self.blobs.update(image.blobs)
        data = image.blobs[image.manifest["digest"]]
        self.offer(data, image.manifest["mediaType"], tag, image.manifest["digest"])
        return f"{self.address}/{repository}:{tag}"

    def offer(self, data, media_type, *references):
        """Offer any bytes as a manifest."""
        for reference in references:
            self.manifests[reference] = (data, media_type)

    def add_index(self, images, repository, tag="latest"):
        """Offer several images as one; ``images``: (platform dict, support.oci.Image)."""
        entries = []
        for platform, image in images:
            self.add(image, repository, image.manifest["digest"])
            entries.append({**image.manifest, "platform": platform})
        kind = "application/vnd.oci.image.index.v1+json"
        document = {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
        self.offer(json.dumps(document).encode(), kind, tag)
        return f"{self.address}/{repository}:{tag}"

    # -- what it remembers --

    def paths(self, part=""):
        """The paths asked for that have ``part`` in them."""
        return [path for _, path, _ in self.requests if part in path]

    def headers(self, name, part=""):
        """The values of a header in the requests whose path has ``part`` in it."""
        return [headers.get(name) for _, path, headers in self.requests if part in path]

    def blob_path(self, repository, digest):
        return f"/v2/{repository}/blobs/{digest}"

    # -- behaviours --

    @staticmethod
    def status(code, body=b"{}", **headers):
        """Answer with a status."""

        def behave(handler):
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            handler.reply(code, body, fields)

        return behave

    @staticmethod
    def redirect(url, code=307):
        """Send it elsewhere."""
        return FakeRegistry.status(code, b"", Location=url)

    def cut(self, digest, after):
        """Send the first bytes of a blob, then break the connection."""

        def behave(handler):
            data, start = self.part(handler, digest)
            handler.begin(206 if start else 200, len(data), start, len(self.blobs[digest]))
            handler.wfile.write(data[:after])
            handler.wfile.flush()
            handler.close_connection = True

        return behave

    def send(self, data, code=200):
        """Send other bytes."""
        return self.status(code, data)

    @staticmethod
    def break_after(count):
        """Take the first bytes of an upload, then break the connection."""

        def behave(handler):
            name = handler.path.partition("?")[0].rpartition("/")[2]
            handler.owner.begun[name] += handler.rfile.read(count)
            handler.close_connection = True

        return behave

    def part(self, handler, digest):
        """(the bytes wanted, where they start) of a blob by the Range header."""
        data, wanted = self.blobs[digest], handler.headers.get("Range")
        if not wanted or not self.ranges:
            return data, 0
        start = int(wanted.partition("=")[2].partition("-")[0])
        return data[start:], start


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients that hang up are what is tested here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner = None
    left = 0  # bytes of the body that nobody has read

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_PUT(self):
        # The body is read by who wants it; a refusal doesn't.
        self.left = int(self.headers.get("Content-Length") or 0)
        self.do_GET()
        self.close_connection |= self.left > 0

    do_PATCH = do_DELETE = do_PUT

    def take(self):
        """The body of a PUT or PATCH."""
        count, self.left = self.left, 0
        data = self.rfile.read(count)
        if len(data) < count:
            raise ConnectionError("half a request")
        return data

    def do_GET(self):
        owner = self.owner
        path = urlsplit(self.path).path
        owner.requests.append((self.command, self.path, dict(self.headers)))
        steps = owner.script.get(path)
        if steps:
            step = steps[0] if len(steps) == 1 and path in owner.lasting else steps.pop(0)
            if step is not None:
                step(self)
                return
        if path == "/token":
            self._token()
        elif not self._allowed():
            self._challenge()
        else:
            self._serve(path)

    def _serve(self, path):
        owner, parts = self.owner, path.split("/")
        if path == "/v2/":
            self.reply(200, b"{}")
        elif "uploads" in parts:
            self._upload("/".join(parts[2 : parts.index("blobs")]), parts[-1])
        elif self.command == "PUT":
            data = self.take()
            owner.offer(data, self.headers["Content-Type"], parts[-1])
            self.reply(201, b"", {"Docker-Content-Digest": digest_of(data)})
        elif self.command == "HEAD" and "blobs" in parts:
            held = owner.holds.get("/".join(parts[2 : parts.index("blobs")]), ())
            self.reply(200 if parts[-1] in held else 404, b"")
        elif "manifests" in parts and parts[-1] in owner.manifests:
            data, kind = owner.manifests[parts[-1]]
            self.reply(200, data, {"Content-Type": kind, "Docker-Content-Digest": digest_of(data)})
        elif "blobs" in parts and parts[-1] in owner.blobs:
            data, start = owner.part(self, parts[-1])
            self.begin(206 if start else 200, len(data), start, len(owner.blobs[parts[-1]]))
            self.wfile.write(data)
        elif path.endswith("/tags/list"):
            tags = [name for name in owner.manifests if ":" not in name]
            self.reply(200, json.dumps({"name": "x", "tags": tags}).encode())
        else:
            errors = [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]
            self.reply(404, json.dumps({"errors": errors}).encode())

    # -- uploads --

    def _upload(self, repository, name):
        owner, query = self.owner, parse_qs(urlsplit(self.path).query)
        held = owner.holds.setdefault(repository, set())
        if self.command == "POST":
            digest = query.get("mount", [None])[0]
            if digest and owner.mounts and digest in owner.holds.get(query["from"][0], ()):
                held.add(digest)
                self.reply(201, b"")
                return
            with owner.lock:
                name = str(len(owner.begun) + 1)
                owner.begun[name] = b""
            self._goes_on(repository, name)
        elif name not in owner.begun or (self.command == "GET" and not owner.resumes):
            self.reply(404, b"{}")
        elif owner.largest is not None and self.left > owner.largest:
            self.reply(413, b"<html>too large</html>")
        elif self.command == "GET":
            self._goes_on(repository, name, 204)
        elif self.command == "DELETE":
            del owner.begun[name]
            self.reply(204, b"")
        elif self._out_of_order(owner.begun[name]):
            self.reply(416, b"")
        else:
            owner.begun[name] += self.take()
            if self.command == "PATCH":
                self._goes_on(repository, name)
            elif digest_of(owner.begun[name]) != query["digest"][0]:
                errors = [{"code": "DIGEST_INVALID", "message": "digest did not match"}]
                self.reply(400, json.dumps({"errors": errors}).encode())
            else:
                held.add(query["digest"][0])
                owner.blobs[query["digest"][0]] = owner.begun.pop(name)
                self.reply(201, b"")

    def _out_of_order(self, data):
        start = (self.headers.get("Content-Range") or f"{len(data)}-").partition("-")[0]
        return int(start) != len(data)

    def _goes_on(self, repository, name, code=202):
        count = len(self.owner.begun[name])
        fields = {"Location": f"{self.owner.elsewhere}/v2/{repository}/blobs/uploads/{name}?s=1"}
        if self.owner.resumes:
            fields["Range"] = f"0-{max(0, count - 1)}"
        self.reply(code, b"", fields)

    # -- authentication --

    def _login(self):
        value = self.headers.get("Authorization") or ""
        if not value.startswith("Basic "):
            return None
        user, _, password = base64.b64decode(value[6:]).decode().partition(":")
        return user if self.owner.users.get(user) == password else None

    def _allowed(self):
        owner = self.owner
        if owner.tokens is not None:
            value = self.headers.get("Authorization") or ""
            return value.removeprefix("Bearer ") in owner.tokens
        return not owner.users or self._login() is not None

    def _challenge(self):
        owner = self.owner
        value = 'Basic realm="test"'
        if owner.tokens is not None:
            realm = owner.realm or f"{owner.url}/token"
            value = f'Bearer realm="{realm}",service="test",scope="repository:x:pull"'
        self.reply(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', {"WWW-Authenticate": value})

    def _token(self):
        owner = self.owner
        if owner.users and self._login() is None:
            self.reply(401, b"{}")
            return
        scope = parse_qs(urlsplit(self.path).query).get("scope", [""])[0]
        token = f"token-{len(owner.tokens)}-{scope.replace(':', '.').replace('/', '.')}"
        owner.tokens.add(token)
        self.reply(200, json.dumps({"token": token, "expires_in": 300}).encode())

    # -- answers --

    def begin(self, code, length, start=0, whole=0):
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        if code == 206:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.end_headers()

    def reply(self, code, body, headers=None):
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
