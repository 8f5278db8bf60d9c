#!/bin/sh
# make test: the wheel is built from a copy of the tree, installed beside the test tools,
# and tested from outside.  Called by root it sets the machine up and runs as users that
# exist for this; called by somebody else it runs as them.
set -eu
. "$(dirname -- "$0")/lib.sh"

export RL_TEST_CACHE="${RL_TEST_CACHE:-/var/cache/rl-tests}"

# pytest NAME USER ARGS: one part of the run.  Nothing is written into the tree.
pytest() {
    say "== $1, as $2"
    user=$2
    shift 2
    set -- "$STATE/venv/bin/pytest" -p no:cacheprovider "$@"
    set -- env RL_TEST_COUNTS="$COUNTS" RL_TEST_CACHE="$RL_TEST_CACHE" PYTHONDONTWRITEBYTECODE=1 "$@"
    cd "$STATE/tree"
    if [ "$user" = "$(id -un)" ]; then
        "$@" 9>&- || status=$?
    else
        as_user "$user" "$@" || status=$?
    fi
}

status=0
if [ "$(id -u)" = 0 ]; then
    STATE=$RL_TEST_CACHE
    sh "$TREE/tests/setup/machine.sh"
    runner=rl-test
else
    STATE=${XDG_CACHE_HOME:-$HOME/.cache}/rl-tests
    runner=$(id -un)
    if [ ! -s "$RL_TEST_CACHE/debian.oci" ]; then
        as_root sh "$TREE/tests/setup/machine.sh" ||
            die "the tests need packages and users that only root can add" "sudo make test"
    fi
fi
lock_state "$STATE"
install_wheel "$STATE" "[test]"
COUNTS=$STATE/counts
: >"$COUNTS"
chmod 0666 "$COUNTS"

if [ $# -gt 0 ]; then
    pytest "the tests asked for" "$runner" "$@"
else
    pytest "fast tests" "$runner" -q tests/unit
    pytest "integration tests" "$runner" -q tests --ignore=tests/unit --ignore=tests/bench
    if [ "$(id -u)" = 0 ]; then
        pytest "without subordinate ids" rl-test-one -q -m one_id tests/integration
        pytest "root and two users" root -q -m as_root tests/integration
    fi
fi
awk '{ passed += $1; failed += $2; skipped += $3 }
    END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
          exit failed > 0 || passed == 0 }' "$COUNTS" || status=1
exit "$status"
