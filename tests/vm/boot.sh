#!/bin/sh
# Boots the machine of image.sh, with nobody's rights, and runs an errand in it.
#
#   boot.sh IMAGES ERRAND RESULTS   ERRAND: a directory with a program `errand`, run there as
#                                   root; RESULTS: gets what that left in /run/results, and
#                                   the console's text.  The exit status is the errand's.
# VM_SECONDS: how long it may take; VM_MEMORY, in MiB.
set -eu
. "$(dirname -- "$0")/../setup/lib.sh"

images=$1 errand=$2 results=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$results"

tar -c -C "$errand" . >"$work/errand"
truncate -s %512 "$work/errand"
truncate -s 256M "$work/results"
# KVM may be missing or refuse the kernel: emulation is slower and always there.
set -- -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m "${VM_MEMORY:-3072}" -nodefaults -no-user-config -display none \
    -no-reboot -kernel "$images/vmlinuz" -initrd "$images/initrd.img" \
    -append "root=LABEL=root rw console=ttyS0 quiet systemd.show_status=false loglevel=3" \
    -drive "file=$images/disk.img,format=raw,if=virtio,snapshot=on" \
    -drive "file=$work/errand,format=raw,if=virtio,readonly=on" \
    -drive "file=$work/results,format=raw,if=virtio" \
    -device virtio-rng-pci -serial "file:$results/console"
TMPDIR=$work timeout "${VM_SECONDS:-900}" qemu-system-x86_64 "$@" </dev/null ||
    die "the machine did not end by itself within ${VM_SECONDS:-900} s: $results/console"
tar -x -C "$results" <"$work/results" 2>/dev/null ||
    die "the machine left no results: $(tail -n 5 "$results/console")"
status=$(cat "$results/status" 2>/dev/null) || die "the errand was not finished"
exit "$status"
