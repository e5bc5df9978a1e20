#!/bin/sh
# The core tests on each supported Python beside the main one, where an interpreter is at hand.
set -eu
main=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')

find_python() { # find_python VERSION: print an interpreter of it that really runs
    for python in $(command -v "python$1" 2>/dev/null) "$HOME/.pyenv/versions/$1".*/bin/python; do
        if "$python" -c 'import ssl, sqlite3, venv' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
}

for version in 3.11 3.12 3.13; do
    [ "$version" = "$main" ] && continue
    python=$(find_python "$version")
    if [ -z "$python" ]; then
        echo "Python $version is not at hand: its tests run where it is"
        continue
    fi
    venv=.venv-$version
    if [ ! -e "$venv/stamp" ] || [ requirements/test.txt -nt "$venv/stamp" ]; then
        requirements/make-venv.sh "$python" "$venv"
        requirements/install.sh "$venv" test "the tests for Python $version"
        touch "$venv/stamp"
    fi
    "$venv/bin/python" -m pytest -q -n 2 -m "not long" \
        tests/core tests/signal tests/models tests/ble tests/alarms tests/monitor tests/attestation
done
