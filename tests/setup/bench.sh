#!/bin/sh
# make bench: installs the wheel as the tests do and measures it beside podman.
#
#   BENCH_INSTALL=1         sets the machine up first: peers, users, the large image
#   BENCH="--all"           words for tests/bench/bench.py
set -eu
. "$(dirname -- "$0")/lib.sh"

export RL_TEST_CACHE="${RL_TEST_CACHE:-/var/cache/rl-tests}"
if [ -n "${BENCH_INSTALL-}" ]; then
    as_root env RL_BENCH=1 RL_TEST_CACHE="$RL_TEST_CACHE" sh "$TREE/tests/setup/machine.sh" ||
        die "only root can install the peers" "sudo make bench BENCH_INSTALL=1"
fi
for peer in podman buildah crun bwrap skopeo docker-registry; do
    command -v "$peer" >/dev/null ||
        die "$peer isn't here to compare with" "make bench BENCH_INSTALL=1"
done

if [ "$(id -u)" = 0 ]; then
    STATE=$RL_TEST_CACHE
    id rl-test >/dev/null 2>&1 || die "there is no user rl-test" "make bench BENCH_INSTALL=1"
else
    STATE=${XDG_CACHE_HOME:-$HOME/.cache}/rl-tests
fi
lock_state "$STATE"
install_wheel "$STATE"
set -- env RL_TEST_CACHE="$RL_TEST_CACHE" PYTHONDONTWRITEBYTECODE=1 \
    "$STATE/venv/bin/python" "$STATE/tree/tests/bench/bench.py"
cd /
# shellcheck disable=SC2086  # a list of words
if [ "$(id -u)" = 0 ]; then
    as_user rl-test "$@" ${BENCH-}
else
    "$@" ${BENCH-} 9>&-
fi
