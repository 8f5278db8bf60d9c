"""What the word for a context means."""

import pytest

from rootless.build.context import places
from rootless.build.context.errors import BadGitUrl


@pytest.mark.parametrize("where, wanted", [
    ("-", places.STDIN),
    (".", places.LOCAL),
    ("dir", places.LOCAL),
    ("/abs/dir", places.LOCAL),
    ("./git@host:x", places.LOCAL),
    ("https://host.example/x", places.URL),
    ("http://host.example/x.tar.gz", places.URL),
    ("http://host.example/x.git.tar", places.URL),
    ("https://host.example/x.git", places.GIT),
    ("https://host.example/x.git#main:dir", places.GIT),
    ("https://host.example/x.git?ref=main", places.GIT),
    ("https://host.example/a?b=x.git", places.URL),
    ("https://host.example/a#x.git", places.URL),
    ("https://[no-address/x.git", places.URL),
    ("git://host.example/x", places.GIT),
    ("ssh://git@host.example/x", places.GIT),
    ("file:///srv/x", places.GIT),
    ("git@host.example:x/y", places.GIT),
    ("github.com/someone/something", places.GIT),
    ("ext::sh -c true", places.LOCAL),
    ("ftp://host.example/x.git", places.LOCAL),
])  # fmt: skip
def test_kind(where, wanted):
    assert places.kind_of(where) == wanted


@pytest.mark.parametrize("where, remote, ref, subdir", [
    ("https://h.example/x.git", "https://h.example/x.git", None, None),
    ("https://h.example/x.git#v1.0", "https://h.example/x.git", "v1.0", None),
    ("https://h.example/x.git#one/two:a/b", "https://h.example/x.git", "one/two", "a/b"),
    ("https://h.example/x.git#:sub", "https://h.example/x.git", None, "sub"),
    ("https://h.example:8443/x.git", "https://h.example:8443/x.git", None, None),
    ("https://u:p@h.example/x.git", "https://u:p@h.example/x.git", None, None),
    ("git@h.example:x/y.git#main", "git@h.example:x/y.git", "main", None),
    ("ssh://git@h.example:22/x#pull/3/head", "ssh://git@h.example:22/x", "pull/3/head", None),
    ("git://h.example/x", "git://h.example/x", None, None),
    ("file:///srv/x#main", "file:///srv/x", "main", None),
    ("github.com/a/b#main", "https://github.com/a/b", "main", None),
    ("https://h.example/x.git?tag=v1", "https://h.example/x.git", "refs/tags/v1", None),
    ("https://h.example/x.git?branch=b&subdir=d", "https://h.example/x.git", "refs/heads/b", "d"),
])  # fmt: skip
def test_git(where, remote, ref, subdir):
    found = places.parse_git(where)
    assert (found.remote, found.ref, found.subdir) == (remote, ref, subdir)


def test_git_settings():
    found = places.parse_git("https://h.example/x.git?keep-git-dir=1&submodules=false&commit=abc1")
    assert (found.keep_git_dir, found.submodules, found.checksum) == (True, False, "abc1")


@pytest.mark.parametrize("where", [
    "https://h.example/x.git#--upload-pack=touch /tmp/x",
    "https://h.example/x.git#-x",
    "https://h.example/x.git#a b",
    "https://h.example/x.git#a..b",
    "https://h.example/x.git#+refs/heads/*",
    "https://h.example/x.git#a~1",
    "https://h.example/x.git#a^{tree}",
    "https://h.example/x.git#@{1}",
    "https://h.example/x.git#a\nb",
    "https://h.example/x.git#a\\b",
    "https://h.example/x.git?ref=--x",
    "https://h.example/x.git?ref=a&branch=b",
    "https://h.example/x.git?what=ever",
    "https://h.example/x.git?submodules=maybe",
    "ssh://-oProxyCommand=touch%20x/y",
    "ssh://-oProxyCommand=x@h.example/y",
    "ssh://h.example/-y",
    "ssh:///y",
    "ssh://h.example/",
    "git@-oProxyCommand=x:y",
    "-oProxyCommand=x@h.example:y",
    "git@h.example:-y",
    "git@h.example:",
    "git://h ost/x",
    "git://h.example/x\x01",
    "git://h.example:99999/x",
    "file://elsewhere/srv/x",
    "file:///",
    "git://$(touch x)/y",
])  # fmt: skip
def test_hostile_addresses(where):
    with pytest.raises(BadGitUrl):
        places.parse_git(where)


def test_a_password_is_a_setting_for_its_server_alone():
    found = places.parse_git("https://u:p@h.example:8443/x.git#main")
    assert found.public == found.shown == "https://h.example:8443/x.git"
    assert found.login == (
        ("url.https://u:p@h.example:8443/.insteadOf", "https://h.example:8443/"),
    )
    for where in ("https://h.example/x.git", "ssh://git@h.example/x", "git@h.example:x"):
        found = places.parse_git(where)
        assert found.public == found.remote and found.login == ()


def test_secrets_are_not_shown():
    assert places.without_secrets("https://u:p@h.example/x?y") == "https://h.example/x?y"
    assert places.without_secrets("git@h.example:x") == "git@h.example:x"
    with pytest.raises(BadGitUrl) as caught:
        places.parse_git("https://user:hunter2@h.example/x.git#--bad")
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("rest", [
    "h.example:port/x.git", "[h.example/x.git", "h.example/x y.git", "h.example/x.git?what=x",
    "h.example/x.git?ref=one&ref=two", "h.example/x.git?subdir=one&subdir=two",
])  # fmt: skip
def test_no_message_has_a_password(rest):
    with pytest.raises(BadGitUrl) as caught:
        places.parse_git(f"https://user:hunter2@{rest}")
    assert "hunter2" not in caught.value.message
