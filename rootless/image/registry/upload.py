"""Sending to a registry: blobs in one piece or in several, and manifests.

OCI distribution-spec 1.1, "Push": HEAD, then POST (which may mount the blob from another
repository), PATCH with the bytes, PUT with the digest.  Waiting and trying again is
``attempts``'; a broken upload goes on where the registry says that it stopped.
"""

import os

from rootless.errors import RlError
from rootless.image.registry import client, http
from rootless.image.trouble import Interrupted

_SMALL = 1 << 20  # bytes that go with the PUT, which saves a request
_PIECE = 256 << 10
# How much one request may carry, where a proxy on the way refuses the whole (413).
_CHUNKS = (32 << 20, 8 << 20)
_COMMIT_TIMEOUT = 600  # seconds: registries move and hash the blob before they answer
_GOES_ON = 1 << 20  # bytes that make an attempt count as a new start
_MOST_MOUNTS = 3
_OCTETS = {"Content-Type": "application/octet-stream"}


class NotSent(RlError):
    """sending {what} to {host} failed {tries}: {why}"""

    hint = "try again; --retry and --retry-delay change how often and how soon"


class TooBig(RlError):
    """{host} takes no {what} of {size} bytes{said}"""

    hint = "the limit is the registry's or a proxy's before it; its administrator can raise it"


class Full(RlError):
    """{host} has no space left for {what}{said}"""

    hint = "remove images there, or ask its administrator"


class NoRepository(RlError):
    """{host} has no repository {name}{said}"""

    hint = "check the name for a typo; some registries want a repository to be made there first"


class ReadOnly(RlError):
    """{host} takes no images{said}"""

    hint = "it may be a mirror, or set to read-only: push to another registry"


class Refused(RlError):
    """{host} doesn't accept {what}{said}"""

    hint = "if the name is right: rl system check says whether the image is damaged here"


class WrongAnswer(RlError):
    """{host} answers an upload with {why}"""


class Unreadable(RlError):
    """cannot read {path}: {why}"""

    hint = "rl system check says what is damaged"


class Source:
    """The bytes of a file, to be sent from any offset, as often as need be.

    ``path`` is read by ``descriptor``; ``tell(count)`` hears of bytes that go out for the
    first time; ``check()`` may raise to end it.
    """

    def __init__(self, path, size, tell=lambda count: None, check=lambda: None):
        self.path = path
        self.size = size
        self._tell = tell
        self._check = check
        self._told = 0
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def between(self, start, end):
        """An iterable over these bytes, for http.Session.send."""
        return _Span(self, start, end)

    def read_into(self, buffer, position):
        """Fill ``buffer`` from ``position`` on; how many bytes that were. Unreadable."""
        self._check()
        try:
            count = os.preadv(self._file, [buffer], position)
        except OSError as error:
            raise Unreadable(path=self.path, why=error.strerror) from None
        if not count:
            raise Unreadable(path=self.path, why="it is shorter than it should be")
        return count

    def sent(self, position):
        """Everything before ``position`` went out."""
        if position > self._told:
            self._tell(position - self._told)
            self._told = position

    def close(self):
        os.close(self._file)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class _Span:
    def __init__(self, source, start, end):
        self.source, self.start, self.end = source, start, end

    def __iter__(self):
        buffer = memoryview(bytearray(min(_PIECE, self.end - self.start)))
        position = self.start
        while position < self.end:
            count = self.source.read_into(buffer[: self.end - position], position)
            yield buffer[:count]
            position += count
            self.source.sent(position)


