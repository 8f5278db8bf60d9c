"""The registry client against a registry that misbehaves: credentials, redirects, retries."""

import threading

import pytest

from rootless.errors import RlError
from rootless.image.registry import auth, client, http
from rootless.model import oci
from support import oci as made
from support.fakeregistry import FakeRegistry


@pytest.fixture
def server():
    with FakeRegistry() as found:
        yield found


@pytest.fixture
def other():
    with FakeRegistry() as found:
        yield found


@pytest.fixture
def image():
    return made.Image([made.layer(made.entry("a", "1"))])


class Talk:
    """A client of ``server`` whose waits are only written down."""

    def __init__(self, server, login=None, times=3, environ=None, insecure=True):
        self.waits = []
        self.session = http.Session(http.Trust(environ or {}, lambda host: insecure))
        retry = client.Retry(times, 1.0, self.waits.append)
        self.registry = client.Registry(server.address, server.address, login, insecure, retry)

    def manifest(self, reference="latest"):
        return self.registry.manifest(self.session, "x", reference)

    def blob(self, digest, offset=0):
        response, start = self.registry.blob(self.session, "x", digest, offset)
        data = response.read(1 << 20)
        return data, start

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()


def layer_of(image):
    return next(iter(image.blobs))


def test_a_manifest_and_a_blob(server, image):
    server.add(image, "x")
    with Talk(server) as talk:
        data, kind = talk.manifest()
        assert data == image.blobs[image.manifest["digest"]] and kind == oci.OCI_MANIFEST
        assert talk.blob(layer_of(image)) == (image.blobs[layer_of(image)], 0)
    assert oci.OCI_INDEX in server.headers("Accept", "manifests")[0]
    assert len({headers["Host"] for _, _, headers in server.requests}) == 1


def test_plain_http_only_if_asked_for(server):
    with Talk(server, insecure=False) as talk, pytest.raises(http.PlainText) as error:
        talk.manifest()
    assert "--tls-verify=false" in error.value.advice
    assert server.requests == []


def test_unknown(server):
    with Talk(server) as talk, pytest.raises(client.Unknown, match="x:latest: manifest unknown"):
        talk.manifest()


def test_unreachable():
    server = FakeRegistry()
    server.server.server_close()
    with Talk(server) as talk, pytest.raises(http.Unreachable, match="connection refused"):
        talk.manifest()
    assert talk.waits == []


# --- trying again --------------------------------------------------------------------------


def test_what_goes_away_is_tried_again(server, image):
    server.add(image, "x")
    server.script["/v2/x/manifests/latest"] = [server.status(503), server.status(500), None]
    with Talk(server) as talk:
        talk.manifest()
        assert talk.waits == [1.0, 2.0]


def test_it_gives_up(server):
    path = "/v2/x/manifests/latest"
    server.script[path] = [server.status(502)]
    server.lasting.add(path)
    with Talk(server, times=2) as talk, pytest.raises(client.GaveUp, match="3 times") as error:
        talk.manifest()
    assert len(server.paths("manifests")) == 3 and "--retry" in error.value.advice


def test_retry_after_is_kept(server, image):
    server.add(image, "x")
    server.script["/v2/x/manifests/latest"] = [server.status(429, Retry_After="7"), None]
    with Talk(server) as talk:
        talk.manifest()
        assert talk.waits == [7]


def test_too_long_a_wait_is_an_error(server):
    server.script["/v2/x/manifests/latest"] = [server.status(429, Retry_After="3600")]
    with Talk(server) as talk, pytest.raises(client.Throttled, match="3600 s") as error:
        talk.manifest()
    assert "rl login" in error.value.advice


def test_limits_that_last(server):
    path = "/v2/x/manifests/latest"
    server.script[path] = [server.status(429)]
    server.lasting.add(path)
    with Talk(server, times=1) as talk, pytest.raises(client.Throttled):
        talk.manifest()


def test_refusals_are_not_tried_again(server):
    path = "/v2/x/manifests/latest"
    server.script[path] = [server.status(403, b'{"errors":[{"message":"no entry"}]}')]
    with Talk(server) as talk, pytest.raises(client.Denied, match="no entry") as error:
        talk.manifest()
    assert talk.waits == [] and "rl login" in error.value.advice


def test_an_idle_connection_that_was_closed_is_no_failure(server, image):
    server.add(image, "x")

    def bye(handler):
        handler.close_connection = True

    with Talk(server, times=0) as talk:
        talk.manifest()
        server.script["/v2/x/manifests/latest"] = [bye, None]
        talk.manifest()


