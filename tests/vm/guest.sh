# The first process inside the virtual machine: BlueZ up, then the scenes; their exit code goes to /out/rc.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONDONTWRITEBYTECODE=1
. /out/environment
for folder in /run /dev/shm /tmp; do mkdir -p $folder; mount -t tmpfs t $folder; done
ip link set lo up 2>/dev/null || busybox ip link set lo up
for module in cmac ecb algif_hash algif_skcipher hci_vhci; do modprobe -q $module || echo "modprobe $module failed"; done
mkdir -p /run/dbus /var/lib/bluetooth
chmod 700 /var/lib/bluetooth
dbus-daemon --system --fork --nopidfile
while :; do # started anew whenever it ends, as systemd does
  /usr/libexec/bluetooth/bluetoothd -n >>/out/bluetoothd.log 2>&1
  sleep 3
done &
cd "$BEDSIDE_TREE" && "$BEDSIDE_PYTHON" tests/vm/scenes.py
code=$?
dmesg -l err,warn 2>/dev/null | grep -i bluetooth | tail -20
echo $code >/out/rc
sync
exec busybox poweroff -f
