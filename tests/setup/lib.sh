# Shared by the scripts beside it: packages, users, a Python environment.  POSIX sh.
# shellcheck shell=sh

TREE=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
umask 022
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1
# Programs that Debian keeps from the PATH of users; never the caller's own tools.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

say() { printf '%s\n' "$*" >&2; }
die() { say "Error: $1"; [ $# -lt 2 ] || say "hint: $2"; exit 1; }

# Runs a command as root: 1 where nobody lets us.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        sudo "$@"
    else
        return 1
    fi
}

installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

# Installs the packages that are not there, all at once or else one by one.  What could
# not be had is in $missing.
install_packages() {
    missing=
    for package; do
        installed "$package" || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        say "no apt-get here; install what Debian calls:$missing"
        return 0
    fi
    say "installing:$missing"
    if ! as_root true; then
        say "nobody here may install packages"
        return 0
    fi
    as_root apt-get -qq update >/dev/null || say "apt-get update failed; trying what is known"
    # shellcheck disable=SC2086  # a list of words
    if as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends $missing >/dev/null 2>&1; then
        missing=
        return 0
    fi
    wanted=$missing missing=
    for package in $wanted; do
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -qq install -y --no-install-recommends "$package" >/dev/null 2>&1 ||
            missing="$missing $package"
    done
}

# The first Python of the system that is new enough: not one below somebody's home.
find_python() {
    for python in /usr/bin/python3 /usr/local/bin/python3 /usr/bin/python3.1?; do
        if [ -x "$python" ] &&
            "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            PYTHON=$python
            return 0
        fi
    done
    die "no Python 3.10 or newer in /usr/bin" "apt-get install python3 python3-venv"
}

# A virtual environment at $1.
make_venv() {
    [ -x "$1/bin/pip" ] && "$1/bin/python3" -c '' 2>/dev/null && return 0
    rm -rf "$1"
    "$PYTHON" -m venv "$1" >/dev/null 2>&1 && return 0
    rm -rf "$1"
    if command -v virtualenv >/dev/null; then
        virtualenv -q -p "$PYTHON" "$1" && return 0
    fi
    die "$PYTHON cannot make a virtual environment" "apt-get install python3-venv"
}

# A copy of the tracked and new files of the tree in $1, so that a build leaves nothing here.
copy_tree() {
    rm -rf "$1"
    mkdir -p "$1"
    if git -c safe.directory='*' -C "$TREE" rev-parse --git-dir >/dev/null 2>&1; then
        # A file that is gone but still in the index has nothing to copy.
        git -c safe.directory='*' -C "$TREE" ls-files -co --exclude-standard -z |
            tar -C "$TREE" --null -T - --ignore-failed-read -c 2>/dev/null
    else
        tar -C "$TREE" --exclude=./build --exclude=./dist --exclude=./.venv -c .
    fi | tar -x -C "$1"
}

# Keeps $1 to this run until it ends: another one would replace what is being tested.
# What is started afterwards gets 9>&-, so that nothing left over keeps the lock.
lock_state() {
    mkdir -p "$1"
    exec 9>"$1/lock"
    flock -n 9 || { say "waiting for another run that uses $1" && flock 9; }
}

# Builds the wheel from a copy of the tree and installs it, all below $1; $2 = "[test]"
# brings the test tools with it.
install_wheel() {
    find_python
    copy_tree "$1/tree"
    make_venv "$1/venv"
    rm -rf "$1/wheel"
    say "building and installing the wheel"
    "$1/venv/bin/pip" wheel -qq --no-deps -w "$1/wheel" "$1/tree"
    rm -rf "$1/tree/build" "$1/tree"/*.egg-info
    wheel=$(echo "$1"/wheel/*.whl)
    "$1/venv/bin/pip" install -qq "$wheel${2-}"
    # The version may be the same as last time; what is in the wheel isn't.
    "$1/venv/bin/pip" install -qq --force-reinstall --no-deps "$wheel"
    # Whichever way a test finds rl's modules, it gets those of the wheel.
    rm -rf "$1/tree/rootless"
    ln -s "$1"/venv/lib/python3.*/site-packages/rootless "$1/tree/rootless"
}

# User $1 with a home; $2 = none: without subordinate ids, else with a range of them.
make_user() {
    id "$1" >/dev/null 2>&1 || useradd -m -s /bin/sh "$1"
    for kind in uid gid; do
        if [ "${2-}" = none ]; then
            sed -i "/^$1:/d" "/etc/sub$kind"
        elif ! grep -q "^$1:" "/etc/sub$kind" 2>/dev/null; then
            first=$(awk -F: '{ end = $2 + $3; if (end > last) last = end }
                END { print last < 100000 ? 100000 : last }' "/etc/sub$kind" 2>/dev/null)
            printf '%s:%s:65536\n' "$1" "${first:-100000}" >>"/etc/sub$kind"
        fi
    done
}

# Runs a command as user $1 with nothing of the caller's environment but what pip needs.
as_user() {
    user=$1
    shift
    9>&- runuser -u "$user" -- env -i HOME="$(getent passwd "$user" | cut -d: -f6)" \
        PATH="$PATH" LANG=C.UTF-8 TERM="${TERM:-dumb}" "$@"
}
