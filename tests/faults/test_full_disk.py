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


MORE = """\
set -u
mount -t tmpfs -o "$OPTIONS,mode=700" none "$STORE" || exit 90
rl() { %s --root "$STORE/rl" --storage-driver clone "$@"; }
say() { rl "$@" > "$TMPDIR/said" 2>&1; echo "$1 $2 $?" | tr '\\n' ' '; tail -n 2 "$TMPDIR/said"; }
rl load -q --input "$IMAGE" || exit 91
rl volume create old || exit 92
rl tag busybox two || exit 92
rl create --name one busybox true || exit 93
rl run --name ended --network none busybox echo hello || exit 93
$FILL
echo "== full"
for words in "volume create new" "network create new" "tag busybox new" "commit one new" \
    "create busybox true" "load --input $IMAGE" "import $IMAGE new" "build $TMPDIR" \
    "manifest create list" "cp $IMAGE one:/x"; do say $words; done
echo "== look"
for words in "ps --all" "images --all" "volume ls" "network ls" "system df" "system check" \
    "logs ended" "inspect one" "diff ended" "wait ended" "save -o/dev/null busybox"; do
    say $words > "$TMPDIR/look"
    grep -q " 0 " "$TMPDIR/look" || cat "$TMPDIR/look"
done
$THEN
echo "== free"
rl untag busybox two || exit 94
rl rm ended || exit 95
rl volume rm old || exit 95
rl rmi -f busybox || exit 96
rl system prune -af || exit 97
test "$(rl system df --format '{{.Size}}' | head -n 1)" = 0B || exit 98
$ROOM
rl load -q --input "$IMAGE" && rl run --rm --network none busybox echo works || exit 99
rl system check || exit 89
rl system reset -f || exit 88
test -z "$(ls -A "$STORE")" || ls -AR "$STORE"
"""
HOW = {
    "full": ("size=40m", 'head -c 99m /dev/zero > "$STORE/ballast" 2>&1; :', ":"),
    "inodes": ("size=40m,nr_inodes=1000",
               'n=0; while touch "$STORE/f$n" 2>&1; do n=$((n + 1)); done >&2; :', ":"),
    "read-only": ("size=40m", 'mount -o remount,ro "$STORE"', 'mount -o remount,rw "$STORE"'),
}  # fmt: skip


def inside(rl, script, **env):
    """Run a shell script in a user and mount namespace of its own: what came of it."""
    words = " ".join(f"'{word}'" for word in program())
    namespace = [tools.find("unshare"), "--user", "--map-root-user", "--map-auto", "--mount"]
    script = script.replace("%s", words, 1)
    for name, text in env.items():
        script = script.replace(f"${name}\n", f"{text}\n")
    return subprocess.run([*namespace, "sh", "-c", script], env={**rl.environment, **env},
                          capture_output=True, text=True, timeout=240, check=False)  # fmt: skip


@pytest.mark.parametrize("kind", HOW)
def test_everything_else_where_nothing_can_be_written(workdir, busybox_image, rl, kind):
    os.mkdir(f"{workdir}/store")
    with open(f"{rl.environment['TMPDIR']}/Containerfile", "w", encoding="ascii") as file:
        file.write("FROM localhost/busybox\nLABEL a=b\n")
    options, fill, then = HOW[kind]
    room = 'rm -f "$STORE"/ballast "$STORE"/f[0-9]*'
    done = inside(rl, MORE, OPTIONS=options, FILL=fill, THEN=then, ROOM=room,
                  STORE=f"{workdir}/store", IMAGE=busybox_image)  # fmt: skip
    said = f"{done.stdout}\n---\n{done.stderr}"
    assert done.returncode == 0, said
    assert "Traceback" not in said and "defect" not in said, said
    full, _, look = done.stdout.partition("== full\n")[2].partition("== look\n")
    # On some of them a small file still fits.
    assert full.count(" 125 ") >= 6 and full.count("hint: ") == full.count(" 125 "), said
    words = "Read-only file system" if kind == "read-only" else "o space left"
    assert words in full, said
    look, _, end = look.partition("== free\n")
    assert look == "" and end.endswith("\nworks\n"), said


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
