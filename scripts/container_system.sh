#!/usr/bin/env bash
# What the container takes from Debian: Python, and the libraries and fonts that every installation needs.
set -euo pipefail

: "${SOURCE_DATE_EPOCH:=1577836800}"
export DEBIAN_FRONTEND=noninteractive

apt-get update -qq
apt-get install -qq --yes --no-install-recommends python3 >/dev/null
bash "$(dirname "$0")/system_libraries.sh"

# WeasyPrint reads the fonts through fontconfig, whose cache is good as long as the folders keep their times.
find /usr/share/fonts -type d -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
rm -rf /var/cache/fontconfig/*
SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH fc-cache --system-only --force

# Logs, lists and caches hold the hour of the build and serve nobody.
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* \
    /var/lib/dpkg/*-old /var/log/* ~root/.cache
find /usr/lib/python3* /usr/share/python3 -name __pycache__ -prune -exec rm -rf {} +
# Python's own modules are compiled anew in a form that holds no times; nobody can write beside them later.
PYTHONHASHSEED=0 python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3.11
