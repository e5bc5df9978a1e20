"""Packs the initial RAM disk: busybox, the modules that a shared folder needs, and a script that mounts the host's
root read-only under an overlay in memory. Standard library alone: it runs on the build machine as it is.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

WANTED = ("virtio_pci", "9pnet_virtio", "9p", "overlay")
SHARE = "trans=virtio,version=9p2000.L,msize=512000"
INIT = f"""#!/busybox sh
/busybox mkdir -p /proc /sys /dev /host /guest /rw /root
/busybox mount -t proc p /proc; /busybox mount -t sysfs s /sys; /busybox mount -t devtmpfs d /dev
for m in $(/busybox cat /modules); do /busybox insmod /m/$m || echo "insmod $m failed"; done
/busybox mount -t 9p -o ro,{SHARE},cache=loose host /host || echo "no host folder"
/busybox mount -t 9p -o ro,{SHARE},cache=loose guest /guest || echo "no guest folder"
/busybox mount -t tmpfs t /rw; /busybox mkdir /rw/up /rw/work
/busybox mount -t overlay -o lowerdir=/guest:/host,upperdir=/rw/up,workdir=/rw/work o /root || echo "no overlay"
for d in proc sys dev; do /busybox mkdir -p /root/$d; /busybox mount --move /$d /root/$d; done
/busybox mkdir -p /root/out; /busybox mount -t 9p -o rw,{SHARE} out /root/out || echo "no out folder"
exec /busybox switch_root /root /bin/bash /out/guest.sh
"""
DIRECTORY, FILE, DEVICE = 0o40755, 0o100755, 0o20600


def module_files(folder: Path) -> list[Path]:
    """The wanted modules and what they need, in the order in which they load."""
    needs: dict[str, tuple[str, list[str]]] = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        file, _, rest = line.partition(":")
        needs[name_of(file)] = (file, rest.split())
    order: list[str] = []

    def add(name: str) -> None:
        file, before = needs[name]
        for one in reversed(before):
            add(name_of(one))
        if file not in order:
            order.append(file)

    for name in WANTED:
        add(name)
    return [folder / file for file in order]


def name_of(file: str) -> str:
    return Path(file).name.removesuffix(".ko").replace("-", "_")


class Archive:
    """A cpio archive in the "newc" form (Linux: Documentation/driver-api/early-userspace/buffer-format)."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._count = 0

    def add(self, name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._count += 1
        named = name.encode() + b"\0"
        fields = (self._count, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(named), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + named
        self.data += head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)


def main(modules: Path, busybox: Path, out: Path) -> None:
    archive, files = Archive(), module_files(modules)
    archive.add("dev", DIRECTORY)
    archive.add("dev/console", DEVICE, device=(5, 1))
    archive.add("m", DIRECTORY)
    archive.add("init", FILE, INIT.encode())
    archive.add("busybox", FILE, busybox.read_bytes())
    archive.add("modules", FILE, "\n".join(one.name for one in files).encode())
    for one in files:
        archive.add(f"m/{one.name}", FILE, one.read_bytes())
    archive.add("TRAILER!!!", 0)
    out.write_bytes(gzip.compress(bytes(archive.data), 1))


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
