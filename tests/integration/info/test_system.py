"""rl system: what df says is what du says; prune, check and reset keep what is in use."""

import os
import re
import subprocess

import pytest

pytestmark = pytest.mark.integration


def sizes(rl):
    return {row["Type"]: row for row in rl.ok("system", "df", "--format", "json").json()}


def total(rl):
    return rl.ok("system", "df", "-v", "--format", "json").json()["total"]


def plain_du(path):
    said = subprocess.run(["du", "-s", "--block-size=1", path], capture_output=True, text=True)
    return int(said.stdout.split()[0])


# -- df ------------------------------------------------------------------------------------


def test_df_of_nothing(rl):
    found = sizes(rl)
    assert list(found) == [
        "Images", "Containers", "Local Volumes", "Build Cache", "Records and Temporary Files",
    ]  # fmt: skip
    assert [row["Total"] for row in found.values()] == [0, 0, 0, 0, 0]


def test_df_is_du(rl, busybox):
    rl.ok("volume", "create", "v")
    with open(f"{rl.root}/volumes/v/_data/file", "wb") as file:
        file.write(b"x" * 300_000)
    rl.ok("create", "--name", "c", "-v", "v:/v", busybox, "true")
    found = sizes(rl)
    assert sum(row["RawSize"] for row in found.values()) == total(rl) == plain_du(rl.root)
    assert found["Local Volumes"]["RawSize"] >= 300_000
    assert found["Images"]["Total"] == found["Images"]["Active"] == 1
    assert found["Images"]["RawReclaimable"] == 0
    assert found["Containers"]["RawReclaimable"] == found["Containers"]["RawSize"] > 0
    rl.ok("rm", "c")
    found = sizes(rl)
    assert found["Images"]["Active"] == 0
    assert found["Images"]["RawReclaimable"] == found["Images"]["RawSize"] > 0


def test_df_in_other_forms(rl, busybox):
    lines = rl.ok("system", "df").lines
    assert re.match(r"TYPE +TOTAL +ACTIVE +SIZE +RECLAIMABLE$", lines[0])
    assert rl.ok("system", "df", "--format", "{{.Type}} {{.Total}}").lines[0] == "Images 1"
    text = rl.ok("system", "df", "--verbose").stdout
    assert "localhost/busybox" in text and "Local Volumes space usage:" in text
    rl.fails("system", "df", "-v", "--format", "{{.Type}}", says="--verbose and a template")


# -- prune ---------------------------------------------------------------------------------


def test_prune_asks(rl, busybox):
    rl.ok("create", "--name", "c", busybox, "true")
    asked = rl.ok("system", "prune", input="n\n")
    assert "all stopped containers" in asked.stderr and "[y/N]" in asked.stderr
    assert rl.ok("ps", "-aq").text
    assert "Total reclaimed space" in rl.ok("system", "prune", input="y\n").stdout
    assert rl.ok("ps", "-aq").text == ""


def test_prune_takes_what_nothing_uses(rl, busybox):
    rl.ok("volume", "create", "v")
    rl.ok("run", "--network", "none", "--name", "c", "-v", "used:/v", busybox, "true")
    rl.ok("run", "--detach", "--name", "live", "-v", "held:/v", busybox, "sleep", "60")
    rl.ok("system", "prune", "--force")
    assert rl.ok("ps", "-a", "--format", "{{.Names}}").lines == ["live"]
    assert rl.ok("volume", "ls", "-q").lines == ["held", "used", "v"]
    assert rl.ok("images", "-q").text
    rl.ok("system", "prune", "--all", "--volumes", "--force")
    assert rl.ok("volume", "ls", "-q").lines == ["held"]
    assert rl.ok("images", "-q").text  # the running container's
    rl.ok("rm", "--force", "--time", "0", "live")
    before = total(rl)
    said = rl.ok("system", "prune", "-a", "-f").stdout
    assert rl.ok("images", "-q").text == ""
    assert "Total reclaimed space: 0B" not in said
    assert total(rl) < before


