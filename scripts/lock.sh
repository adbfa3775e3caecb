#!/usr/bin/env bash
# Resolve requirements.lock anew for Python 3.11: every package, its version and the hashes of its files.
set -euo pipefail

: "${PYTHON:=python3.11}"
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$version" != 3.11 ]; then
    echo "The lock file is made with Python 3.11; $PYTHON is $version." >&2
    echo "To fix: make lock PYTHON=python3.11" >&2
    exit 1
fi

"$PYTHON" -m venv build/lock
build/lock/bin/python -m pip install --quiet pip-tools
# Where the packages came from is the business of the machine that installs them, so no address is kept.
CUSTOM_COMPILE_COMMAND="make lock" build/lock/bin/pip-compile pyproject.toml \
    --output-file requirements.lock --extra dev --build-deps-for editable \
    --generate-hashes --allow-unsafe --strip-extras --quiet \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
