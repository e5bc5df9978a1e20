#!/bin/sh
# Remake the lock files: hashes for every platform, no index lines. Run from the repository's root; needs `uv`.
set -eu
lock() { # lock OUTPUT EXTRA...
    out=$1; shift
    # shellcheck disable=SC2046  # one --extra for each word
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --constraints requirements/constraints.in --no-emit-index-url --no-emit-find-links pyproject.toml requirements/build.in \
        $(printf -- '--extra %s ' "$@") -o "$out"
}
lock requirements/run.txt recordings demo
cp requirements/run.txt requirements/test.txt # the tests run with the versions that a ward runs with
lock requirements/test.txt test
cp requirements/test.txt requirements/train.txt
lock requirements/train.txt test train
cp requirements/train.txt requirements/peers.txt
lock requirements/peers.txt test train peers
