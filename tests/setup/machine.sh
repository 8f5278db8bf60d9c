#!/bin/sh
# Makes a Debian or Ubuntu machine fit for the tests.  Run by root; again does no harm.
#
#   rl-test      the user that runs them, with subordinate ids
#   rl-test-2    another such user, for what one may not do to the other
#   rl-test-one  a user without subordinate ids: the one-id rung
#   rl-test-vm   runs the machine with systemd, in its own emulator
#   $CACHE       Debian root file systems, as tars and as images
set -eu
. "$(dirname -- "$0")/lib.sh"

CACHE=${RL_TEST_CACHE:-/var/cache/rl-tests}
USERS="rl-test rl-test-2 rl-test-one rl-test-vm"
RUN_PACKAGES="python3 python3-venv gcc libc6-dev libseccomp2 uidmap fuse-overlayfs
    slirp4netns passt ca-certificates"
TEST_PACKAGES="podman buildah skopeo crun docker-registry apache2-utils openssl umoci
    mmdebstrap busybox-static strace attr acl libcap2-bin man-db iproute2 procps git make
    zstd xz-utils bzip2 valgrind bash-completion zsh fish bubblewrap qemu-system-x86 e2fsprogs
    fuse2fs"

[ "$(id -u)" = 0 ] || die "only root can set a machine up" "sudo sh tests/setup/machine.sh"

packages() {
    # shellcheck disable=SC2086  # lists of words
    install_packages $RUN_PACKAGES $TEST_PACKAGES
    [ -z "$missing" ] || die "these packages are needed and cannot be installed:$missing"
}

# Device nodes that any user may open, as udev makes them where there is one.
device() {
    [ -c "$1" ] || { mkdir -p "$(dirname "$1")" && mknod "$1" c "$2" "$3"; } ||
        die "cannot make $1"
    chmod 0666 "$1"
}

# A podman that root has run keeps users from it, where each one's skopeo looks for logins.
readable() {
    [ ! -d "$1" ] || chmod 0755 "$1"
}

# Debian's crun and podman refuse a host of cgroup v1 hierarchies with a v2 beside them
# while a controller is left on the v2.  Mounting it as a v1 hierarchy takes it from there.
leave_unified() {
    unified=/sys/fs/cgroup/unified/cgroup.controllers
    [ -r $unified ] || return 0
    read -r controllers <$unified || return 0
    for controller in $controllers; do
        mkdir -p "/run/rl-tests/cgroup/$controller"
        mount -t cgroup -o "$controller" none "/run/rl-tests/cgroup/$controller" ||
            say "the cgroup controller $controller stays on v2; podman may refuse to run"
    done
}

users() {
    for user in $USERS; do
        case $user in
        *-one) make_user "$user" none ;;
        *) make_user "$user" ;;
        esac
        home=$(getent passwd "$user" | cut -d: -f6)
        chmod 0755 "$home"
        mkdir -p "$home/.config/containers"
        printf '[storage]\ndriver = "overlay"\n' >"$home/.config/containers/storage.conf"
        printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' \
            >"$home/.config/containers/containers.conf"
        chown -R "$user:" "$home/.config"
    done
}

# rootfs NAME VARIANT PACKAGES: a root file system as NAME.tar and NAME.oci in the cache,
# made once for the same words.
rootfs() {
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
    key=$( (printf "%s " "$suite" "$@" && cat "$TREE/tests/support/images.py" \
        "$TREE/tests/support/oci.py") | cksum | tr -d " ")
    [ "$(cat "$CACHE/$1.key" 2>/dev/null)" = "$key" ] && [ -s "$CACHE/$1.oci" ] && return 0
    say "making the root file system $1 (once)"
    rm -f "$CACHE/$1.key"
    mmdebstrap --quiet --format=tar --mode=root --variant="$2" --include="$3" \
        --aptopt='Acquire::Languages "none"' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$suite" "$CACHE/$1.tar.new" >"$CACHE/$1.log" 2>&1 ||
        die "mmdebstrap failed: $(tail -n 3 "$CACHE/$1.log")"
    mv "$CACHE/$1.tar.new" "$CACHE/$1.tar"
    PYTHONPATH=$TREE/tests "$PYTHON" -B -m support.images "$CACHE/$1.tar" "$CACHE/$1.oci"
    chmod 0644 "$CACHE/$1.tar" "$CACHE/$1.oci"
    echo "$key" >"$CACHE/$1.key"
}

packages
if [ -n "${RL_BENCH-}" ]; then
    install_packages iperf3
    [ -z "$missing" ] || die "the benchmarks need iperf3"
fi
find_python
modprobe -q -a fuse tun overlay 2>/dev/null || true
device /dev/fuse 10 229
device /dev/net/tun 10 200
readable /run/containers
leave_unified
users
mkdir -p "$CACHE/vm"
chmod 0755 "$CACHE"
chown -R rl-test-vm: "$CACHE/vm"
rootfs debian minbase ca-certificates
# What people really publish and connect to.
rootfs servers minbase nginx-light,redis-server,postgresql
# 16,000 files and 540 MB: what a large but ordinary image has.
[ -z "${RL_BENCH-}" ] ||
    rootfs debian-large important build-essential,python3,git
