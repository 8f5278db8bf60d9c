"""rl search: registries with a search of their own, with a catalogue only, and hostile ones."""

import json
import os

import pytest

from support import oci
from support.fakeregistry import FakeRegistry
from support.registry import Registry

pytestmark = pytest.mark.integration
PLAIN = "--tls-verify=false"
V1 = "/v1/search"


@pytest.fixture
def server():
    with FakeRegistry() as found:
        yield found


@pytest.fixture(scope="module")
def stocked(tmp_path_factory):
    """A registry with a few repositories."""
    from support import tools

    place = tmp_path_factory.mktemp("stocked")
    image = oci.Image([oci.layer(oci.entry("a", "b"))], {"Cmd": ["x"]})
    archive = image.oci_archive(f"{place}/image.oci", "x")
    with Registry(str(place)) as found:
        for name in ("team/alpine:1", "team/alpine:2", "team/debian:1", "mine:latest"):
            tools.run(tools.find("skopeo"), "--insecure-policy", "copy", "-q",
                      "--dest-tls-verify=false", f"oci-archive:{archive}",
                      f"docker://{found.address}/{name}")  # fmt: skip
        yield found


def results(*rows, **more):
    return json.dumps({"results": list(rows), **more}).encode()


def settle(rl, *registries):
    os.makedirs(f"{rl.home}/config/rl", exist_ok=True)
    with open(f"{rl.home}/config/rl/registries.toml", "w", encoding="utf-8") as file:
        file.write(f"unqualified-search-registries = {json.dumps(list(registries))}\n")
        for name in registries:
            file.write(f'[[registry]]\nlocation = "{name}"\ninsecure = true\n')


# --- a catalogue ---------------------------------------------------------------------------


def test_a_catalogue_is_searched(rl, stocked):
    done = rl.ok("search", PLAIN, f"{stocked.address}/alp")
    assert [line.split() for line in done.lines] == [
        ["NAME", "DESCRIPTION"], [f"{stocked.address}/team/alpine"]
    ]  # fmt: skip
    every = rl.ok("search", PLAIN, "--format", "{{.Name}}", f"{stocked.address}/").lines
    assert [name.partition("/")[2] for name in every] == ["mine", "team/alpine", "team/debian"]
    rows = rl.ok("search", PLAIN, "--limit", "2", "--format", "json", f"{stocked.address}/").json()
    assert len(rows) == 2 and rows[0]["Index"] == stocked.address and rows[0]["Stars"] == 0
    assert rl.ok("search", PLAIN, f"{stocked.address}/nothing").stdout == ""


def test_tags(rl, stocked):
    name = f"{stocked.address}/team/alpine"
    done = rl.ok("search", PLAIN, "--list-tags", name)
    assert done.lines[0].split() == ["NAME", "TAG"]
    assert sorted(line.split() for line in done.lines[1:]) == [[name, "1"], [name, "2"]]
    assert rl.ok("search", PLAIN, "--list-tags", "--limit", "1", "--format", "{{.Tag}}",
                 name).text in ("1", "2")  # fmt: skip
    found = rl.ok("search", PLAIN, "--list-tags", "--format", "json", name).json()
    assert [row["Name"] for row in found] == [name] and sorted(found[0]["Tags"]) == ["1", "2"]
    rl.fails("search", PLAIN, "--list-tags", f"{stocked.address}/nothere")
    rl.fails("search", PLAIN, "--list-tags", f"{name}:1", says="a name only")
    rl.fails("search", PLAIN, "--list-tags", "--filter", "stars=1", name, hint=False)


def test_a_catalogue_in_pages(rl, server):
    server.script[V1] = [server.status(404)]
    server.script["/v2/_catalog"] = [
        server.status(200, b'{"repositories": ["a/one", "b"]}',
                      Link='</v2/_catalog?last=b&n=2>; rel="next"'),
        server.status(200, b'{"repositories": ["c/one", 7]}'),
    ]  # fmt: skip
    found = rl.ok("search", PLAIN, "--format", "{{.Name}}", f"{server.address}/one").lines
    assert found == [f"{server.address}/a/one", f"{server.address}/c/one"]
    assert [path for path in server.paths("_catalog")][1] == "/v2/_catalog?last=b&n=2"


def test_no_catalogue_is_an_error(rl, server):
    rl.fails("search", PLAIN, f"{server.address}/x", says="can't be searched")
    server.script["/v2/_catalog"] = [server.status(401)]
    rl.fails("search", PLAIN, f"{server.address}/x", says="refuses")


