"""rl pull, against a real registry."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from support import tools
from support.registry import Registry

pytestmark = pytest.mark.integration
PLAIN = "--tls-verify=false"


def nothing_here(rl):
    """Whether a failure has left neither image nor layer."""
    left = [name for name in os.listdir(f"{rl.root}/layers") if not name.startswith(".")]
    return rl.ok("images", "-aq").text == "" and left == []


def test_from_a_registry(rl, registry, busybox_image):
    name = registry.push(f"oci-archive:{busybox_image}", "pull/busybox:1")
    config = json.loads(tools.run(tools.find("skopeo"), "inspect", "--raw", "--tls-verify=false",
                                  f"docker://{name}"))["config"]["digest"]  # fmt: skip
    done = rl.ok("pull", PLAIN, name)
    assert f"sha256:{done.text}" == config
    assert "Trying to pull" in done.stderr
    assert rl.ok("run", "--rm", "--network", "none", name, "echo", "hi").text == "hi"
    again = rl.ok("pull", "--quiet", PLAIN, name)
    assert again.text == done.text and again.stderr == ""


def test_many_layers(rl, registry, multilayer_image):
    name = registry.push(f"oci-archive:{multilayer_image}", "pull/multilayer:latest")
    rl.ok("pull", PLAIN, name.removesuffix(":latest"))
    assert rl.ok("run", "--rm", "--network", "none", name).text == "four"
    found = rl.ok("run", "--rm", "--network", "none", name, "ls", "/data").text
    assert found == "four"


def test_docker_manifests_and_zstd_layers(rl, registry, busybox_image):
    v2s2 = registry.push(f"oci-archive:{busybox_image}", "pull/v2s2:1", "--format", "v2s2")
    zstd = registry.push(f"oci-archive:{busybox_image}", "pull/zstd:1",
                         "--dest-compress-format", "zstd")  # fmt: skip
    first = rl.ok("pull", "-q", PLAIN, v2s2).text
    second = rl.ok("pull", "-q", PLAIN, zstd).text
    rl.ok("rmi", "-f", first)
    assert rl.ok("pull", "-q", PLAIN, zstd).text == second
    assert rl.ok("run", "--rm", "--network", "none", zstd, "echo", "hi").text == "hi"


def test_by_digest(rl, registry, busybox_image):
    name = registry.push(f"oci-archive:{busybox_image}", "pull/digest:1")
    digest = json.loads(
        tools.run(tools.find("skopeo"), "inspect", "--tls-verify=false", f"docker://{name}")
    )["Digest"]
    pinned = f"{name.removesuffix(':1')}@{digest}"
    rl.ok("pull", "-q", PLAIN, pinned)
    (row,) = rl.ok("images", "--format", "json").json()
    assert row["Names"] == [] and pinned in row["RepoDigests"]
    assert rl.ok("run", "--rm", "--network", "none", pinned, "echo", "hi").text == "hi"
    other = f"{name.rpartition('/')[0]}/other@{digest}"
    rl.fails("run", "--rm", "--pull", "never", other, says="other")
    rl.ok("image", "prune", "--force")
    assert rl.ok("images", "-q").text, "who pulls by digest means to keep it"


def test_what_is_not_there(rl, registry):
    rl.fails("pull", PLAIN, f"{registry.address}/nothing/here", says="manifest unknown")
    rl.fails("pull", f"{registry.address}/nothing/here", says="without encryption")
    rl.fails("run", "127.0.0.1:1/x", says="connection refused")
    rl.fails("run", "registry.invalid/x", says="registry.invalid")
    rl.fails("run", "Not/A/Name", says="capital letters")
    rl.fails("run", "--pull", "never", "debian", says="no image debian here")
    rl.fails("run", "--pull", "sometimes", "debian", says="sometimes")


MEASURE = """\
import os, resource, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def test_a_large_image_takes_little_memory(rl, registry, debian_image):
    name = registry.push(f"oci-archive:{debian_image}", "pull/debian:1")
    # A small process in between: what is measured begins with the size of the parent.
    done = subprocess.run(
        [sys.executable, "-IS", "-c", MEASURE, *rl.words("pull", "-q", PLAIN, name)],
        env=rl.environment, cwd=rl.home, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stderr.split()[-1]) < 150 << 10, "kB of the largest process"
    assert "apt" in rl.ok("run", "--rm", "--network", "none", name, "apt", "--version").text


