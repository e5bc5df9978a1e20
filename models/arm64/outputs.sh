#!/bin/sh
# What the models answer on a 64-bit ARM board, without one: `outputs.py` on Debian's Python, emulated (qemu-user).
# About 100 MB are fetched into .venv-arm64 the first time. Debian bookworm; nothing is installed on this machine.
#     models/arm64/outputs.sh            # compare with the manifest
#     models/arm64/outputs.sh --write    # put the digests into the manifest; sign it anew afterwards
set -eu
cd "$(dirname "$0")/../.."
python=.venv/bin/python
work=$PWD/.venv-arm64
if [ ! -e "$work/ready" ]; then
    rm -rf "$work"
    mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/debs" "$work/root"
    (cd "$work/debs" && apt-get -q download qemu-user-static) >/dev/null
    dpkg-deb -x "$work"/debs/qemu-user-static_*.deb "$work/qemu"
    rm "$work"/debs/*
    find "$work/qemu" -type f ! -name qemu-aarch64-static -delete
    cat >"$work/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
Dir::State "$work/state";
Dir::State::status "$work/state/status";
Dir::Cache "$work/cache";
END
    : >"$work/state/status"
    export APT_CONFIG="$work/apt.conf"
    apt-get -q update >/dev/null
    (cd "$work/debs" && apt-get -q download python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libc6 \
        libstdc++6 libgcc-s1 zlib1g libexpat1 libffi8 libbz2-1.0 liblzma5 libuuid1) >/dev/null
    for package in "$work"/debs/*.deb; do dpkg-deb -x "$package" "$work/root"; done
    for name in numpy tflite-runtime; do
        version=$($python -c "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))" "$name")
        $python -m pip -q download --no-deps -d "$work/wheels" --python-version 3.11 --only-binary=:all: \
            --platform manylinux2014_aarch64 --platform manylinux_2_34_aarch64 "$name==$version"
    done
    for wheel in "$work"/wheels/*.whl; do $python -m zipfile -e "$wheel" "$work/root/site"; done
    rm -rf "$work/wheels" "$work/debs" "$work/cache" "$work/state"
    touch "$work/ready"
fi
PYTHONPATH=$work/root/site:models:appliance exec "$work"/qemu/usr/bin/qemu-aarch64-static -L "$work/root" \
    "$work/root/usr/bin/python3.11" -B models/arm64/outputs.py models "$@"