def test_credentials(rl, workdir):
    os.mkdir(f"{workdir}/registry")
    with Registry(f"{workdir}/registry", users={"me": "secret"}) as there:
        rl.fails("search", PLAIN, f"{there.address}/", says="refuses")
        assert rl.ok("search", PLAIN, "--creds", "me:secret", f"{there.address}/").stdout == ""


# --- a search of its own -------------------------------------------------------------------

ROWS = (
    {"name": "team/app", "description": "An app\nwith a very long text that goes on and on",
     "star_count": 12, "is_official": False, "is_automated": True},
    {"name": "best", "description": "x", "star_count": 99, "is_official": True},
)  # fmt: skip


def test_docker_s_search(rl, server):
    server.script[V1] = [server.status(200, results(*ROWS))]
    server.lasting.add(V1)
    rows = rl.ok("search", PLAIN, "--compatible", f"{server.address}/app").lines
    assert rows[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL", "AUTOMATED"]
    assert rows[1].startswith(f"{server.address}/team/app  An app with a very long text that")
    assert rows[1].split()[-2:] == ["12", "[OK]"] and "..." in rows[1]
    whole = rl.ok("search", PLAIN, "--no-trunc", f"{server.address}/app").text
    assert "goes on and on" in whole
    assert "q=app" in server.paths(V1)[0] and "n=25" in server.paths(V1)[0]

    def names(*words):
        found = rl.ok("search", PLAIN, "--format", "{{.Name}}", *words, f"{server.address}/app")
        return [line.rpartition("/")[2] for line in found.lines]

    assert names("--filter", "stars=50") == ["best"]
    assert names("--filter", "is-official") == ["best"]
    assert names("--filter", "is-official=false") == ["app"]
    assert names("--filter", "is-automated", "--filter", "stars=3") == ["app"]
    table = rl.ok("search", PLAIN, "--format", "table {{.Index}} {{.Stars}}",
                  f"{server.address}/app").lines  # fmt: skip
    assert table[0].split() == ["INDEX", "STARS"] and table[1].split()[1] == "12"
    rl.fails("search", PLAIN, "--filter", "stars=many", f"{server.address}/app", says="number")
    rl.fails("search", PLAIN, "--filter", "nope=1", f"{server.address}/app", says="unknown")


def test_pages_of_a_search(rl, server):
    page = [{"name": f"x{n}"} for n in range(100)]
    server.script[V1] = [server.status(200, results(*page, num_pages=3)),
                         server.status(200, results(*page, num_pages=3))]  # fmt: skip
    found = rl.ok("search", PLAIN, "--limit", "150", "--format", "{{.Name}}",
                  f"{server.address}/x").lines  # fmt: skip
    assert len(found) == 150
    assert [("page=1" in path, "page=2" in path) for path in server.paths(V1)] == [
        (True, False), (False, True)
    ]  # fmt: skip


def test_a_hostile_registry(rl, server):
    server.script[V1] = [server.status(200, results(
        {"name": "good", "description": "\x1b[2Jevil\u202e", "star_count": "many"},
        {"name": "../../etc"}, {"name": 7}, "nonsense", {"name": "\x1b[31mred"},
    ))]  # fmt: skip
    server.lasting.add(V1)
    rows = rl.ok("search", PLAIN, "--format", "json", f"{server.address}/x").json()
    assert [row["Name"] for row in rows] == [f"{server.address}/good"]
    assert rows[0]["Stars"] == 0
    server.script[V1] = [server.status(200, b"<html>welcome</html>")]
    server.script["/v2/_catalog"] = [server.status(200, b"[]")]
    rl.fails("search", PLAIN, f"{server.address}/x", says="not valid", hint=False)
    server.script["/v2/_catalog"] = [server.status(200, b" " * (5 << 20))]
    assert rl("search", PLAIN, f"{server.address}/x").code == 125


# --- several registries --------------------------------------------------------------------


def test_names_without_a_registry_are_searched_everywhere(rl, server, stocked):
    server.script[V1] = [server.status(200, results({"name": "my/alpine"}))]
    server.lasting.add(V1)
    settle(rl, server.address, stocked.address)
    found = rl.ok("search", "--format", "{{.Name}}", "alpine").lines
    assert found == [f"{server.address}/my/alpine", f"{stocked.address}/team/alpine"]
    settle(rl, "127.0.0.1:1", stocked.address)
    done = rl.ok("search", "--format", "{{.Name}}", "alpine")
    assert done.lines == [f"{stocked.address}/team/alpine"]
    assert "Warning: 127.0.0.1:1" in done.stderr
    settle(rl, "127.0.0.1:1")
    rl.fails("search", "alpine", says="127.0.0.1:1")
    settle(rl)
    rl.fails("search", "alpine", says="no registry")
    rl.fails("search", "", says="what is to be searched for")
