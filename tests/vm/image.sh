#!/bin/sh
# The test machine's disk: a Debian with systemd, and beside it its kernel and initrd.
# Made by an ordinary user in a user namespace, once for the same inputs.
#
#   image.sh DIRECTORY [WHEELS]   DIRECTORY/{disk.img,vmlinuz,initrd.img,key}; WHEELS: a
#                                 directory of Python wheels that the machine gets
set -eu
. "$(dirname -- "$0")/../setup/lib.sh"

PACKAGES="systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,uidmap,fuse-overlayfs"
PACKAGES="$PACKAGES,slirp4netns,passt,podman,crun,linux-image-cloud-amd64,initramfs-tools"
PACKAGES="$PACKAGES,python3,python3-venv,python3-pip,ca-certificates,iproute2,procps"
PACKAGES="$PACKAGES,busybox-static,libseccomp2,git,util-linux,kmod,udev,bubblewrap"
SIZE=3G
out=$1
wheels=${2-}

key() {
    cat "$0" "$(dirname -- "$0")"/guest/customize.sh "$(dirname -- "$0")"/guest/rl-vm*
    [ -z "$wheels" ] || ls "$wheels"
}

wanted=$(key | cksum | tr -d ' ')
[ "$(cat "$out/key" 2>/dev/null)" = "$wanted" ] && [ -s "$out/disk.img" ] && exit 0
say "making the test machine's disk (once)"
mkdir -p "$out"
rm -rf "$out/key" "$out/disk.img" "$out/new"
# In mmdebstrap's user namespace its caller has no id: what is written there belongs to others.
trap 'rm -rf "$out/new"' EXIT
mkdir "$out/new"
chmod 1777 "$out/new"
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
guest=$(CDPATH='' cd -- "$(dirname -- "$0")/guest" && pwd)
TMPDIR=$out mmdebstrap --quiet --mode=unshare --variant=minbase --format=null \
    --include="$PACKAGES" \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --customize-hook="sh '$guest/customize.sh' \"\$1\" '$wheels'" \
    --customize-hook="cp \"\$1\"/boot/vmlinuz-* '$out/new/vmlinuz'" \
    --customize-hook="cp \"\$1\"/boot/initrd.img-* '$out/new/initrd.img'" \
    --customize-hook="mkdir '$out/new/root' && mount --bind \"\$1\" '$out/new/root'" \
    --customize-hook="mke2fs -q -t ext4 -L root -E root_owner=0:0 -d '$out/new/root' \\
        '$out/new/disk.img' $SIZE && umount '$out/new/root'" \
    "$suite" /dev/null >"$out/log" 2>&1 || die "mmdebstrap failed: $(tail -n 5 "$out/log")"
for name in vmlinuz initrd.img disk.img; do
    cp --sparse=always "$out/new/$name" "$out/$name"
done
echo "$wanted" >"$out/key"
