"""A client for one registry: manifests, blobs and tags (OCI distribution-spec 1.1).

What is read here is as the registry sent it: digests are checked by the callers, who know
what they expect.
"""

import time
from urllib.parse import urlencode, urljoin

from rootless.errors import RlError
from rootless.image.registry import http
from rootless.image.registry.auth import Authenticator
from rootless.model import jsontext, oci
from rootless.model.reference import is_tag

_SEARCH_PAGE = 100
_CATALOG_PAGE = 1000
_MAX_CATALOG_PAGES = 10_000
_MAX_TAG_PAGES = 1000
_LONGEST_WAIT = 60  # seconds; a limit of requests that lasts longer is an error


class Denied(RlError):
    """{host} refuses access to {name}{said}"""

    hint = "rl login {host}, if you have an account there; or check the name for a typo"


class Unknown(RlError):
    """{host} has no {what} {name}{said}"""

    hint = "check the name and the tag"


class Throttled(RlError):
    """{host} allows no more requests for now{when}"""

    hint = "wait, or log in to have a higher limit: rl login {host}"


class Unexpected(RlError):
    """{host} answers with status {status}{said}"""


class WrongDigest(RlError):
    """{host} sent {got} where {wanted} was asked for"""


class GaveUp(RlError):
    """{what} from {host} failed {tries} times: {why}"""

    hint = "try again; --retry and --retry-delay change how often and how soon"


class Retry:
    """How often to try again (``times``) and the first ``delay`` in seconds; it doubles."""

    def __init__(self, times=3, delay=1.0, sleep=time.sleep):
        self.times = times
        self.delay = delay
        self.sleep = sleep

    def wait(self, attempt, error=None):
        """Sleep before attempt number ``attempt`` + 1 (attempts are counted from 1)."""
        pause = getattr(error, "retry_after", None)
        self.sleep(self.delay * 2 ** (attempt - 1) if pause is None else pause)


class Later(http.Interrupted):
    """The registry asks to come again: status 429 or 5xx.  ``retry_after`` in seconds."""

    retry_after = None


