"""Sending blobs and manifests to a registry that breaks off, refuses, or sends elsewhere."""

import os
import socket
import threading

import pytest

from rootless.errors import RlError
from rootless.image.registry import auth, client, http, upload
from rootless.image.registry.upload import Source, Target
from support.fakeregistry import FakeRegistry, digest_of

LARGE = bytes(range(256)) * (10 << 10)  # 2.5 MiB: goes as PATCH and PUT
SMALL = b"small"
UPLOADS = "/v2/x/blobs/uploads/"


@pytest.fixture
def server():
    with FakeRegistry() as found:
        yield found


@pytest.fixture
def other():
    with FakeRegistry() as found:
        yield found


class Talk:
    """A Target at ``server`` whose waits are only written down."""

    def __init__(self, server, login=None, times=3):
        self.waits, self.told = [], []
        self.session = http.Session(http.Trust({}, lambda host: True))
        retry = client.Retry(times, 1.0, self.waits.append)
        registry = client.Registry(server.address, server.address, login, True, retry)
        self.target = Target(registry, self.session, "x")

    def send(self, path, data, check=lambda: None):
        """Upload ``data`` by way of a file: its digest."""
        path.write_bytes(data)
        digest = digest_of(data)
        with Source(path, len(data), self.told.append, check) as source:
            self.target.upload(digest, source)
        return digest

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "blob"


def methods(server, part="uploads"):
    return [method for method, path, _ in server.requests if part in path]


# --- what goes well ------------------------------------------------------------------------


def test_a_small_blob_goes_with_the_last_request(server, path):
    with Talk(server) as talk:
        digest = talk.send(path, SMALL)
    assert server.blobs[digest] == SMALL and methods(server) == ["POST", "PUT"]
    assert sum(talk.told) == len(SMALL)


def test_an_empty_blob(server, path):
    with Talk(server) as talk:
        assert server.blobs[talk.send(path, b"")] == b""


def test_a_large_blob_is_patched(server, path):
    with Talk(server) as talk:
        digest = talk.send(path, LARGE)
    assert server.blobs[digest] == LARGE and methods(server) == ["POST", "PATCH", "PUT"]
    assert sum(talk.told) == len(LARGE)
    (headers,) = [h for method, _, h in server.requests if method == "PATCH"]
    assert headers["Content-Length"] == str(len(LARGE)) and "Content-Range" not in headers
    assert "Transfer-Encoding" not in headers


def test_asking(server, path):
    with Talk(server) as talk:
        digest = digest_of(SMALL)
        assert not talk.target.has(digest)
        talk.send(path, SMALL)
        assert talk.target.has(digest)


def test_mounting(server, path):
    digest = digest_of(SMALL)
    server.holds["team/base"] = {digest}
    with Talk(server) as talk:
        assert talk.target.mount(digest, ["none", "team/base", "other"]) == "team/base"
        assert talk.target.has(digest)
    # The upload that began instead of the first mount is given up.
    assert methods(server) == ["POST", "DELETE", "POST"] and server.begun == {}


def test_what_cannot_be_mounted_is_sent_in_the_upload_that_began(server, path):
    digest = digest_of(LARGE)
    with Talk(server) as talk:
        assert talk.target.mount(digest, ["a"]) is None
        talk.send(path, LARGE)
    assert server.blobs[digest] == LARGE and methods(server) == ["POST", "PATCH", "PUT"]


def test_a_refused_mount_is_only_a_short_cut_less(server, path):
    server.script[UPLOADS] = [server.status(403), server.status(500)]
    with Talk(server) as talk:
        assert talk.target.mount(digest_of(SMALL), ["a", "b"]) is None
        talk.send(path, SMALL)
    assert server.holds["x"] == {digest_of(SMALL)} and talk.waits == []


def test_a_manifest(server):
    with Talk(server) as talk:
        talk.target.manifest("1", b"{}", "application/x", digest_of(b"{}"))
    assert server.manifests["1"] == (b"{}", "application/x")


# --- rights --------------------------------------------------------------------------------


def test_a_token_with_the_right_to_push(server, path):
    server.tokens = set()
    server.holds["base"] = {digest_of(SMALL)}
    with Talk(server) as talk:
        assert not talk.target.has(digest_of(SMALL))
        assert talk.target.mount(digest_of(SMALL), ["base"]) == "base"
    plain, mounting = [p for p in server.paths("/token")]
    assert "scope=repository%3Ax%3Apull%2Cpush" in plain and "base" not in plain
    assert "scope=repository%3Abase%3Apull" in mounting and "x%3Apull%2Cpush" in mounting


