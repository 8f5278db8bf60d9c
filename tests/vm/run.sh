#!/bin/sh
# make test-vm: boots a machine with systemd and cgroups version 2 and runs tests/vm/suite in
# it, as an ordinary user with lingering.  Needs nothing of root's but the packages.
#
#   run.sh STATE [PYTEST ARGS]   STATE: where tests/setup has installed the wheel; the machine
#                                and what it says are kept in STATE/vm
set -eu
. "$(dirname -- "$0")/../setup/lib.sh"

state=$1
shift
vm=$state/vm
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
mkdir -p "$vm/wheels"

# What rl and the suite import; rl itself goes with each errand.
wheel=$(echo "$state"/wheel/*.whl)
if [ "$(cat "$vm/wheels.key" 2>/dev/null)" != "$(cksum <"$TREE/pyproject.toml")" ]; then
    rm -rf "$vm/wheels"
    "$state/venv/bin/pip" download -qq --only-binary :all: -d "$vm/wheels" \
        "$wheel" "pytest>=8" "pytest-timeout>=2.2" "hypothesis>=6.80"
    rm -f "$vm"/wheels/rl-*.whl
    cksum <"$TREE/pyproject.toml" >"$vm/wheels.key"
fi
sh "$here/image.sh" "$vm" "$vm/wheels"

rm -rf "$vm/errand" "$vm/results"
mkdir -p "$vm/errand" "$vm/results"
cp "$wheel" "$vm/errand/"
cp -r "$TREE/tests" "$vm/errand/tests"
cp "$TREE/pyproject.toml" "$vm/errand/"
cp "$here/guest/errand" "$vm/errand/errand"
for word; do printf '%s\n' "$word"; done >"$vm/errand/arguments"
# VM_HALVES: which of them, for a quick look.
# shellcheck disable=SC2086  # a list of words
printf '%s\n' ${VM_HALVES:-default login delegate subtree} >"$vm/errand/halves"
status=0
VM_SECONDS=${VM_SECONDS:-3000} sh "$here/boot.sh" "$vm" "$vm/errand" "$vm/results" || status=$?
cat "$vm/results/log" 2>/dev/null || tail -n 200 "$vm/results/console"
exit "$status"