class Registry:
    """One registry at one origin, shared by threads; each brings its own ``http.Session``.

    ``domain`` is how images name it (docker.io), ``host`` where it is reached
    (registry-1.docker.io); ``path`` comes before every repository.  ``insecure``: plain
    HTTP will do if it speaks no TLS.
    """

    def __init__(self, domain, host, login=None, insecure=False, retry=None, path=""):
        self.domain = domain
        self.host = host
        self.path = path
        self.insecure = insecure
        self.retry = retry or Retry()
        self._login = login
        self._auth = None
        self._scheme = None

    # -- the way there --

    def connect(self, session):
        """Find out whether the registry speaks TLS. Raises what Session.send raises."""
        if self._scheme is not None:
            return
        try:
            session.send("GET", f"https://{self.host}/v2/", follow=False).read(http.ERROR_LIMIT)
            scheme = "https"
        except (http.PlainText, http.Unreachable, http.Untrusted) as error:
            if not self.insecure:
                raise
            try:
                answer = session.send("GET", f"http://{self.host}/v2/", follow=False)
                answer.read(http.ERROR_LIMIT)
            except (RlError, OSError):
                raise error from None
            scheme = "http"
        self._use(scheme)

    def _use(self, scheme):
        self._scheme = scheme
        self._auth = Authenticator(http.origin(f"{scheme}://{self.host}"), self._login)

    def send(self, session, method, path, scope, headers=None, body=None, **how):
        """One request to the API with authentication: a Response, whatever its status.

        ``path`` comes after /v2/, or is an absolute URL that the registry gave; ``how`` as
        for Session.send.
        """
        if self._scheme is None:
            if self.insecure:
                self.connect(session)
            else:
                self._use("https")
        url = path if "://" in path else f"{self._scheme}://{self.host}/v2/{path}"
        used = self._auth.prepare(session, scope)
        for _ in range(3):
            response = session.send(method, url, headers, body, used, **how)
            # Another host, to which we were sent, has no say in where our password goes.
            if response.status != 401 or http.origin(response.url) != self._auth.where:
                return response
            response.read(http.ERROR_LIMIT)
            if not self._auth.answer(session, response, scope, used):
                return response
            used = self._auth.header(scope)
        return response

    def call(self, session, method, path, scope, name, headers=None, body=None):
        """``send`` with errors raised by their status.  ``name``: what it is about.

        Raises Denied, Unknown, Unexpected, Throttled; Later for what may go away.
        """
        response = self.send(session, method, path, scope, headers, body)
        if response.status < 400:
            return response
        raise self.error(response, name)

    def error(self, response, name, what="image"):
        """What a Response with a status from 400 on means, as an error to raise.

        ``name``: what was asked for; ``what`` kind of thing that is.
        """
        status, headers = response.status, response.headers
        said = words(response)
        host = self.domain
        if status in (401, 403):
            return Denied(host=host, name=name, said=said)
        if status == 404:
            return Unknown(host=host, what=what, name=name, said=said)
        if status == 429 or status >= 500:
            pause = headers.get("Retry-After") or ""
            seconds = int(pause) if pause.isdecimal() and len(pause) < 9 else None
            if status == 429 and seconds is not None and seconds > _LONGEST_WAIT:
                return Throttled(host=host, when=f" (next in {seconds} s)")
            later = Later(5, f"status {status}{said}")
            later.retry_after = None if seconds is None else min(seconds, _LONGEST_WAIT)
            later.throttled = status == 429
            return later
        return Unexpected(host=host, status=status, said=said)

    def _again(self, what, work):
        """``work()``, tried again while the trouble is of the kind that goes away."""
        attempt = 1
        while True:
            try:
                return work()
            except http.Interrupted as error:
                if attempt > self.retry.times:
                    raise give_up(self.domain, what, attempt, error) from None
                self.retry.wait(attempt, error)
                attempt += 1

    # -- the API --

    def scope(self, repository, actions="pull"):
        """The scope that a token for ``repository`` must have; ``actions``: "pull,push"…"""
        return f"repository:{self.path}{repository}:{actions}"

    def manifest(self, session, repository, reference):
        """(bytes, media type) of the manifest or index ``reference`` (tag or digest)."""

        def work():
            response = self.call(
                session,
                "GET",
                f"{self.path}{repository}/manifests/{reference}",
                self.scope(repository),
                _label(repository, reference),
                {"Accept": oci.ACCEPT},
            )
            data = response.read(oci.DOCUMENT_LIMIT)
            kind = response.headers.get("Content-Type") or ""
            return data, kind.partition(";")[0].strip().lower()

        return self._again(f"the manifest of {_label(repository, reference)}", work)

    def manifest_digest(self, session, repository, reference):
        """The digest that a tag stands for now, by a HEAD request; None if it isn't told."""

        def work():
            response = self.call(
                session,
                "HEAD",
                f"{self.path}{repository}/manifests/{reference}",
                self.scope(repository),
                _label(repository, reference),
                {"Accept": oci.ACCEPT},
            )
            response.read(0)
            return response.headers.get("Docker-Content-Digest")

        return self._again(f"the digest of {_label(repository, reference)}", work)

    def blob(self, session, repository, digest, offset=0):
        """A Response at the first byte of a blob from ``offset`` on, and where it starts.

        Returns (response, offset): 0 where the registry ignores the Range header.  Not
        tried again here: who reads a blob knows how far it came.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else None
        path = f"{self.path}{repository}/blobs/{digest}"
        scope = self.scope(repository)
        response = self.send(session, "GET", path, scope, headers)
        if response.status == 416:
            response.close()
            response, offset = self.send(session, "GET", path, scope), 0
        if response.status == 206:
            start = range_start(response)
            if start != offset:
                response.close()
                raise http.Interrupted(5, "the answer starts at the wrong byte")
            return response, offset
        if response.status != 200:
            raise self.error(response, digest, "blob")
        return response, 0

    def blob_bytes(self, session, repository, digest, limit):
        """A small blob as bytes. Raises TooLarge beyond ``limit``."""

        def work():
            return self.blob(session, repository, digest)[0].read(limit)

        return self._again(f"{digest}", work)

    def tags(self, session, repository):
        """All tags of a repository, as a list."""
        path, found = f"{self.path}{repository}/tags/list", []
        for _ in range(_MAX_TAG_PAGES):

            def work(path=path):
                response = self.call(
                    session, "GET", path, self.scope(repository), repository
                )
                return response.read(oci.DOCUMENT_LIMIT), response.headers.get("Link")

            data, link = self._again(f"the tags of {repository}", work)
            document = oci.load(data, "list of tags")
            tags = document.get("tags") or []
            if not isinstance(tags, list):
                raise oci.BadDocument(kind="list of tags", why="tags is not a list")
            found += [tag for tag in tags if isinstance(tag, str) and is_tag(tag)]
            path = self._next_page(path, link)
            if path is None:
                break
        return found

    def search(self, session, term, limit):
        """What the registry's own search has of ``term``: a list of dicts as it sent them, at
        most ``limit``; None if it has no search (that of Docker's first API).

        Raises Denied and others.
        """
        self.connect(session)
        found = []
        for page in range(1, _MAX_TAG_PAGES + 1):
            query = urlencode({"q": term, "n": min(limit, _SEARCH_PAGE), "page": page})
            url = f"{self._scheme}://{self.host}/v1/search?{query}"

            def work(url=url):
                response = self.send(session, "GET", url, "", {"Accept": "application/json"})
                if response.status in (429,) or response.status >= 500:
                    raise self.error(response, term)
                return response.status, response.read(oci.DOCUMENT_LIMIT)

            status, data = self._again("the search", work)
            if status != 200:
                return None
            try:
                document = jsontext.loads(data)
                results = document["results"] or []
                pages = document.get("num_pages") or 1
            except (ValueError, KeyError, TypeError, AttributeError):
                return None  # a page for people, or something else altogether
            if not isinstance(results, list) or not isinstance(pages, int):
                return None
            found += [one for one in results if isinstance(one, dict)]
            if len(found) >= limit or page >= pages or not results:
                break
        return found[:limit]

    def catalog(self, session):
        """The names of the repositories that the registry tells of, as they come."""
        path = f"_catalog?n={_CATALOG_PAGE}"
        for _ in range(_MAX_CATALOG_PAGES):

            def work(path=path):
                response = self.call(
                    session, "GET", path, "registry:catalog:*", "its list of repositories"
                )
                return response.read(oci.DOCUMENT_LIMIT), response.headers.get("Link")

            data, link = self._again("the list of repositories", work)
            names = oci.load(data, "list of repositories").get("repositories") or []
            if not isinstance(names, list):
                why = "repositories is not a list"
                raise oci.BadDocument(kind="list of repositories", why=why)
            yield from (name for name in names if isinstance(name, str))
            path = self._next_page(path, link)
            if path is None:
                return

    def _next_page(self, path, link):
        if not link or 'rel="next"' not in link:
            return None
        target = link.partition("<")[2].partition(">")[0]
        base = f"{self._scheme}://{self.host}/v2/"
        full = urljoin(base + path, target)
        return full[len(base) :] if full.startswith(base) else None

    def check(self, session):
        """See that the registry takes our login (GET /v2/). Raises Denied and others."""

        def work():
            self.connect(session)
            self.call(session, "GET", "", "", self.domain).read(http.ERROR_LIMIT)

        self._again("an answer", work)


def give_up(host, what, attempt, error):
    """The error for the last of several attempts."""
    if getattr(error, "throttled", False):
        return Throttled(host=host, when="")
    if attempt == 1:
        return GaveUp(host=host, what=what, tries="1 time", why=error.strerror)
    return GaveUp(host=host, what=what, tries=attempt, why=error.strerror)


def _label(repository, reference):
    return f"{repository}{'@' if ':' in reference else ':'}{reference}"


def range_start(response):
    """Where the bytes of a response with status 206 begin; None if it doesn't say."""
    unit, _, rest = (response.headers.get("Content-Range") or "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdecimal() else None


def words(response):
    """": MESSAGE" out of the body of an error (distribution-spec "error codes"), or ""."""
    try:
        document = jsontext.loads(response.read(http.ERROR_LIMIT))
        errors = document.get("errors") or [{"message": document.get("details")}]
        found = [error.get("message") or error.get("code") for error in errors]
    except (OSError, http.TooLarge, ValueError, AttributeError, TypeError):
        return ""
    found = [word[:300] for word in found if isinstance(word, str) and word]
    return ": " + "; ".join(found[:3]) if found else ""