def test_no_rights(server, path):
    server.users = {"me": "secret"}
    with Talk(server) as talk, pytest.raises(client.Denied) as error:
        talk.target.has(digest_of(SMALL))
    assert "rl login" in error.value.hint
    with Talk(server, auth.Login("me", "secret")) as talk:
        talk.send(path, SMALL)


def test_a_login_that_ran_out_while_sending(server, path):
    def forget(handler):
        server.tokens.clear()
        challenge = f'Bearer realm="{server.url}/token",error="invalid_token"'
        handler.reply(401, b"{}", {"WWW-Authenticate": challenge})

    server.tokens = set()
    server.script[f"{UPLOADS}1"] = [forget]
    with Talk(server) as talk:
        digest = talk.send(path, LARGE)
    assert server.blobs[digest] == LARGE


def test_another_host_gets_no_credentials(server, other, path):
    server.users = {"me": "secret"}
    server.elsewhere = other.url
    other.begun["1"] = b""
    with Talk(server, auth.Login("me", "secret")) as talk:
        digest = talk.send(path, LARGE)
    assert other.blobs[digest] == LARGE
    assert set(other.headers("Authorization")) == {None}
    assert any(server.headers("Authorization"))


def test_a_redirected_upload_carries_no_credentials(server, other, path):
    server.users = {"me": "secret"}
    other.begun["1"] = b""
    server.script[f"{UPLOADS}1"] = [server.redirect(f"{other.url}{UPLOADS}1?s=1")]
    with Talk(server, auth.Login("me", "secret")) as talk:
        digest = talk.send(path, LARGE)
    assert other.blobs[digest] == LARGE
    assert set(other.headers("Authorization")) == {None}


def test_a_challenge_of_another_host_is_not_answered(server, other, path):
    challenge = f'Bearer realm="{other.url}/token",service="x"'
    other.script[f"{UPLOADS}1"] = [other.status(401, WWW_Authenticate=challenge)]
    server.users, server.elsewhere = {"me": "secret"}, other.url
    with Talk(server, auth.Login("me", "secret")) as talk, pytest.raises(client.Denied):
        talk.send(path, SMALL)
    assert other.paths("/token") == [] and set(other.headers("Authorization")) == {None}


@pytest.mark.parametrize("code", [301, 302, 303])
def test_a_redirect_that_would_lose_the_body(server, other, path, code):
    server.script[f"{UPLOADS}1"] = [server.redirect(f"{other.url}{UPLOADS}1", code)]
    with Talk(server) as talk, pytest.raises(http.BadRedirect, match="PUT"):
        talk.send(path, SMALL)
    assert other.requests == []


def test_secrets_in_a_body_are_not_redirected(server, other):
    server.tokens = set()
    server.script["/token"] = [server.redirect(f"{other.url}/token")]
    with Talk(server, auth.Login(token="identity")) as talk, pytest.raises(http.BadRedirect):
        talk.target.has(digest_of(SMALL))
    assert other.requests == []


@pytest.mark.parametrize("address", ["file:///etc/passwd", "http://h:x/", "ftp://127.0.0.1/x"])
def test_uploads_to_nowhere(server, path, address):
    server.script[UPLOADS] = [server.status(202, b"", Location=address)]
    with Talk(server) as talk, pytest.raises(http.BadRedirect):
        talk.send(path, SMALL)


def test_no_address(server, path):
    server.script[UPLOADS] = [server.status(202, b"")]
    with Talk(server) as talk, pytest.raises(upload.WrongAnswer, match="no address"):
        talk.send(path, SMALL)


# --- what breaks off -----------------------------------------------------------------------


def test_a_broken_upload_goes_on_where_it_stopped(server, path):
    stop = 1_500_000
    server.script[f"{UPLOADS}1"] = [server.break_after(stop)]
    with Talk(server) as talk:
        digest = talk.send(path, LARGE)
    assert server.blobs[digest] == LARGE
    ranges = [h.get("Content-Range") for method, _, h in server.requests if method == "PATCH"]
    assert ranges == [None, f"{stop}-{len(LARGE) - 1}"]
    assert talk.waits == [1.0] and sum(talk.told) == len(LARGE)
    assert methods(server).count("POST") == 1