# --- trust ---------------------------------------------------------------------------------


def test_certificates(rl, workdir, busybox_image):
    os.mkdir(f"{workdir}/reg")
    with Registry(f"{workdir}/reg", tls=True) as server:
        name = server.push(f"oci-archive:{busybox_image}", "x:1")
        error = rl.fails("pull", name, says="can't prove who it is")
        assert "--cert-dir" in error.stderr
        os.mkdir(f"{workdir}/certs")
        shutil.copy(server.certificate, f"{workdir}/certs/ca.crt")
        rl.ok("pull", "-q", "--cert-dir", f"{workdir}/certs", name)
        rl.ok("rmi", name)
        rl.fails("pull", "--cert-dir", f"{workdir}/nothing", name, says="nothing", hint=False)
        own = f"{rl.home}/config/containers/certs.d/{server.address}"
        os.makedirs(own)
        shutil.copy(server.certificate, f"{own}/ca.crt")
        rl.ok("pull", "-q", name)
        rl.ok("rmi", name)
        shutil.rmtree(own)
        rl.fails("pull", name, says="can't prove who it is")
        rl.ok("pull", "-q", PLAIN, name)


def test_passwords(rl, workdir, busybox_image):
    os.mkdir(f"{workdir}/reg")
    with Registry(f"{workdir}/reg", users={"me": "pass:word"}) as server:
        name = server.push(f"oci-archive:{busybox_image}", "x:1")
        error = rl.fails("pull", PLAIN, name, says="refuses access")
        assert "rl login" in error.stderr
        rl.fails("pull", PLAIN, "--creds", "me:wrong", name, says="refuses access")
        rl.ok("pull", "-q", PLAIN, "--creds", "me:pass:word", name)
        rl.ok("rmi", name)

        where = server.address
        rl.fails("login", PLAIN, "-u", "me", "-p", "wrong", where, says="doesn't accept")
        rl.fails("login", "--get-login", where, says="not logged in", hint=False)
        done = rl.ok("login", PLAIN, "-u", "me", "--password-stdin", "-v", where,
                     input="pass:word\n")  # fmt: skip
        assert done.lines == [f"Used: {rl.run}/containers/auth.json", "Login Succeeded!"]
        assert os.stat(f"{rl.run}/containers/auth.json").st_mode & 0o777 == 0o600
        assert rl.ok("login", "--get-login", where).text == "me"
        assert "Already logged in" in rl.ok("login", PLAIN, where).stdout
        rl.ok("pull", "-q", PLAIN, name)
        tools.run(tools.find("skopeo"), "inspect", "--tls-verify=false", "--authfile",
                  f"{rl.run}/containers/auth.json", f"docker://{name}")  # fmt: skip
        rl.ok("logout", where)
        rl.fails("logout", where, says="not logged in", hint=False)
        rl.fails("pull", PLAIN, name, says="refuses access")
        rl.ok("login", PLAIN, "-u", "me", "-p", "pass:word", "--authfile", "mine.json", where)
        rl.ok("pull", "-q", PLAIN, "--authfile", "mine.json", name)
        assert "all registries" in rl.ok("logout", "--all", "--authfile", "mine.json").stdout
        rl.fails("pull", PLAIN, "--authfile", "mine.json", name, says="refuses access")


def test_nobody_to_ask_for_a_password(rl):
    rl.fails("login", "127.0.0.1:1", says="user name")
    rl.fails("login", "-u", "me", "127.0.0.1:1", says="password")
    rl.fails("login", "-u", "me", "-p", "x", "127.0.0.1:1", says="connection refused")
    rl.fails("login", "-u", "me", "-p", "x", "a b", says="not the name of a registry")
