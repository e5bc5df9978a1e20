#!/bin/sh
# What the tests need of the system: Chromium, because the dashboard is tested in a real browser.
set -eu
[ -x /usr/bin/chromium ] && exit 0
echo "The dashboard's tests drive a real browser: installing Debian's chromium ..."
if [ "$(id -u)" = 0 ]; then as_root=; elif command -v sudo >/dev/null; then as_root=sudo; else
    echo "Please install it as root: apt-get install chromium" >&2
    exit 2
fi
$as_root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq chromium >/dev/null