def test_a_truncated_manifest(server, image):
    server.add(image, "x")

    def cut(handler):
        handler.begin(200, 500)
        handler.wfile.write(b"{")
        handler.close_connection = True

    server.script["/v2/x/manifests/latest"] = [cut, None]
    with Talk(server) as talk:
        assert oci.load(talk.manifest()[0], "manifest")
        assert talk.waits == [1.0]


# --- sizes ---------------------------------------------------------------------------------


def test_documents_have_a_limit(server):
    server.offer(b" " * ((4 << 20) + 1), oci.OCI_MANIFEST, "latest")
    with Talk(server) as talk, pytest.raises(http.TooLarge):
        talk.manifest()


def test_also_without_a_length(server):
    def endless(handler):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b" " * 65536)
        except OSError:
            handler.close_connection = True

    server.script["/v2/x/manifests/latest"] = [endless]
    with Talk(server) as talk, pytest.raises(http.TooLarge):
        talk.manifest()


def test_errors_have_a_limit(server):
    server.script["/v2/x/manifests/latest"] = [server.status(404, b"x" * (2 << 20))]
    with Talk(server) as talk, pytest.raises(client.Unknown):
        talk.manifest()


# --- ranges --------------------------------------------------------------------------------


def test_going_on_in_the_middle(server, image):
    server.add(image, "x")
    data = image.blobs[layer_of(image)]
    with Talk(server) as talk:
        assert talk.blob(layer_of(image), 10) == (data[10:], 10)
        server.ranges = False
        assert talk.blob(layer_of(image), 10) == (data, 0)


def test_a_range_that_starts_elsewhere(server, image):
    server.add(image, "x")
    digest = layer_of(image)

    def elsewhere(handler):
        handler.begin(206, 4, 3, 100)
        handler.wfile.write(b"abcd")

    server.script[server.blob_path("x", digest)] = [elsewhere]
    with Talk(server) as talk, pytest.raises(http.Interrupted):
        talk.blob(digest, 10)


def test_a_range_that_cannot_be(server, image):
    server.add(image, "x")
    digest = layer_of(image)
    server.script[server.blob_path("x", digest)] = [server.status(416), None]
    with Talk(server) as talk:
        assert talk.blob(digest, 10) == (image.blobs[digest], 0)


# --- credentials ---------------------------------------------------------------------------


def test_basic(server, image):
    server.add(image, "x")
    server.users = {"me": "pass:word"}
    with Talk(server, auth.Login("me", "pass:word")) as talk:
        talk.manifest()
        talk.manifest()
    sent = [value is not None for value in server.headers("Authorization", "manifests")]
    assert sent == [False, True, True]


@pytest.mark.parametrize("login", [None, auth.Login("me", "wrong")])
def test_basic_refused(server, login):
    server.users = {"me": "secret"}
    with Talk(server, login) as talk, pytest.raises(client.Denied) as error:
        talk.manifest()
    assert "rl login" in error.value.advice and "wrong" not in str(error.value)
    assert len(server.paths("manifests")) <= 2


def test_tokens(server, image):
    server.add(image, "x")
    server.users, server.tokens = {"me": "secret"}, set()
    with Talk(server, auth.Login("me", "secret")) as talk:
        talk.manifest()
        talk.blob(layer_of(image))
    assert len(server.paths("/token")) == 1, "one token does for all of a repository"
    assert "scope=repository%3Ax%3Apull" in server.paths("/token")[0]
    assert "service=test" in server.paths("/token")[0]
    assert server.headers("Authorization", "/v2/x/")[0] is None
    assert all(v.startswith("Bearer ") for v in server.headers("Authorization", "/v2/x/")[1:])


def test_a_token_without_a_login(server, image):
    server.add(image, "x")
    server.tokens = set()
    with Talk(server) as talk:
        talk.manifest()
    assert server.headers("Authorization", "/token") == [None]


def test_a_token_that_does_not_help(server, image):
    server.add(image, "x")
    server.tokens = set()
    server.script["/token"] = [server.send(b'{"token": "useless"}')]
    with Talk(server) as talk, pytest.raises(client.Denied):
        talk.manifest()
    assert len(server.paths("/token")) == 1


def test_a_wrong_password_at_the_token_server(server):
    server.users, server.tokens = {"me": "secret"}, set()
    with Talk(server, auth.Login("me", "guess")) as talk, pytest.raises(auth.LoginRefused) as error:
        talk.manifest()
    assert "guess" not in f"{error.value}{error.value.advice}"


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\nb"}', b'{"token": "\\u00e4"}']
)
def test_tokens_that_make_no_sense(server, answer):
    server.tokens = set()
    server.script["/token"] = [server.send(answer)]
    with Talk(server) as talk, pytest.raises(auth.BadToken):
        talk.manifest()


