#!/usr/bin/env bash
# usage: container_python.sh ENVIRONMENT TOOLS
# Make ENVIRONMENT, a virtual environment with the locked packages that cereflow needs at run time and no
# installer, and TOOLS, one with what builds and describes it.
set -euo pipefail

environment=$1
tools=$2

export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
mkdir -p "$tools"
# The list of the final container: what is installed here from now on stays behind.
dpkg-query --show --showformat='${binary:Package}\t${Version}\n' >"$tools/debian.tsv"
apt-get update -qq
apt-get install -qq --yes --no-install-recommends python3-venv >/dev/null

python3 -m venv "$tools"
python3 -m venv --without-pip "$environment"

# The names are those of pyproject.toml; versions and checksums are those of the lock file.
python3 scripts/locked_subset.py hatchling cyclonedx-bom >"$tools/tools.lock"
python3 scripts/locked_subset.py --runtime >"$tools/runtime.lock"
locked=(install --quiet --progress-bar off --use-pep517 --require-hashes --no-deps)
"$tools/bin/pip" "${locked[@]}" --requirement "$tools/tools.lock"
"$tools/bin/pip" --python "$environment/bin/python" "${locked[@]}" --no-compile --requirement "$tools/runtime.lock"
"$tools/bin/pip" --python "$environment/bin/python" check

# Tests of other projects, and what only a compiler reads. The packages named import none of their tests.
site=("$environment"/lib/python3*/site-packages)
for package in heudiconv matplotlib mpl_toolkits networkx nipype numpy pandas prov scipy sklearn statsmodels traits; do
    find "${site[0]}/$package" -type d -name tests -prune -exec rm -rf {} +
done
find "${site[0]}" -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.c' -o -name '*.a' \) -delete

# Compiled here, since nobody can write beside the programs later, and in a form that holds no times.
PYTHONHASHSEED=0 "$environment/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$environment"/lib
