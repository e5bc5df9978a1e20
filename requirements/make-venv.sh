#!/bin/sh
# make-venv.sh PYTHON VENV: a virtual environment, or one sentence that says what is missing.
set -eu
if ! "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
    echo "Bedside needs Python 3.11, 3.12 or 3.13; \"$1\" is none. Debian, Ubuntu: apt-get install python3 python3-venv" >&2
    exit 2
fi
echo "Making a virtual environment with $("$1" -V) in $2 ..."
if ! "$1" -m venv "$2"; then
    rm -rf "$2"
    echo "Python cannot make virtual environments here. Debian, Ubuntu: apt-get install python3-venv" >&2
    exit 2
fi