def test_a_token_with_a_megabyte_too_much(server):
    server.tokens = set()
    server.script["/token"] = [server.send(b" " * ((1 << 20) + 1))]
    with Talk(server) as talk, pytest.raises(http.TooLarge):
        talk.manifest()


def test_identity_tokens(server, image):
    server.add(image, "x")
    server.tokens = set()
    with Talk(server, auth.Login(token="refresh-me")) as talk:
        talk.manifest()
    method, _, headers = next(row for row in server.requests if "/token" in row[1])
    assert method == "POST" and "Authorization" not in headers


def test_the_token_server_of_an_encrypted_registry_must_be_encrypted():
    found = auth.Authenticator(("https", "registry.example", 443), auth.Login("me", "secret"))
    with pytest.raises(auth.BadChallenge):
        found._fetch(None, {"realm": "http://auth.example/token"}, "")


def test_unknown_ways_to_log_in(server):
    server.script["/v2/x/manifests/latest"] = [
        server.status(401, b"{}", WWW_Authenticate='Negotiate realm="x"')
    ]
    with Talk(server) as talk, pytest.raises(auth.BadChallenge, match="Negotiate"):
        talk.manifest()


def test_many_threads_fetch_one_token(server, image):
    server.add(image, "x")
    server.tokens = set()
    with Talk(server) as talk:
        talk.manifest()
        start = threading.Barrier(6)
        failed = []

        def work():
            session = http.Session(talk.session.trust)
            try:
                start.wait(5)
                talk.registry.blob(session, "x", layer_of(image))[0].read(1 << 20)
            except Exception as error:
                failed.append(error)
            finally:
                session.close()

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed and len(server.paths("/token")) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('Bearer realm="https://a/t",service="s",scope="a:b:pull,push"',
         [("bearer", {"realm": "https://a/t", "service": "s", "scope": "a:b:pull,push"})]),
        ('Basic realm="a, b \\" c"', [("basic", {"realm": 'a, b " c'})]),
        ("Negotiate, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('BEARER  Realm="x" , Service=y', [("bearer", {"realm": "x", "service": "y"})]),
        ('Bearer realm="open', [("bearer", {"realm": "open"})]),
        ("", []),
        ("=,=", []),
    ],
)  # fmt: skip
def test_challenges(text, found):
    got = auth.parse_challenge(text)
    assert [one for one in got if one[0]] == found


# --- redirects -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_credentials_stay_with_their_origin(server, other, image, code):
    server.add(image, "x")
    server.users = {"me": "secret"}
    digest = layer_of(image)
    other.blobs = dict(image.blobs)
    path = server.blob_path("x", digest)
    target = f"{other.url}/v2/anything/blobs/{digest}?sig=1"
    server.script[path] = [None, server.redirect(target, code)]
    with Talk(server, auth.Login("me", "secret")) as talk:
        assert talk.blob(digest)[0] == image.blobs[digest]
    assert other.headers("Authorization") == [None]
    assert other.paths() == [f"/v2/anything/blobs/{digest}?sig=1"]


def test_tokens_stay_with_their_origin(server, other, image):
    server.add(image, "x")
    server.tokens = set()
    digest = layer_of(image)
    other.blobs = dict(image.blobs)
    with Talk(server) as talk:
        talk.manifest()
        path = server.blob_path("x", digest)
        server.script[path] = [server.redirect(f"{other.url}/blobs/{digest}")]
        assert talk.blob(digest)[0] == image.blobs[digest]
    assert other.headers("Authorization") == [None]


def test_the_password_does_not_follow_the_token_server(server, other):
    server.users, server.tokens = {"me": "secret"}, set()
    server.script["/token"] = [server.redirect(f"{other.url}/token")]
    other.tokens = set()
    with Talk(server, auth.Login("me", "secret")) as talk, pytest.raises(client.Denied):
        talk.manifest()
    assert other.headers("Authorization", "/token") == [None]


def test_within_an_origin_they_do(server, image):
    server.add(image, "x")
    server.users = {"me": "secret"}
    server.script["/v2/x/manifests/latest"] = [None, server.redirect("/v2/y/manifests/latest")]
    with Talk(server, auth.Login("me", "secret")) as talk:
        talk.manifest()
    assert server.headers("Authorization", "/v2/y/")[0] is not None


