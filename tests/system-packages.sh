#!/bin/sh
# What the tests need of the system: Chromium, because the dashboard is tested in a real browser; poppler, because
# printed sheets are rendered and measured; a software TPM and its tools, because keys are sealed to one.
set -eu
missing=
need() { command -v "$1" >/dev/null || missing="$missing $2"; } # need COMMAND PACKAGE
[ -x /usr/bin/chromium ] || missing="$missing chromium"
need pdftoppm poppler-utils
need swtpm swtpm
need tpm2 tpm2-tools
[ -z "$missing" ] && exit 0
echo "The tests need of the system:$missing ..."
if [ "$(id -u)" = 0 ]; then as_root=; elif command -v sudo >/dev/null; then as_root=sudo; else
    echo "Please install as root: apt-get install$missing" >&2
    exit 2
fi
$as_root apt-get update -qq
# shellcheck disable=SC2086  # one word for each package
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq $missing >/dev/null
