"""Names of images: the grammar, what short names stand for, digests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.model import reference
from rootless.model.reference import BadDigest, BadReference

SHA = "sha256:" + "0123456789abcdef" * 4

GOOD = {
    "debian": (None, "debian", None, None),
    "debian:12": (None, "debian", "12", None),
    "team/app": (None, "team/app", None, None),
    "docker.io/debian": ("docker.io", "library/debian", None, None),
    "index.docker.io/a/b": ("docker.io", "a/b", None, None),
    "docker://quay.io/a/b:t": ("quay.io", "a/b", "t", None),
    "localhost/x": ("localhost", "x", None, None),
    "localhost:5000/x": ("localhost:5000", "x", None, None),
    "127.0.0.1:5000/a/b/c:v1.2_3-x": ("127.0.0.1:5000", "a/b/c", "v1.2_3-x", None),
    "[::1]:5000/x": ("[::1]:5000", "x", None, None),
    "Host/x": ("Host", "x", None, None),
    f"quay.io/a@{SHA}": ("quay.io", "a", None, SHA),
    f"a:t@{SHA}": (None, "a", "t", SHA),
    "a@sha512:" + "a" * 128: (None, "a", None, "sha512:" + "a" * 128),
    "a__b/c--d/e.f-g": (None, "a__b/c--d/e.f-g", None, None),
    "a/b:" + "t" * 128: (None, "a/b", "t" * 128, None),
    "deadbeef": (None, "deadbeef", None, None),
}
BAD = [
    "", ":", "a:", "a:b:c", "/a", "a/", "a//b", "A", "a/B", "a b", "a\nb", "-a", "a-", ".a",
    "a..b", "a___b", "a.-b", "a:-t", "a:.t", "a:" + "t" * 129, "ä", "a:ä", "../a", "a/../b",
    "a@", "a@sha256:", "a@sha256:" + "0" * 63, "a@sha256:" + "0" * 65, "a@md5:" + "0" * 32,
    "a@sha256:" + "A" * 64, "a@" + SHA + "@" + SHA, "ho_st.x/a", "-h.x/a", "h.x:99999/a",
    "h.x:/a", "[::1/a", "a" * 256, "x.y/" + "a" * 255, "0" * 64, "a\0b", "$(id)/a", "a;b",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_names_come_apart(text):
    found = reference.parse(text)
    assert (found.domain, found.path, found.tag, found.digest) == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_what_is_not_a_name_is_refused(text):
    with pytest.raises(BadReference) as error:
        reference.parse(text)
    assert error.value.advice


def test_capital_letters_are_named_as_the_cause():
    with pytest.raises(BadReference, match="'App' has capital letters"):
        reference.parse("team/App")


@given(st.text(alphabet="ab0.-_/:@[]Zsha256", max_size=60))
def test_what_is_taken_is_stable(text):
    try:
        found = reference.parse(text)
    except BadReference:
        return
    again = reference.parse(str(found))
    assert again == found and hash(again) == hash(found)
    full = reference.normalise(text)
    assert full.domain and (full.tag or full.digest)
    assert reference.normalise(str(full)) == full


@given(st.text(max_size=80))
def test_nothing_but_the_error_meant_for_it(text):
    try:
        found = reference.parse(text)
    except BadReference:
        return
    assert ".." not in found.path.split("/") and not found.path.startswith("/")


def test_short_names_stand_for_docker_hub():
    assert str(reference.normalise("debian")) == "docker.io/library/debian:latest"
    assert str(reference.normalise("a/b:1")) == "docker.io/a/b:1"
    assert str(reference.normalise(f"debian@{SHA}")) == f"docker.io/library/debian@{SHA}"


def test_new_names_are_local():
    assert str(reference.for_local("mine")) == "localhost/mine:latest"
    assert str(reference.for_local("quay.io/a/b")) == "quay.io/a/b:latest"
    with pytest.raises(BadReference, match="digest"):
        reference.for_local(f"mine@{SHA}")


def test_candidates_in_order():
    def names(*args, **more):
        return [str(one) for one in reference.candidates(*args, **more)]

    assert names("x") == ["localhost/x:latest", "docker.io/library/x:latest"]
    assert names("x", {}, ("quay.io", "docker.io"), False) == [
        "quay.io/x:latest", "docker.io/library/x:latest",
    ]  # fmt: skip
    assert names("x:2", {"x": "quay.io/team/x"}) == ["localhost/x:2", "quay.io/team/x:2"]
    assert names("quay.io/x", {"x": "a.io/y"}) == ["quay.io/x:latest"]
    assert names("y", {}, ("mirror.example/base",), False) == ["mirror.example/base/y:latest"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("elf:/usr/bin/env", ("elf", "/usr/bin/env")),
        ("oci-archive:x.tar:name", ("oci-archive", "x.tar:name")),
        ("docker-archive:x", ("docker-archive", "x")),
        ("oci:dir", ("oci", "dir")),
        ("elf:", ("docker", "elf:")),
        ("localhost/elf:1", ("docker", "localhost/elf:1")),
        ("docker://x", ("docker", "docker://x")),
        ("debian:12", ("docker", "debian:12")),
    ],
)
def test_transports(text, found):
    assert reference.split_transport(text) == found


@pytest.mark.parametrize("value", [None, 5, "", "sha256", SHA + "\n", " " + SHA, SHA[:-1]])
def test_digests_are_checked(value):
    assert not reference.is_digest(value)
    with pytest.raises(BadDigest):
        reference.check_digest(value)


def test_a_digest():
    assert reference.check_digest(SHA) == SHA
    assert reference.short_digest(SHA) == "0123456789ab"
