#!/bin/bash
# run.sh PYTHON [DIR]: pair and stream through BlueZ and a Linux kernel, in a virtual machine. Prints scenes and seconds.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
tree=$(cd "$here/../.." && pwd)
python=$(realpath -s "$1")
dir=$(realpath -m "${2:-${XDG_CACHE_HOME:-$HOME/.cache}/bedside-vm}")
"$here/fetch.sh" "$dir"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cp "$here/guest.sh" "$out/"
path=$tree/appliance:$tree/signal:$tree/models:$tree/provisioning:$tree/compliance:$tree
printf 'export BEDSIDE_TREE=%q BEDSIDE_PYTHON=%q PYTHONPATH=%q OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1\n' \
  "$tree" "$python" "$path" >"$out/environment"
code=0
"$here/boot.sh" "$dir" "$out" || code=$?
[ -n "${KEEP:-}" ] && cp -r "$out" "$KEEP"
exit $code
