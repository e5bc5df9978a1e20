#!/bin/sh
# install.sh VENV LOCK WHAT: fill VENV from requirements/LOCK.txt (hashes checked), then put Bedside itself in it.
set -eu
echo "Installing $3 ..."
"$1/bin/python" -m pip install --quiet --require-hashes --only-binary :all: --no-binary bedside \
    -r "requirements/$2.txt"
"$1/bin/python" -m pip install --quiet --no-deps --no-build-isolation --editable .
