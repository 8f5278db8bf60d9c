"""Files from the web, for contexts and for ADD: bounded, without credentials of anybody.

What a URL itself names as user and password goes to that very host alone, on no redirect;
redirects to anything but http(s), or from https to http, are refused (registry.http).
"""

import hashlib
import os
import time
from base64 import b64encode
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urlsplit, urlunsplit

from rootless.build.context.errors import BadChecksum, DownloadFailed, WrongChecksum
from rootless.build.context.places import without_secrets
from rootless.build.copy.sources import Download
from rootless.errors import RlError
from rootless.image.registry import http
from rootless.image.trouble import Interrupted, full_disk
from rootless.kernel import files
from rootless.store import digests, unpack

_PIECE = 1 << 18


class Opened:
    """The answer to a GET: ``read(n)``, ``size`` (bytes or None), ``headers``, ``close()``."""

    def __init__(self, outside, url):
        self.url = url
        self.shown = without_secrets(url)
        self.session = http.Session(outside.trust)
        try:
            self._response = self._send(outside, url)
        except BaseException:
            self.session.close()
            raise
        self.headers = self._response.headers
        length = self.headers.get("Content-Length") or ""
        self.size = int(length) if length.isdecimal() and len(length) < 20 else None
        self.got = 0

    def _send(self, outside, url):
        try:
            address, authorization = _credentials(url)
        except ValueError:
            raise DownloadFailed(url=self.shown, why="it is no web address") from None
        for attempt in range(outside.attempts):
            if attempt:
                time.sleep(outside.delay * 2 ** (attempt - 1))
            try:
                response = self.session.send("GET", address, authorization=authorization)
            except Interrupted as error:
                why = error.strerror
                continue
            except ValueError as error:
                raise DownloadFailed(url=self.shown, why=str(error)) from None
            if response.status == 200:
                return response
            why = f"the server answers with status {response.status}"
            response.close()
            if response.status < 500:
                break
        raise DownloadFailed(url=self.shown, why=why)

    def read(self, size):
        """Up to ``size`` bytes, b"" at the end; DownloadFailed if that comes too early."""
        buffer = bytearray(min(size, _PIECE))
        try:
            count = self._response.readinto(buffer)
        except Interrupted as error:
            raise DownloadFailed(url=self.shown, why=error.strerror) from None
        self.got += count
        if not count and self.size is not None and self.got < self.size:
            raise DownloadFailed(url=self.shown, why="the connection ended too early")
        return bytes(buffer[:count])

    def close(self):
        self.session.close()


def _credentials(url):
    """(the URL without user and password, what they become: (origin, header) or None)."""
    parts = urlsplit(url)
    if parts.username is None:
        return url.partition("#")[0], None
    host = parts.netloc.rpartition("@")[2]
    address = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    value = "Basic " + b64encode(pair.encode()).decode()
    return address, (http.origin(address), value)


def download(outside, url, checksum=None):
    """What ADD gets from a URL: a copy.sources.Download of a file without a name.

    ``checksum``: sha256:HEX, sha384:HEX, sha512:HEX or None.  Raises DownloadFailed,
    WrongChecksum, BadChecksum, NoSpace and http's errors.
    """
    algorithm = _algorithm(checksum)
    answer = Opened(outside, url)
    try:
        descriptor = outside.scratch_file()
        try:
            found = _receive(answer, descriptor, algorithm)
            if checksum is not None and found != checksum:
                raise WrongChecksum(url=answer.shown, found=found, wanted=checksum)
        except BaseException:
            os.close(descriptor)
            raise
        return Download(file_name(url), descriptor, _modified(answer.headers))
    finally:
        answer.close()


def _algorithm(checksum):
    if checksum is None:
        return "sha256"
    try:
        return digests.split(checksum)[0]
    except RlError:
        raise BadChecksum(checksum) from None


def _receive(answer, descriptor, algorithm):
    hasher = hashlib.new(algorithm)
    checked = 0
    with full_disk():
        unpack.check_space(descriptor, answer.size or 0)
        while piece := answer.read(_PIECE):
            hasher.update(piece)
            files.write_all(descriptor, piece)
            if answer.got - checked > unpack.CHECK_EVERY:
                checked = answer.got
                unpack.check_space(descriptor)
    return f"{algorithm}:{hasher.hexdigest()}"


def file_name(url):
    """The name that a URL gives a file; "" if it gives none."""
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    return "" if name in (".", "..") or "\0" in name else name


def _modified(headers):
    """Last-Modified in seconds; 0, as BuildKit has it, where the server doesn't say."""
    try:
        return max(0, int(parsedate_to_datetime(headers.get("Last-Modified")).timestamp()))
    except (TypeError, ValueError, OverflowError):
        return 0
