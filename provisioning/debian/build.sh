#!/bin/sh
# Build bedside_VERSION_ARCH.deb: Bedside with an environment of its own, made from the locked wheels. Needs the network
# (or a wheel cache) while it is built, none when it is installed. Run from the repository's root: build.sh [OUT-FOLDER]
set -eu
out=${1:-build}
arch=$(dpkg --print-architecture)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml | head -1)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
umask 022
root=$stage/root
prefix=$root/usr/lib/bedside
site=$prefix/lib/python3.11/site-packages
python=${DEB_PYTHON:-/usr/bin/python3.11}
[ -x "$python" ] || { echo "The package is for Debian 12, whose Python is 3.11: $python is missing." >&2; exit 2; }
pip=${DEB_PIP:-.venv/bin/pip}
mkdir -p "$prefix/bin" "$site" "$root/usr/bin" "$root/usr/lib/systemd/system" "$root/usr/lib/sysusers.d" \
    "$root/usr/share/dbus-1/system.d" "$root/usr/share/doc/bedside" "$root/etc/bedside" "$root/DEBIAN" "$out"

# The environment: a venv in all but name, so that it has this system's interpreter and its own packages only.
ln -s /usr/bin/python3.11 "$prefix/bin/python3"
printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n' >"$prefix/pyvenv.cfg"
"$pip" install --quiet --disable-pip-version-check --no-compile --target "$site" --python-version 3.11 \
    --only-binary=:all: --require-hashes -r requirements/run.txt
"$pip" wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir "$stage" .
"$pip" install --quiet --disable-pip-version-check --no-compile --no-deps --target "$site" "$stage"/bedside-*.whl
rm -rf "$site/bin" "$site"/*/tests "$site"/*/test
find "$site" -name '*.pyi' -delete

install -m 755 provisioning/debian/bedside "$root/usr/bin/bedside"
install -m 644 provisioning/systemd/*.service provisioning/systemd/bedside.target "$root/usr/lib/systemd/system/"
install -m 644 provisioning/systemd/bedside.sysusers "$root/usr/lib/sysusers.d/bedside.conf"
install -m 644 provisioning/systemd/bedside-bluetooth.conf "$root/usr/share/dbus-1/system.d/bedside.conf"
install -m 644 compliance/intended-use.md CHANGELOG.md README.md "$root/usr/share/doc/bedside/"
for script in postinst prerm postrm; do install -m 755 "provisioning/debian/$script" "$root/DEBIAN/$script"; done
size=$(du -sk "$root" | cut -f1)
sed -e "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$size/" provisioning/debian/control.in >"$root/DEBIAN/control"
dpkg-deb --root-owner-group -Zxz -z3 --build "$root" "$out/bedside_${version}_${arch}.deb" >/dev/null
echo "$out/bedside_${version}_${arch}.deb"
