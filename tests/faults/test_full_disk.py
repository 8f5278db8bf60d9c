"""No room on the disk: errors are sentences, and everything can be removed again.

The store is on a small tmpfs in a user and mount namespace of the test's own.
"""

import os
import subprocess

import pytest

from support import tools
from support.command import program

pytestmark = pytest.mark.integration

SCRIPT = """\
set -u
mount -t tmpfs -o size=9m,mode=700 none "$STORE" || exit 90
rl() { %s --root "$STORE/rl" --storage-driver clone "$@"; }
say() { echo "== $*"; }
rl load -q --input "$IMAGE" || exit 91
full() { head -c 100000000 /dev/zero > "$STORE/ballast" 2>/dev/null; }
rl run -d --name before --network none localhost/busybox:latest sleep 1000 || exit 92
full
say full
rl run --rm --network none localhost/busybox:latest true; say "run $?"
rl create --name new localhost/busybox:latest; say "create $?"
rl ps -a --format '{{.Names}} {{.State}}' || exit 93
rl exec before true; say "exec $?"
rl stop -t 0 before || exit 94
rl inspect --format '{{.State.ExitCode}}' before || exit 95
rl rm -fa -t 0 || exit 96
rm "$STORE/ballast"
rl container prune -f || exit 97
say room
rl run --rm --network none localhost/busybox:latest echo works || exit 98
rl system check || exit 99
ls -A "$STORE/rl/containers"
"""


def test_containers_on_a_full_disk(workdir, busybox_image, rl):
    os.mkdir(f"{workdir}/store")
    words = " ".join(f"'{word}'" for word in program())
    env = {**rl.environment, "STORE": f"{workdir}/store", "IMAGE": busybox_image}
    namespace = [tools.find("unshare"), "--user", "--map-root-user", "--map-auto", "--mount"]
    done = subprocess.run([*namespace, "sh", "-c", SCRIPT % words], env=env, capture_output=True,
                          text=True, timeout=120, check=False)  # fmt: skip
    said = f"{done.stdout}\n---\n{done.stderr}"
    assert done.returncode == 0, said
    assert "Traceback" not in done.stderr and "defect" not in done.stderr, said
    full, room = done.stdout.split("== room")
    assert "== create 125" in full and "No space left" in done.stderr, said
    assert "before running" in full and "137" in full, said
    assert room.strip() == "works", said
