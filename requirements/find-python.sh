#!/bin/sh
# Print the Python to use: the first of 3.11, 3.12, 3.13 that runs. 3.11 comes first: tflite-runtime has wheels for it.
for name in python3.11 python3.12 python3.13 python3; do
    for python in $(command -v "$name" 2>/dev/null) "$HOME"/.pyenv/versions/"${name#python}".*/bin/python; do
        if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            echo "$python"
            exit 0
        fi
    done
done
echo python3