class Target:
    """A repository to send to, through one thread's ``session``."""

    def __init__(self, registry, session, repository):
        self.registry = registry
        self.session = session
        self.repository = repository
        self._path = f"{registry.path}{repository}"
        self._scope = registry.scope(repository, "pull,push")
        self._chunk = None
        self._location = None

    def _send(self, method, path, headers=None, body=None, scope=None, **how):
        return self.registry.send(
            self.session, method, path, scope or self._scope, headers, body,
            follow=http.SAME, **how,
        )  # fmt: skip

    def _error(self, response, what, size=0):
        """The error for a status from 400 on."""
        host, status, said = self.registry.domain, response.status, client.words(response)
        if status == 400:
            return Refused(host=host, what=what, said=said or ": status 400")
        if status == 404:
            return NoRepository(host=host, name=self.repository, said=said)
        if status == 405:
            return ReadOnly(host=host, said=said)
        if status == 413:
            return TooBig(host=host, what=what, size=size, said=said)
        if status == 507:
            return Full(host=host, what=what, said=said)
        return self.registry.error(response, self.repository)

    def attempts(self, what, work, reached=lambda: 0):
        """``work()``, again while the trouble goes away; ``reached`` counts its progress."""
        retry, attempt, before = self.registry.retry, 1, 0
        while True:
            try:
                return work()
            except Interrupted as error:
                if reached() - before > _GOES_ON:
                    attempt, before = 1, reached()
                if attempt > retry.times:
                    raise self._give_up(what, attempt, error) from None
                retry.wait(attempt, error)
                attempt += 1

    def _give_up(self, what, attempt, error):
        host = self.registry.domain
        if getattr(error, "throttled", False):
            return client.Throttled(host=host, when="")
        tries = "1 time" if attempt == 1 else f"{attempt} times"
        return NotSent(what=what, host=host, tries=tries, why=error.strerror)

    # -- blobs --

    def has(self, digest):
        """Whether the repository has the blob."""
        return self.attempts(f"the question for {digest}", lambda: self._has(digest))

    def _has(self, digest):
        response = self._send("HEAD", f"{self._path}/blobs/{digest}")
        if response.status >= 400 and response.status != 404:
            raise self._error(response, f"the blob {digest}")
        response.close()
        return response.status == 200

    def mount(self, digest, repositories):
        """Have the registry take the blob from one of its other ``repositories``.

        The name of that repository, or None: then it has to be sent.
        """
        for origin in list(repositories)[:_MOST_MOUNTS]:
            self._cancel()
            scope = f"{self._scope} {self.registry.scope(origin)}"
            query = f"?mount={digest}&from={self.registry.path}{origin}"
            path = f"{self._path}/blobs/uploads/{query}"
            try:
                response = self._send("POST", path, scope=scope)
            except Interrupted:
                return None
            except http.Unreachable:
                raise
            except RlError:
                continue  # perhaps no token for that repository: it is only a short cut
            response.close()
            if response.status == 201:
                return origin
            if response.status == 202 and response.headers.get("Location"):
                # It has begun an upload instead, which will do if no other has the blob.
                self._location = http.following(response.url, response.headers["Location"])
        return None

    def _cancel(self):
        """Give up an upload that has begun; the registry would find out by itself later."""
        location, self._location = self._location, None
        if location:
            try:
                self._send("DELETE", location).close()
            except (RlError, OSError):
                pass

    def upload(self, digest, source):
        """Send the blob ``digest`` out of a Source. Raises what there is to raise here."""
        what = f"the blob {digest}"
        state = _State()
        try:
            self.attempts(
                what, lambda: self._go_on(what, digest, source, state), lambda: state.most
            )
        finally:
            self._location = None

    def _go_on(self, what, digest, source, state):
        """Begin an upload or go on with the broken one, up to the end."""
        small = source.size <= _SMALL
        if state.tried:
            if self._has(digest):  # the answer got lost, or somebody else has sent it
                return
            offset = 0 if small or not self._location else self._ask()
            if not 0 < offset <= source.size:
                offset, self._location = 0, None
            state.reach(offset)
        state.tried = True
        if self._location is None:
            self._begin(what)
        if not small:
            self._patch(what, source, state)
        self._commit(what, digest, source, 0 if small else source.size)

    def _begin(self, what):
        response = self._send("POST", f"{self._path}/blobs/uploads/")
        if response.status >= 400:
            raise self._error(response, what)
        self._location = self._next(response)

    def _next(self, response):
        """Where an upload goes on, by an answer to it."""
        target = response.headers.get("Location")
        response.close()
        if response.status not in (200, 201, 202, 204):
            raise self._wrong(response)
        if not target and not self._location:
            raise WrongAnswer(host=self.registry.domain, why="no address to send to")
        return http.following(response.url, target) if target else self._location

    def _wrong(self, response):
        response.close()
        return WrongAnswer(host=self.registry.domain, why=f"status {response.status}")

    def _ask(self):
        """The offset at which the broken upload goes on, 0 if it can't."""
        try:
            response = self._send("GET", self._location)
            offset = _received(response)
            self._location = self._next(response)
            return offset
        except (RlError, Interrupted):
            return 0

    def _patch(self, what, source, state):
        """Send the bytes from ``state.offset`` on."""
        while state.offset < source.size:
            begin = state.offset
            end = min(source.size, begin + (self._chunk or source.size))
            headers = {**_OCTETS, "Content-Length": str(end - begin)}
            if begin or end < source.size:
                headers["Content-Range"] = f"{begin}-{end - 1}"
            body = source.between(begin, end)
            response = self._send("PATCH", self._location, headers, body)
            if response.status == 413 and self._smaller(end - begin):
                # A proxy has let nothing of it through, or a part: begin again.
                response.close()
                self._cancel()
                self._begin(what)
                state.offset = 0
                continue
            if response.status == 416:
                response.close()
                raise Interrupted(5, "it has lost count of the bytes")
            if response.status >= 400:
                raise self._error(response, what, source.size)
            reached = _received(response)
            self._location = self._next(response)
            # It may have taken less than all; many don't tell.
            state.reach(reached if begin < reached < end else end)

    def _smaller(self, size):
        """Choose smaller pieces than ``size``; False if there are none."""
        fitting = [chunk for chunk in _CHUNKS if chunk < size]
        if fitting:
            self._chunk = fitting[0]
        return bool(fitting)

    def _commit(self, what, digest, source, start):
        """The PUT that ends an upload, with the bytes from ``start`` on."""
        mark = "&" if "?" in self._location else "?"
        headers = {**_OCTETS, "Content-Length": str(source.size - start)}
        body = source.between(start, source.size) if start < source.size else b""
        response = self._send(
            "PUT", f"{self._location}{mark}digest={digest}", headers, body,
            timeout=_COMMIT_TIMEOUT,
        )  # fmt: skip
        if response.status in (404, 416):
            response.close()
            raise Interrupted(5, "it has forgotten the upload")
        if response.status >= 400:
            raise self._error(response, what, source.size)
        if response.status not in (200, 201, 202, 204):
            raise self._wrong(response)
        response.close()

    # -- manifests --

    def manifest(self, reference, data, media_type, digest):
        """Put a manifest under a tag or its digest. Raises WrongAnswer and others."""
        name = f"{self.repository}{'@' if ':' in reference else ':'}{reference}"

        def work():
            headers = {"Content-Type": media_type, "Content-Length": str(len(data))}
            path = f"{self._path}/manifests/{reference}"
            response = self._send("PUT", path, headers, data, timeout=_COMMIT_TIMEOUT)
            if response.status >= 400:
                raise self._error(response, f"the manifest of {name}", len(data))
            if response.status not in (200, 201, 202, 204):
                raise self._wrong(response)
            found = response.headers.get("Docker-Content-Digest")
            response.close()
            if found and found != digest and found.partition(":")[0] == digest.partition(":")[0]:
                why = f"the digest {found[:160]} for the manifest {digest}"
                raise WrongAnswer(host=self.registry.domain, why=why)

        self.attempts(f"the manifest of {name}", work)


class _State:
    """How far an upload came: ``offset`` now, ``most`` ever, ``tried`` once at least."""

    def __init__(self):
        self.offset = self.most = 0
        self.tried = False

    def reach(self, offset):
        self.offset = offset
        self.most = max(self.most, offset)


def _received(response):
    """How many bytes of an upload a registry says it has, 0 where it says nothing useful.

    "0-0" is one byte or, from some, none: as good as nothing.
    """
    text = (response.headers.get("Range") or "").removeprefix("bytes=")
    start, _, last = text.partition("-")
    if start != "0" or not last.isdecimal() or len(last) > 18 or last == "0":
        return 0
    return int(last) + 1
