#!/usr/bin/env bash
# usage: container_package.sh ENVIRONMENT TOOLS
# Build the wheel of the sources in this folder, install it in ENVIRONMENT, list all that is in the
# container, and compile it in a form that holds no times.
set -euo pipefail

environment=$1
tools=$2
: "${SOURCE_DATE_EPOCH:=1577836800}"
export SOURCE_DATE_EPOCH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

"$tools/bin/pip" wheel --quiet --no-deps --no-build-isolation --wheel-dir "$tools/wheel" .
"$tools/bin/pip" --python "$environment/bin/python" install --quiet --no-deps --no-index --no-compile \
    "$tools"/wheel/*.whl
# Where it was installed from would name a temporary folder.
rm -f "$environment"/lib/python3*/site-packages/cereflow_bids-*.dist-info/direct_url.json

list=$environment/share/cereflow
mkdir -p "$list"
cp scripts/container_selftest.py "$list/selftest.py"
"$tools/bin/python" scripts/container_inventory.py "$environment" "$list" "$tools/debian.tsv"

PYTHONHASHSEED=0 "$environment/bin/python" -m compileall -q --invalidation-mode unchecked-hash \
    "$environment"/lib/python3*/site-packages/cereflow_bids
