"""registries.toml: short names, mirrors, blocked registries."""

import pytest

from rootless.image.registries import Ambiguous, BadRegistries, Blocked, Registries
from rootless.model import reference

SHA = "sha256:" + "0" * 64


def read(**document):
    return Registries([("file", document)])


def places(registries, name):
    return [
        (one.host, one.repository, one.insecure)
        for one in registries.endpoints(reference.normalise(name))
    ]


def test_without_files():
    assert places(Registries(), "debian") == [("registry-1.docker.io", "library/debian", False)]
    assert places(Registries(), "quay.io/a/b") == [("quay.io", "a/b", False)]


def test_mirrors_come_first():
    row = {"location": "docker.io", "mirror": [
        {"location": "cache.example/hub", "insecure": True},
        {"location": "digests.example", "pull-from-mirror": "digest-only"},
        {"location": "tags.example", "pull-from-mirror": "tag-only"},
    ]}  # fmt: skip
    found = read(registry=[row])
    last = ("registry-1.docker.io", "library/debian", False)
    first = ("cache.example", "hub/library/debian", True)
    assert places(found, "debian") == [first, ("tags.example", "library/debian", False), last]
    assert places(found, f"debian@{SHA}") == [
        first, ("digests.example", "library/debian", False), last,
    ]  # fmt: skip
    assert places(found, "quay.io/x") == [("quay.io", "x", False)]


def test_the_longest_prefix_counts():
    found = read(registry=[
        {"location": "r.example"},
        {"prefix": "r.example/team", "location": "other.example/t", "insecure": True},
        {"prefix": "*.wild.example", "location": "tame.example"},
    ])  # fmt: skip
    assert places(found, "r.example/team/app") == [("other.example", "t/app", True)]
    assert places(found, "r.example/teams/app") == [("r.example", "teams/app", False)]
    assert places(found, "r.example:5000/team/app") == [("r.example:5000", "team/app", False)]
    assert places(found, "a.wild.example/x/y") == [("tame.example", "x/y", False)]
    assert places(found, "wild.example/x") == [("wild.example", "x", False)]


def test_one_repository_moved():
    found = read(registry=[{"prefix": "r.example/a", "location": "s.example/b"}])
    assert places(found, "r.example/a:1") == [("s.example", "b", False)]


def test_blocked():
    found = read(registry=[{"location": "bad.example", "blocked": True}])
    with pytest.raises(Blocked, match="bad.example"):
        found.endpoints(reference.normalise("bad.example/x"))


def test_short_names():
    found = read(**{"unqualified-search-registries": ["a.example", "b.example"]},
                 aliases={"x": "c.example/team/x"})  # fmt: skip
    assert [str(r) for r in found.to_pull("y")] == ["a.example/y:latest", "b.example/y:latest"]
    assert [str(r) for r in found.to_pull("x:1")] == ["c.example/team/x:1"]
    assert [str(r) for r in found.candidates("y")][0] == "localhost/y:latest"


def test_enforcing_refuses_to_guess():
    found = read(**{"unqualified-search-registries": ["a.example", "b.example"],
                    "short-name-mode": "enforcing"})  # fmt: skip
    with pytest.raises(Ambiguous, match="a.example, b.example"):
        found.to_pull("y")
    assert len(found.to_pull("a.example/y")) == 1


def test_later_files_win_key_by_key():
    found = Registries([
        ("1", {"unqualified-search-registries": ["a.example"],
               "aliases": {"x": "a.b/x", "y": "a.b/y"},
               "registry": [{"location": "r.example", "insecure": True}]}),
        ("2", {"aliases": {"x": "c.d/x", "y": ""},
               "registry": [{"location": "r.example"}]}),
    ])  # fmt: skip
    assert found.search == ("a.example",)
    assert found.aliases == {"x": "c.d/x"}
    assert not found.is_insecure("r.example")


@pytest.mark.parametrize(
    "document",
    [
        {"unknown": 1},
        {"unqualified-search-registries": "docker.io"},
        {"unqualified-search-registries": ["not a host"]},
        {"aliases": []},
        {"aliases": {"x": "short"}},
        {"aliases": {"x": 1}},
        {"registry": {}},
        {"registry": [{}]},
        {"registry": [{"location": "a.b", "insecur": True}]},
        {"registry": [{"location": "a.b", "insecure": "yes"}]},
        {"registry": [{"location": "http://a.b"}]},
        {"registry": [{"location": "a.b", "mirror": [{"location": ""}]}]},
        {"registry": [{"location": "a.b", "mirror": [{"location": "x", "pull-from-mirror": "?"}]}]},
        {"registry": [{"location": "a.b", "mirror": ["x"]}]},
        {"registries": {"search": {"registries": ["docker.io"]}}},
        {"short-name-mode": "guess"},
        {"credential-helpers": "secretservice"},
    ],
)
def test_mistakes_name_the_file(document):
    with pytest.raises(BadRegistries, match="^the-file: "):
        Registries([("the-file", document)])


def test_files_of_another_engine_may_know_more():
    document = {"new-key": 1, "registry": [{"location": "r.example", "new": 1, "insecure": True}]}
    found = Registries([("registries.conf", document)], borrowed=True)
    assert found.is_insecure("r.example")