def test_a_registry_that_does_not_tell_gets_everything_again(server, path):
    server.resumes = False
    server.script[f"{UPLOADS}1"] = [server.break_after(1_500_000)]
    with Talk(server) as talk:
        digest = talk.send(path, LARGE)
    assert server.blobs[digest] == LARGE and methods(server).count("POST") == 2
    assert sum(talk.told) == len(LARGE)


@pytest.mark.parametrize(
    "told", ["0-99999999999", "5-10", "x", "0-0", "-", "0-1e5", "0-" + "9" * 40]
)
def test_an_offset_that_makes_no_sense(server, path, told):
    location = f"{UPLOADS}1?s=1"
    server.script[f"{UPLOADS}1"] = [
        server.break_after(1_500_000),
        server.status(204, b"", Range=told, Location=location),
    ]
    with Talk(server) as talk:
        digest = talk.send(path, LARGE)
    assert server.blobs[digest] == LARGE and methods(server).count("POST") == 2


def test_less_was_taken_than_sent(server, path):
    half = len(LARGE) // 2

    def take_half(handler):
        server.begun["1"] = handler.take()[:half]
        handler._goes_on("x", "1")

    server.script[f"{UPLOADS}1"] = [take_half]
    with Talk(server) as talk:
        assert server.blobs.get(talk.send(path, LARGE)) == LARGE
    assert talk.waits == []


def test_the_count_was_lost(server, path):
    server.script[f"{UPLOADS}1"] = [server.status(416, b"")]
    with Talk(server) as talk:
        assert server.blobs[talk.send(path, LARGE)] == LARGE


def test_the_last_answer_got_lost(server, path):
    def do_it_and_hang_up(handler):
        server.blobs[digest_of(LARGE)] = server.begun.pop("1")
        server.holds["x"].add(digest_of(LARGE))
        handler.close_connection = True

    server.script[f"{UPLOADS}1"] = [None, do_it_and_hang_up]
    with Talk(server) as talk:
        talk.send(path, LARGE)
    assert methods(server).count("PATCH") == 1, "it is asked for, not sent again"


def test_bad_days_end(server, path):
    server.script[UPLOADS] = [server.status(503, Retry_After="7"), server.status(429), None]
    with Talk(server) as talk:
        talk.send(path, SMALL)
        server.script["/v2/x/manifests/1"] = [server.status(500), None]
        talk.target.manifest("1", b"{}", "application/x", digest_of(b"{}"))
    assert talk.waits == [7, 2.0, 1.0]
    assert server.manifests["1"][0] == b"{}"


def test_bad_days_that_go_on(server, path):
    server.script[UPLOADS] = [server.status(500)]
    server.lasting.add(UPLOADS)
    with Talk(server, times=2) as talk, pytest.raises(upload.NotSent, match="3 times"):
        talk.send(path, SMALL)
    assert talk.waits == [1.0, 2.0]


def test_too_many_requests(server, path):
    server.script[UPLOADS] = [server.status(429)]
    server.lasting.add(UPLOADS)
    with Talk(server, times=1) as talk, pytest.raises(client.Throttled):
        talk.send(path, SMALL)


def test_progress_begins_the_count_of_attempts_anew(server, path):
    data = LARGE * 4
    server.script[f"{UPLOADS}1"] = [server.break_after(2_200_000), None] * 3
    with Talk(server, times=1) as talk:
        assert server.blobs[talk.send(path, data)] == data
    assert talk.waits == [1.0, 1.0, 1.0]


# --- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (400, upload.Refused, "too bad"),
        (401, client.Denied, "too bad"),
        (403, client.Denied, "too bad"),
        (404, upload.NoRepository, "too bad"),
        (405, upload.ReadOnly, "too bad"),
        (409, client.Unexpected, "409"),
        (413, upload.TooBig, "too bad"),
        (507, upload.Full, "too bad"),
    ],
)
def test_refusals(server, path, status, error, says):
    body = b'{"errors":[{"code":"X","message":"too bad"}]}'
    server.script[UPLOADS] = [server.status(status, body)]
    with Talk(server) as talk, pytest.raises(error, match=says) as caught:
        talk.send(path, SMALL)
    assert talk.waits == [] and caught.value.hint is not None or status == 409


