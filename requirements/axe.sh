#!/bin/sh
# axe.sh VENV: fetch axe-core, which finds faults of accessibility in the pages, from the npm registry into VENV.
# Only the tests use it. It is kept if it is already there and is what it should be.
set -eu
version=4.14.1
sum=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c
file="$1/axe-core/axe.min.js"
check() { echo "$sum  $file" | sha256sum --check --status; }
[ -f "$file" ] && check && exit 0
command -v npm >/dev/null || { echo "The tests need npm, to fetch axe-core: apt-get install npm" >&2; exit 2; }
echo "Fetching axe-core $version ..."
mkdir -p "$1/axe-core"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
npm pack --silent --pack-destination "$folder" "axe-core@$version" >/dev/null
tar -xzf "$folder/axe-core-$version.tgz" -C "$folder"
cp "$folder/package/axe.min.js" "$file"
check || { echo "axe-core $version is not what it was" >&2; rm -f "$file"; exit 2; }
