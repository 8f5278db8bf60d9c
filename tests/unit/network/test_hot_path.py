"""What --network none and host load, and what the default network may load."""

import os
import subprocess
import sys

import rootless

ROOT = os.path.dirname(os.path.dirname(rootless.__file__))
CODE = """
import sys
sys.path.insert(0, {root!r})
before = set(sys.modules)
from rootless.model import network
from rootless.network import setup
found = setup.prepare(network.parse({values!r}), network.parse_dns((), (), ()),
                      programs={{}}, order=list, names=["x"])
print(*sorted(set(sys.modules) - before))
"""


def loaded(*values):
    code = CODE.format(root=ROOT, values=values)
    argv = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_none_and_host_load_the_texts_only():
    for mode in ("none", "host"):
        ours = {name for name in loaded(mode) if name.startswith("rootless.network.")}
        assert ours == {f"rootless.network.{name}" for name in ("setup", "hosts", "resolv")}


def test_the_default_loads_nothing_heavy():
    heavy = {"pyroute2", "socket", "ipaddress", "subprocess", "re", "json", "typing", "enum"}
    assert not heavy & loaded()
