#!/usr/bin/env bash
# Install the system libraries and fonts that no Python package brings: through apt where that is
# allowed, otherwise say which command does it.
set -euo pipefail

# WeasyPrint loads Pango and HarfBuzz; without the fonts a PDF loses its letters, Chinese ones silently.
# ANTs and ONNX Runtime link to the C++ and OpenMP runtimes.
packages=(
    libpango-1.0-0
    libpangoft2-1.0-0
    libharfbuzz-subset0
    fonts-dejavu-core
    fonts-wqy-microhei
    libgomp1
    libstdc++6
)

if ! command -v dpkg-query >/dev/null; then
    missing=()
    for library in libpango-1.0 libpangoft2-1.0 libharfbuzz-subset libgomp; do
        ldconfig -p 2>/dev/null | grep -q "$library" || missing+=("$library")
    done
    [ ${#missing[@]} -eq 0 ] && exit 0
    echo "This system has no dpkg, and these libraries were not found: ${missing[*]}." >&2
    echo "To fix: install Pango, HarfBuzz (with its subset library), OpenMP, the DejaVu fonts and" >&2
    echo "WenQuanYi Micro Hei with the package manager of this system, then run make again." >&2
    exit 1
fi

missing=()
for package in "${packages[@]}"; do
    state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -eq 0 ]; then
    may=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    may=(sudo -n)
else
    echo "These system packages are missing, and this user may not install them: ${missing[*]}." >&2
    echo "To fix, have an administrator run:" >&2
    echo "  apt-get update && apt-get install --yes --no-install-recommends ${missing[*]}" >&2
    exit 1
fi

echo "Installing system packages: ${missing[*]}"
"${may[@]}" apt-get update -qq
"${may[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
