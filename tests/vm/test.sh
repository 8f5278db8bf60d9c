#!/bin/sh
# make test-vm: the wheel is built, and tested in a machine with systemd (run.sh).  Called by
# root it installs what that needs and goes on as a user.
set -eu
. "$(dirname -- "$0")/../setup/lib.sh"

PACKAGES="qemu-system-x86 mmdebstrap e2fsprogs uidmap python3 python3-venv gcc libc6-dev"
# shellcheck disable=SC2086  # a list of words
install_packages $PACKAGES
[ -z "$missing" ] || die "these packages are needed and cannot be installed:$missing"
if [ "$(id -u)" = 0 ]; then
    STATE=${RL_TEST_CACHE:-/var/cache/rl-tests}
    user=rl-test-vm
    make_user "$user"
    lock_state "$STATE"
    install_wheel "$STATE" "[test]"
    mkdir -p "$STATE/vm"
    chown -R "$user:" "$STATE/vm"
    as_user "$user" VM_HALVES="${VM_HALVES-}" sh "$STATE/tree/tests/vm/run.sh" "$STATE" "$@"
else
    STATE=${XDG_CACHE_HOME:-$HOME/.cache}/rl-tests
    lock_state "$STATE"
    install_wheel "$STATE" "[test]"
    sh "$STATE/tree/tests/vm/run.sh" "$STATE" "$@"
fi