def test_endless_redirects(server):
    path = "/v2/x/manifests/latest"
    server.script[path] = [server.redirect(path)]
    server.lasting.add(path)
    with Talk(server) as talk, pytest.raises(http.BadRedirect, match="10 times"):
        talk.manifest()


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://x/y", "https:///x", "http://h/\u00e4", "http://h:x/"],
)
def test_redirects_to_elsewhere(server, target):
    server.script["/v2/x/manifests/latest"] = [server.redirect(target)]
    with Talk(server) as talk, pytest.raises(http.BadRedirect):
        talk.manifest()


def test_encryption_is_not_given_up():
    with pytest.raises(http.BadRedirect, match="without encryption"):
        http.following("https://registry.example/a", "http://registry.example/a")
    assert http.following("https://registry.example/a", "/b") == "https://registry.example/b"


def test_a_challenge_of_another_host_is_not_answered(server, other, image):
    server.add(image, "x")
    path = server.blob_path("x", layer_of(image))
    server.script[path] = [server.redirect(f"{other.url}/blob")]
    challenge = f'Bearer realm="{other.url}/token",service="x"'
    other.script["/blob"] = [other.status(401, WWW_Authenticate=challenge)]
    with Talk(server, auth.Login("me", "secret")) as talk, pytest.raises(client.Denied):
        talk.blob(layer_of(image))
    assert other.paths("/token") == [] and set(other.headers("Authorization")) == {None}


def test_nobody_makes_us_sleep_for_long(server, image):
    server.add(image, "x")
    server.script["/v2/x/manifests/latest"] = [server.status(503, Retry_After="99999999"), None]
    with Talk(server) as talk:
        talk.manifest()
    assert talk.waits == [60]


# --- tags ----------------------------------------------------------------------------------


def test_tags_over_several_pages(server):
    path = "/v2/x/tags/list"
    link = '</v2/x/tags/list?last=b&n=2>; rel="next"'
    server.script[path] = [
        server.status(200, b'{"tags": ["a", "b"]}', Link=link),
        server.status(200, b'{"tags": ["c", "../x", 5]}'),
    ]
    with Talk(server) as talk:
        assert talk.registry.tags(talk.session, "x") == ["a", "b", "c"]


def test_pages_of_somebody_else(server, other):
    link = f'<{other.url}/v2/x/tags/list>; rel="next"'
    server.script["/v2/x/tags/list"] = [server.status(200, b'{"tags": ["a"]}', Link=link)]
    with Talk(server) as talk:
        assert talk.registry.tags(talk.session, "x") == ["a"]
    assert other.requests == []


# --- proxies -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "where", "found"),
    [
        ({"https_proxy": "http://p:3128"}, ("https", "a.example", 443), "http://p:3128"),
        ({"HTTPS_PROXY": "p:3128"}, ("https", "a.example", 443), "http://p:3128"),
        ({"HTTP_PROXY": "http://p:3128"}, ("http", "a.example", 80), None),
        ({"http_proxy": "http://p:3128"}, ("http", "a.example", 80), "http://p:3128"),
        ({"ALL_PROXY": "http://p:1"}, ("https", "a.example", 443), "http://p:1"),
        ({"https_proxy": "http://p", "no_proxy": "example"}, ("https", "a.example", 443), None),
        ({"https_proxy": "http://p", "NO_PROXY": ".example"}, ("https", "a.example", 443), None),
        ({"https_proxy": "http://p", "no_proxy": "a.example"}, ("https", "ba.example", 443),
         "http://p"),
        ({"https_proxy": "http://p", "no_proxy": "*"}, ("https", "a.example", 443), None),
        ({}, ("https", "a.example", 443), None),
    ],
)  # fmt: skip
def test_proxy_settings(environ, where, found):
    assert http.Trust(environ).proxy(where) == found


def test_through_a_proxy(server, other, image):
    other.blobs, other.manifests = {}, {}

    def answer(handler):
        handler.reply(200, b"{}", {"Content-Type": oci.OCI_MANIFEST})

    session = http.Session(http.Trust({"http_proxy": f"http://me:pw@{other.address}"}))
    try:
        url = "http://registry.invalid/v2/x/manifests/latest"
        other.script["/v2/x/manifests/latest"] = [answer]
        assert session.send("GET", url).read(100) == b"{}"
    finally:
        session.close()
    assert other.paths() == [url]
    assert other.headers("Proxy-Authorization")[0].startswith("Basic ")


def test_every_error_has_words():
    for kind in (client.Denied, client.Unknown, client.Throttled, client.GaveUp):
        assert issubclass(kind, RlError) and kind.__doc__ and kind.hint
