"""The end of a container on a disk that is full."""

import json
import subprocess
import sys

import pytest

from support.command import TREE
from support.tools import find

pytestmark = pytest.mark.integration

RUN = """
import json, os, subprocess, sys
sys.path[:0] = [{tree!r}, {tree!r} + "/tests"]
from support.monitored import Monitored
base = sys.argv[1]
os.makedirs(base + "/durable")
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", base + "/durable"], check=True)
script = "yes | head -c 200000; cat; exit 7"
with Monitored(base, ["sh", "-c", script], words=["log=k8s-file"], attach=4) as box:
    box.started()
    try:
        with open(box.dir + "/filler", "wb", 0) as filler:
            while True:
                filler.write(bytes(4096))
    except OSError:
        pass
    box.founder.send(b"E")
    told = box.founder.until(b"x")[0]
    box.wait()
    log = box.log()
    print(json.dumps(dict(told=list(told), record=box.record(), log=len(log),
                          whole=log.endswith(b"\\n"), free=os.statvfs(box.dir).f_bfree)))
"""


def test_the_record_has_its_place_on_a_full_disk(workdir):
    words = [find("unshare"), "--user", "--map-root-user", "--mount", sys.executable, "-c"]
    done = subprocess.run([*words, RUN.format(tree=TREE), workdir], capture_output=True, text=True,
                          check=False, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["free"] == 0
    assert found["told"] == [7, 0, 0]
    assert found["record"]["code"] == 7
    assert found["record"]["log_lost"] > 1000000
    assert found["log"] == 0 or found["whole"]
