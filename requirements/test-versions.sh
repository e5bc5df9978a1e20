#!/bin/sh
# The core tests on each supported Python beside the main one, where an interpreter is at hand.
set -eu
main=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
for version in 3.11 3.12 3.13; do
    [ "$version" = "$main" ] && continue
    python=$(command -v "python$version" 2>/dev/null || ls -d "$HOME/.pyenv/versions/$version".*/bin/python 2>/dev/null | head -n 1 || true)
    if [ -z "$python" ] || ! "$python" -c 'import sys' 2>/dev/null; then
        echo "Python $version is not at hand: its tests run where it is"
        continue
    fi
    venv=.venv-$version
    if [ ! -e "$venv/stamp" ] || [ requirements/test.txt -nt "$venv/stamp" ]; then
        requirements/make-venv.sh "$python" "$venv"
        requirements/install.sh "$venv" test "the tests for Python $version"
        touch "$venv/stamp"
    fi
    "$venv/bin/python" -m pytest -q -m "not long" tests/core tests/signal tests/models tests/records tests/attestation
done