def test_prune_takes_what_a_broken_load_left(rl, busybox):
    """The hint of a full disk is to prune: a blob kept to be gone on with is in the way then."""
    kept = f"{rl.root}/tmp/blob-{'a' * 64}"
    os.mkdir(kept)
    with open(f"{kept}/data", "wb") as file:
        file.write(b"x" * 3_000_000)
    rl.ok("rmi", "--ignore", "nothing")
    assert os.path.isdir(kept)
    assert "Total reclaimed space: 0B" not in rl.ok("system", "prune", "--force").stdout
    assert not os.path.exists(kept)


def test_prune_with_filters(rl, busybox):
    for name in ("one", "two"):
        rl.ok("create", "--name", name, "--label", f"who={name}", busybox, "true")
    rl.fails("system", "prune", "-f", "--filter", "colour=red", says="unknown filter")
    rl.fails("system", "prune", "-f", "--filter", "until=soon", says="not a point in time")
    assert len(rl.ok("ps", "-aq").lines) == 2
    rl.ok("system", "prune", "-f", "--filter", "until=1h")
    assert len(rl.ok("ps", "-aq").lines) == 2
    rl.ok("system", "prune", "-f", "--filter", "label=who=one")
    assert rl.ok("ps", "-a", "--format", "{{.Names}}").lines == ["two"]


def test_prune_sweeps_what_crashes_left(rl):
    rl.ok("volume", "create", "v")
    for path in ("volumes/.new-00ff", "volumes/.gone-00ff", f"containers/.gone-{'a' * 64}"):
        os.makedirs(f"{rl.root}/{path}/deep")
    rl.ok("system", "prune", "-f")
    assert os.listdir(f"{rl.root}/volumes") == ["v"]
    assert os.listdir(f"{rl.root}/containers") == []


# -- check ---------------------------------------------------------------------------------


def layer_of(rl):
    (name,) = os.listdir(f"{rl.root}/layers")
    return f"{rl.root}/layers/{name}"


def test_a_sound_store(rl, busybox):
    rl.ok("create", "--name", "c", busybox, "true")
    assert rl.ok("system", "check").text == ""
    assert rl.ok("system", "check", "--quick").text == ""


def test_a_changed_layer_is_found_and_mended(rl, busybox):
    tree = f"{layer_of(rl)}/tree/bin/busybox"
    with open(tree, "ab") as file:
        file.write(b"changed")
    rl.fails("system", "check", says="problems found in the store")
    mended = rl.ok("system", "check", "--repair")
    assert "made again from its blob" in mended.stdout
    rl.ok("system", "check")
    rl.ok("run", "--rm", "--network", "none", busybox, "true")


def test_a_damaged_container_goes_only_by_force(rl, busybox):
    made = rl.ok("create", busybox, "true").text
    with open(f"{rl.root}/containers/{made}/record.json", "w") as file:
        file.write("{ damaged")
    rl.fails("system", "check", "--quick", says="1 problems found")
    rl.fails("system", "check", "--quick", "--repair", says="1 problems are left")
    assert "removed" in rl.ok("system", "check", "--quick", "--repair", "--force").stdout
    assert os.listdir(f"{rl.root}/containers") == []
    rl.ok("system", "check")


# -- reset ---------------------------------------------------------------------------------


def test_reset_asks_and_removes_everything(rl, busybox):
    rl.ok("create", "--name", "c", "-v", "v:/v", busybox, "true")
    asked = rl.ok("system", "reset", input="n\n")
    assert rl.root in asked.stderr
    assert rl.ok("images", "-q").text
    rl.ok("system", "reset", input="y\n")
    assert not os.path.exists(rl.root)
    assert not os.path.exists(f"{rl.run}/rl/probes.json")
    assert rl.ok("images", "-q").text == ""


