#!/bin/sh
# What the test machine has beyond its packages.  $1: its root directory; $2: wheels or "".
set -eu
root=$1
wheels=${2-}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

echo rl-vm >"$root/etc/hostname"
echo "127.0.0.1 localhost rl-vm" >"$root/etc/hosts"
echo "LABEL=root / ext4 rw,noatime 0 1" >"$root/etc/fstab"
: >"$root/etc/machine-id"
# user lingers; guest does not, and has no subordinate ids.
for name in user guest; do
    chroot "$root" useradd -m -s /bin/bash "$name"
done
for kind in uid gid; do
    sed -i '/^guest:/d' "$root/etc/sub$kind"
done
grep -q '^user:' "$root/etc/subuid" || echo user:100000:65536 >>"$root/etc/subuid"
grep -q '^user:' "$root/etc/subgid" || echo user:100000:65536 >>"$root/etc/subgid"
mkdir -p "$root/var/lib/systemd/linger"
: >"$root/var/lib/systemd/linger/user"

# An image's only layer: this machine's systemd and what it needs, to be pid 1 of a container.
mkdir -p "$root/opt"
(cd "$root" && tar -cf opt/init.tar \
    --exclude='usr/bin/podman*' --exclude='usr/bin/crun' --exclude='usr/bin/git*' \
    --exclude='usr/bin/*pasta*' --exclude='usr/bin/python3*' --exclude='usr/bin/perl*' \
    --exclude='usr/lib/*/perl*' --exclude='usr/lib/*/libicu*' --exclude='usr/lib/*/gconv' \
    --exclude='usr/lib/udev/hwdb*' --exclude='etc/ssl' --exclude='etc/systemd/system/*.wants' \
    --exclude=etc/fstab --exclude=etc/hostname --exclude=etc/hosts \
    bin sbin lib lib64 etc usr/bin usr/sbin usr/lib64 usr/lib/*-linux-gnu usr/lib/systemd \
    usr/lib/udev usr/lib/tmpfiles.d usr/lib/sysusers.d usr/lib/sysctl.d usr/lib/os-release \
    usr/share/dbus-1 tmp var/tmp var/log)
chmod 644 "$root/opt/init.tar"

# What the host wants done comes on the second disk, what came of it goes to the third.
install -m 755 "$here/rl-vm-run" "$root/usr/local/sbin/rl-vm-run"
install -m 644 "$here/rl-vm.service" "$root/etc/systemd/system/rl-vm.service"
ln -s ../rl-vm.service "$root/etc/systemd/system/multi-user.target.wants/rl-vm.service"
# Nothing else writes to the console, and nothing runs by itself.
for unit in getty@tty1.service serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer \
    fstrim.timer e2scrub_all.timer man-db.timer dpkg-db-backup.timer systemd-timesyncd.service \
    podman-auto-update.timer podman.socket podman.service podman-restart.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
if [ -n "$wheels" ]; then
    mkdir -p "$root/opt/wheels"
    cp "$wheels"/*.whl "$root/opt/wheels/"
    chroot "$root" python3 -m venv /opt/rl
    chroot "$root" sh -c '/opt/rl/bin/pip install -qq --no-index --no-deps /opt/wheels/*.whl'
    rm -rf "$root/opt/wheels"
fi
