"""The ladder as it is found on this machine, and the files made for it."""

import os

import pytest

from integration.network import world
from rootless.kernel import userns
from rootless.model import network
from rootless.network import probe, setup
from rootless.network.bridge import probe as bridge_probe
from rootless.network.bridge import rules

pytestmark = pytest.mark.integration
NOTHING = network.parse_dns((), (), ())


def _ladder(directory, programs):
    return probe.ladder(userns.single_ids(), programs, directory), os.listdir(directory)


def test_the_ladder_tries_each_helper(workdir):
    rows, left = world.run(_ladder, workdir, world.PROGRAMS)
    assert {row["rung"] for row in rows} == {"pasta", "slirp4netns", "none"}
    assert all(row["ok"] for row in rows), rows
    assert rows[-1]["rung"] == "none" and left == []
    assert set(probe.usable(rows)) == {"pasta", "slirp4netns"}


def test_the_ladder_names_the_package_of_a_missing_helper(workdir):
    rows, _ = world.run(_ladder, workdir, {**world.PROGRAMS, "pasta": None, "slirp4netns": None})
    assert probe.usable(rows) == []
    assert "package passt" in rows[0]["reason"]


def test_the_ladder_shows_why_a_helper_fails(workdir):
    path = f"{workdir}/slirp4netns"
    with open(path, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\necho 'broken on purpose' >&2\nexit 1\n")
    os.chmod(path, 0o755)
    rows, _ = world.run(_ladder, workdir, {**world.PROGRAMS, "slirp4netns": path})
    row = next(row for row in rows if row["rung"] == "slirp4netns")
    assert not row["ok"] and "broken on purpose" in row["reason"]


@pytest.mark.parametrize(
    "said, date",
    [("pasta unknown version", None), ("pasta 0.0~git20240220.1e6f92b-1", 20240220),
     ("pasta 2023_03_29.b10b983", 20230329), ("pasta 0^20250611.g0293c6f-1.fc42", 20250611)],
)  # fmt: skip
def test_the_date_of_a_pasta(workdir, said, date):
    path = f"{workdir}/pasta"
    with open(path, "w", encoding="ascii") as file:
        file.write(f"#!/bin/sh\necho '{said}'\n")
    os.chmod(path, 0o755)
    assert probe.pasta_date(path) == date


def _prepare(values):
    world.replace_file("/etc/resolv.conf", "search corp.example\nnameserver 198.51.100.53\n")
    network_ = network.parse(values)
    return setup.prepare(
        network_, NOTHING, programs=world.PROGRAMS, order=lambda: ["slirp4netns"], names=["box"]
    )


def test_prepare_the_default():
    made = world.run(_prepare, ())
    servers = "nameserver 10.0.2.3\nnameserver 198.51.100.53\n"
    assert made["resolv"] == f"search corp.example\n{servers}"
    assert f"{world.HOST4}\thost.containers.internal" in made["hosts"]
    assert "10.0.2.100\tbox\n" in made["hosts"]
    assert made["plan"]["rungs"][0]["name"] == "slirp4netns" and made["warning"] is None


def test_prepare_none_and_host():
    none, host = world.run(_prepare, ("none",)), world.run(_prepare, ("host",))
    assert none["plan"] is None and "host.containers.internal" not in none["hosts"]
    assert host["plan"] is None and "127.0.0.1\thost.containers.internal" in host["hosts"]
    assert world.run(_prepare, ("container:x",))["hosts"] is None


def test_user_networks_are_tried_by_making_one():
    rows = bridge_probe.ladder(rules.base("eth0"), "pasta")
    assert [(row["rung"], row["ok"]) for row in rows] == [("bridges", True), ("none", True)]
    assert "one pasta" in rows[0]["reason"]
    assert "only each other" in bridge_probe.ladder(rules.base("eth0"), None)[0]["reason"]


def test_a_kernel_that_refuses_the_rules_is_quoted():
    refused = rules.join("rl0", ["a-set-that-is-not-there"])
    rows = bridge_probe.ladder(refused, "pasta")
    assert not rows[0]["ok"] and rows[1]["ok"]
    assert "nf_tables" in rows[0]["reason"] and "No such file" in rows[0]["reason"]
