#!/bin/sh
# make test: the wheel is built from a copy of the tree, installed beside the test tools,
# and tested from outside.  Called by root it sets the machine up and runs as users that
# exist for this; called by somebody else it runs as them.
set -eu
. "$(dirname -- "$0")/lib.sh"

export RL_TEST_CACHE="${RL_TEST_CACHE:-/var/cache/rl-tests}"

if [ "$(id -u)" = 0 ]; then
    STATE=$RL_TEST_CACHE
    sh "$TREE/tests/setup/machine.sh"
    users="rl-test rl-test-2"
else
    STATE=${XDG_CACHE_HOME:-$HOME/.cache}/rl-tests
    users=$(id -un)
    if [ ! -s "$RL_TEST_CACHE/debian.oci" ]; then
        as_root sh "$TREE/tests/setup/machine.sh" ||
            die "the tests need packages and users that only root can add" "sudo make test"
    fi
fi
lock_state "$STATE"
install_wheel "$STATE" "[test]"
# Only python's standard library: the tests' own environment is what is being tested.
# shellcheck disable=SC2086  # a list of words
set -- "$STATE" $users ${1+-- "$@"}
exec "$PYTHON" -B "$TREE/tests/setup/parts.py" "$@"
