#!/bin/bash
# boot.sh DIR OUT: boot once; OUT/guest.sh is the guest's first process and leaves its exit code in OUT/rc.
set -uo pipefail
dir=$(realpath "$1")
out=$(realpath "$2")
rm -f "$out/rc"
export LD_LIBRARY_PATH=$dir/host/usr/lib/x86_64-linux-gnu:$dir/host/lib/x86_64-linux-gnu
share() { echo "-fsdev local,id=$1,path=$2,security_model=none$3 -device virtio-9p-pci,fsdev=$1,mount_tag=$1"; }
# shellcheck disable=SC2046  the words are options
timeout "${LIMIT_S:-580}" nice "$dir/host/usr/bin/qemu-system-x86_64" -M pc -accel tcg,thread=multi -cpu max -smp 1 -m 1536 \
  -nodefaults -no-user-config -display none -serial stdio -no-reboot \
  -L "$dir/host/usr/share/qemu" -L "$dir/host/usr/share/seabios" -kernel "$dir/vmlinuz" -initrd "$dir/initrd" \
  -append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on tsc=reliable" \
  $(share host / ,readonly=on,multidevs=remap) $(share guest "$dir/guest" ,readonly=on) $(share out "$out" "") </dev/null
ended=$?
[ -f "$out/rc" ] && exit "$(cat "$out/rc")"
echo "the machine ended without a result (qemu: $ended)" >&2
exit 99