def test_a_refusal_before_everything_was_sent_is_read(server, path):
    """The server closes with most of the body unread: sending fails, the answer counts."""
    body = b'{"errors":[{"message":"quota exceeded"}]}'
    server.script[f"{UPLOADS}1"] = [server.status(403, body)]
    with Talk(server) as talk, pytest.raises(client.Denied, match="quota exceeded"):
        talk.send(path, LARGE * 8)
    assert talk.waits == []


def test_smaller_pieces_where_a_proxy_wants_them(server, path, monkeypatch):
    monkeypatch.setattr(upload, "_CHUNKS", (1 << 21, 1 << 20))
    server.largest = 1_200_000
    with Talk(server) as talk:
        digest = talk.send(path, LARGE)
        assert server.blobs[digest] == LARGE
        server.requests.clear()
        assert server.blobs[talk.send(path, LARGE[::-1])] == LARGE[::-1]
    ranges = [h.get("Content-Range") for method, _, h in server.requests if method == "PATCH"]
    assert ranges == ["0-1048575", "1048576-2097151", "2097152-2621439"]
    assert talk.waits == []


def test_no_piece_is_small_enough(server, path, monkeypatch):
    monkeypatch.setattr(upload, "_CHUNKS", (1 << 20,))
    server.largest = 1000
    with Talk(server) as talk, pytest.raises(upload.TooBig, match=str(len(LARGE))):
        talk.send(path, LARGE)


def test_other_bytes_than_the_digest_says(server, path):
    path.write_bytes(SMALL)
    with Talk(server) as talk, Source(path, len(SMALL)) as source:
        with pytest.raises(upload.Refused, match="did not match") as error:
            talk.target.upload(digest_of(LARGE), source)
    assert "rl system check" in error.value.hint


def test_a_manifest_under_another_digest(server):
    answer = server.status(201, b"", Docker_Content_Digest=digest_of(b"other"))
    server.script["/v2/x/manifests/1"] = [answer]
    with Talk(server) as talk, pytest.raises(upload.WrongAnswer, match="digest"):
        talk.target.manifest("1", b"{}", "application/x", digest_of(b"{}"))


def test_a_file_that_is_too_short(server, path):
    path.write_bytes(SMALL)
    with Talk(server) as talk, Source(path, len(SMALL) + 1) as source:
        with pytest.raises(upload.Unreadable, match="shorter"):
            talk.target.upload(digest_of(SMALL), source)
        # Half a request is on its way: the connection isn't used again.
        assert not talk.target.has(digest_of(SMALL))


def test_giving_up_in_the_middle(server, path):
    class Stop(Exception):
        pass

    calls = []

    def check():
        calls.append(1)
        if len(calls) == 3:
            raise Stop

    with Talk(server) as talk, pytest.raises(Stop):
        talk.send(path, LARGE, check)
    assert server.blobs == {}


def test_the_bytes_are_read_piece_by_piece(path):
    path.write_bytes(LARGE)
    with Source(path, len(LARGE)) as source:
        pieces = [len(piece) for piece in source.between(5, len(LARGE))]
        assert sum(pieces) == len(LARGE) - 5 and max(pieces) <= 256 << 10
        again = source.between(5, 10)
        assert [bytes(p) for p in again] == [bytes(p) for p in again] == [LARGE[5:10]]
        assert os.fstat(source._file).st_size == len(LARGE)


def test_a_registry_that_stops_reading(path):
    """It takes the request's beginning and nothing more: an error, and not for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = []

        def serve():
            while True:
                try:
                    held.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        session = http.Session(http.Trust({}))
        path.write_bytes(LARGE * 8)
        with Source(path, len(LARGE) * 8) as source:
            headers = {"Content-Length": str(source.size)}
            with pytest.raises(OSError, match="no answer in time"):
                session.send("PATCH", f"http://{address}/x", headers,
                             source.between(0, source.size), timeout=0.3)  # fmt: skip
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for one in held:
            one.close()
        session.close()


def test_every_error_has_words():
    fields = {"what": "w", "host": "h", "tries": 1, "why": "y", "size": 5, "said": "", "name": "n",
              "path": "p"}  # fmt: skip
    kinds = [one for one in vars(upload).values() if isinstance(one, type)]
    for kind in kinds:
        if issubclass(kind, RlError) and kind is not RlError:
            error = kind(**fields)
            assert "{" not in error.message + (error.advice or "")