def test_reset_of_nothing(rl):
    rl.ok("system", "reset", "--force")
    rl.ok("system", "reset", input="")


def test_reset_refuses_while_a_container_runs_unless_forced(rl, busybox):
    rl.ok("run", "--detach", "--name", "live", busybox, "sleep", "60")
    rl.fails("system", "reset", input="y\n", says="1 containers are running")
    assert rl.ok("ps", "-q").text
    rl.ok("system", "reset", "--force")
    assert not os.path.exists(rl.root)


@pytest.mark.parametrize("name", ["empty", "file"])
def test_reset_touches_no_directory_without_the_marker(rl, name):
    precious = f"{rl.home}/precious"
    os.mkdir(precious)
    if name == "file":
        with open(f"{precious}/thesis", "w"):
            pass
        rl.fails("--root", precious, "system", "reset", "-f", says="doesn't look like a store")
        assert os.listdir(precious) == ["thesis"]
    else:
        rl.ok("--root", precious, "system", "reset", "-f")


def test_reset_is_not_fooled_by_a_marker_that_is_a_link(rl):
    precious = f"{rl.home}/precious"
    os.mkdir(precious)
    os.symlink("/etc/passwd", f"{precious}/rl-store")
    with open(f"{precious}/thesis", "w"):
        pass
    rl.fails("--root", precious, "system", "reset", "-f", says="doesn't look like a store")
    assert sorted(os.listdir(precious)) == ["rl-store", "thesis"]


def test_reset_refuses_what_belongs_to_others(rl):
    rl.fails("--root", "/usr", "system", "reset", "-f", says="belongs to uid 0")


def test_reset_stays_inside(rl):
    """Links in the store, and a store behind a link, lead nowhere else."""
    outside = f"{rl.home}/outside"
    os.mkdir(outside)
    with open(f"{outside}/thesis", "w"):
        pass
    rl.ok("volume", "create", "v")
    os.symlink(outside, f"{rl.root}/volumes/v/_data/link")
    os.symlink(outside, f"{rl.root}/odd")
    os.symlink(rl.root, f"{rl.home}/way")
    rl.ok("--root", f"{rl.home}/way", "system", "reset", "-f")
    assert os.listdir(outside) == ["thesis"]


@pytest.mark.parametrize(
    "damage",
    [
        "rm -rf {root}/images && touch {root}/images",
        "rm -rf {root}/containers && touch {root}/containers",
        "rm -rf {root}/blobs",
        "echo garbage > {root}/rl-store",
        "for f in $(find {root}/images {root}/refs -type f); do echo x > $f; done",
        "chmod 0 {root}/layers/*/* {root}/layers/* {root}/images",
        "rm -rf {root}/* && touch {root}/rl-store",
        "rm -rf {root}/*",
    ],
)
def test_reset_works_on_a_broken_store(rl, busybox, damage):
    subprocess.run(["sh", "-c", damage.format(root=rl.root)], check=True)
    rl.ok("system", "reset", "--force")
    assert not os.path.exists(rl.root)


def test_reset_removes_files_of_other_users(rl, busybox):
    """What containers' users leave belongs to subordinate ids, where there are any."""
    rl.ok("run", "--rm", "--network", "none", "-v", "v:/v", busybox, "sh", "-c",
          "mkdir -m 700 /v/d && touch /v/d/f && chown -R 33:33 /v/d")  # fmt: skip
    rl.ok("system", "reset", "--force")
    assert not os.path.exists(rl.root)


def test_a_reset_leaves_other_stores_alone(rl, busybox):
    """Stores of one user share the runtime directory."""
    other = f"{rl.home}/other"
    rl.ok("--root", other, "volume", "create", "v")
    rl.ok("run", "--detach", "--name", "live", busybox, "sleep", "60")
    rl.ok("--root", other, "system", "reset", "--force")
    assert rl.ok("ps", "--format", "{{.Names}}").text == "live"
    rl.ok("stop", "--time", "0", "live")
