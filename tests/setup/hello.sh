#!/bin/sh
# make hello: from nothing to a running container.  Installs what is missing where it may,
# goes on without it where it can and says what that costs.  Called by root it runs the
# container as a user made for this, for rl is for people who aren't root.
set -eu
. "$(dirname -- "$0")/lib.sh"

# Each: what it needs, told by what works here rather than by a name in a package database.
has_python() { "$PYTHON" -c 'import ensurepip' 2>/dev/null || command -v virtualenv >/dev/null; }
has_compiler() { command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null; }
has_libc() {
    for library in /usr/lib/libc.a /usr/lib64/libc.a /usr/lib/*/libc.a; do
        [ ! -e "$library" ] || return 0
    done
    return 1
}
has_seccomp() { ldconfig -p 2>/dev/null | grep -q 'libseccomp\.so\.2'; }
has_ids() { command -v newuidmap >/dev/null && command -v newgidmap >/dev/null; }
has_network() { command -v pasta >/dev/null || command -v slirp4netns >/dev/null; }
has_fuse() { command -v fuse-overlayfs >/dev/null; }

PYTHON=/usr/bin/python3
wanted=
has_python || wanted="$wanted python3 python3-venv"
has_compiler || wanted="$wanted gcc"
has_libc || wanted="$wanted libc6-dev"
has_seccomp || wanted="$wanted libseccomp2"
has_ids || wanted="$wanted uidmap"
has_network || wanted="$wanted passt slirp4netns"
has_fuse || wanted="$wanted fuse-overlayfs"
# shellcheck disable=SC2086  # a list of words
[ -z "$wanted" ] || install_packages $wanted

if ! has_compiler || ! has_libc; then
    die "rl's helpers are C programs and there is nothing to compile them with" \
        "apt-get install gcc libc6-dev"
fi
has_seccomp || say "without libseccomp: no system call filter (apt-get install libseccomp2)"
has_ids || say "without newuidmap: one user id in a container (apt-get install uidmap)"
has_network || say "without pasta and slirp4netns: no private network (apt-get install passt)"
has_fuse || say "without fuse-overlayfs: slower on kernels before 5.11 (apt-get install fuse-overlayfs)"

if [ "$(id -u)" = 0 ]; then
    STATE=/var/cache/rl-hello
    make_user rl-hello
else
    STATE=$TREE/build/hello
    [ -w "$TREE" ] || STATE=${XDG_CACHE_HOME:-$HOME/.cache}/rl-hello
fi
lock_state "$STATE"
install_wheel "$STATE"
if [ "$(id -u)" = 0 ]; then
    cd /
    as_user rl-hello "$STATE/venv/bin/rl" run --rm hello
else
    "$STATE/venv/bin/rl" run --rm hello 9>&-
    say "This was $STATE/venv/bin/rl; to have rl on your PATH: pipx install $TREE"
fi
