#!/usr/bin/env bash
# Create the virtual environment and install the locked packages and this one in it.
set -euo pipefail

: "${PYTHON:=python3}" "${VENV:=.venv}"
needed=3.11 # as requires-python in pyproject.toml

if ! command -v "$PYTHON" >/dev/null; then
    echo "Python was not found. To fix: install Python $needed or newer (apt-get install python3 python3-venv)." >&2
    exit 1
fi
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if ! "$PYTHON" -c "import sys; sys.exit(sys.version_info[:2] < tuple(map(int, '$needed'.split('.'))))"; then
    echo "$PYTHON is Python $version; cereflow_bids needs $needed or newer." >&2
    echo "To fix: name a newer one, as in: make setup PYTHON=python3.11" >&2
    exit 1
fi
if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "$PYTHON cannot make virtual environments. To fix: apt-get install python3-venv" >&2
    exit 1
fi

"$PYTHON" -m venv "$VENV"
pip=("$VENV/bin/python" -m pip --disable-pip-version-check install --quiet --quiet --progress-bar off)
echo "Installing Python packages into $VENV (about 1 GB to download the first time)"
if [ "$version" = "$needed" ]; then
    "${pip[@]}" --use-pep517 --require-hashes -r requirements.lock
    # The build tools are in the lock file: nothing that is not locked gets in.
    "${pip[@]}" --no-deps --no-build-isolation --editable .
else
    echo "requirements.lock is for Python $needed and this is $version: taking the newest releases that fit."
    "${pip[@]}" --editable '.[dev]'
fi
