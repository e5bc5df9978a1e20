#!/bin/bash
# fetch.sh DIR: what the virtual machine needs, as Debian packages, unpacked into DIR. Nothing is installed or mounted.
# Leaves DIR/host (qemu), DIR/guest (bluez, dbus, kernel modules), DIR/vmlinuz, DIR/initrd. About 20 s, 210 MB.
set -euo pipefail
dir=$(realpath -m "${1:?directory}")
here=$(cd "$(dirname "$0")" && pwd)
for tool in apt-get apt-cache dpkg-deb python3; do
  command -v $tool >/dev/null || { echo "make test-vm needs $tool (Debian or Ubuntu)" >&2; exit 2; }
done
[ "$(dpkg --print-architecture)" = amd64 ] || { echo "make test-vm runs on amd64" >&2; exit 2; }
mkdir -p "$dir"/{debs-host,debs-guest}/partial "$dir"/{host,guest}
cd "$dir"
kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: linux-image-//p' | head -1)
[ -n "$kernel" ] || { echo "no package lists: run apt-get update first" >&2; exit 2; }

download() { # into a folder of ours, with the libraries that this machine lacks
  local into=$1; shift
  apt-get -y -qq -d --no-install-recommends -o Dir::Cache::archives="$dir/$into" -o Debug::NoLocking=1 \
    -o APT::Sandbox::User=root install "$@" >/dev/null
}

if [ ! -e host/.done ]; then
  download debs-host qemu-system-x86
  for deb in debs-host/*.deb; do dpkg-deb -x "$deb" host; done
  touch host/.done
fi

if [ ! -e guest/.done ]; then
  download debs-guest bluez dbus busybox-static kmod "linux-image-$kernel"
  modules=./lib/modules/$kernel
  for deb in debs-guest/*.deb; do
    case $(basename "$deb") in
      systemd* | udev_* | libnss-* | libpam-* | initramfs* | klibc* | libklibc* | linux-base* | libsystemd* | libudev* | cpio_*) ;;
      linux-image*) # of 390 MB of modules only these
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C guest --wildcards "./boot/vmlinuz-*" "$modules/modules.*" \
          "$modules/kernel/crypto/*" "$modules/kernel/lib/*" "$modules/kernel/arch/x86/crypto/*" \
          "$modules/kernel/net/bluetooth/*" "$modules/kernel/net/9p/*" "$modules/kernel/net/rfkill/*" \
          "$modules/kernel/drivers/bluetooth/hci_vhci.ko" "$modules/kernel/drivers/hid/hid.ko" \
          "$modules/kernel/drivers/hid/uhid.ko" "$modules/kernel/drivers/virtio/*" "$modules/kernel/fs/9p/*" \
          "$modules/kernel/fs/fscache/*" "$modules/kernel/fs/netfs/*" "$modules/kernel/fs/overlayfs/*" ;;
      *) dpkg-deb -x "$deb" guest ;;
    esac
  done
  cd guest
  for folder in bin sbin lib lib64; do # one /usr, or these folders would hide the host's links of these names
    if [ -d $folder ] && [ ! -L $folder ]; then
      mkdir -p usr/$folder
      cp -a $folder/. usr/$folder/
      rm -r $folder
    fi
  done
  ln -sfn usr/lib lib
  (exec -a depmod usr/bin/kmod -b . "$kernel" 2>/dev/null) || true
  rm -f bin sbin lib lib64
  touch .done
  cd ..
fi
cp "guest/boot/vmlinuz-$kernel" vmlinuz
python3 "$here/initrd.py" "guest/usr/lib/modules/$kernel" guest/usr/bin/busybox initrd
