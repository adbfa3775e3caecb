#!/usr/bin/env bash
# Build the container from the Dockerfile, on a Debian made here and without any registry of images, and hold it to
# the installation outside: the demo and a real scan, with no network, a read-only root, user 1001 and no HOME, have
# to give the same maps to the last bit.
#
# usage: container_check.sh image|definition|reproducible …
#   image         build the Dockerfile, run the demo and a scan in it
#   definition    run the steps of singularity.def in the same way, and its %test in what comes of them
#   reproducible  build the Dockerfile twice and list what differs
#
# Needs root (it installs buildah, podman and mmdebstrap where they are missing) and a Debian or Ubuntu.
# VENV: the installation outside (default .venv). CEREFLOW_TEST_DATA: the folder that holds zips/.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD

: "${VENV:=.venv}" "${CEREFLOW_TEST_DATA:=../shared/data}"
base=$(sed -n 's/^ARG BASE=//p' Dockerfile)
image=localhost/cereflow
zip=$CEREFLOW_TEST_DATA/zips/philips_pcasl3d_1delay_t1.zip
asked=(--post-labeling-delay 2.0 --labeling-duration 1.8) # what the header of that scan does not hold
scratch=$here/build/container

leave() { # leave it out where it cannot be done; where it has to be done, fail
    echo "container check left out: $1" >&2
    if [ "${CI:-}" = true ]; then exit 1; fi
    exit 0
}

install_tools() {
    local missing=() tool
    for tool in buildah podman crun mmdebstrap; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null || leave "${missing[*]} missing, and this is no Debian or Ubuntu."
    echo "Installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
}

# This machine's own way to the network: what apt and pip are told outside, they are told during the build,
# through files that are bound in and stay outside the image.
machine_settings() {
    local settings=$scratch/settings cert=${PIP_CERT:-${SSL_CERT_FILE:-}}
    rm -rf "$settings" && mkdir -p "$settings/mnt"
    apt-config dump 2>/dev/null | grep -E '^Acquire::(Check-|http|https|Retries)' >"$settings/apt.conf" || true
    echo "[global]" >"$settings/pip.conf"
    if [ -n "$cert" ] && [ -f "$cert" ]; then
        cp "$cert" "$settings/mnt/certificates.crt"
        echo "cert = /mnt/certificates.crt" >>"$settings/pip.conf"
    fi
    if [ -n "${PIP_INDEX_URL:-}" ]; then
        echo "index-url = $PIP_INDEX_URL" >>"$settings/pip.conf"
    fi
    outside=(
        --volume "$settings/apt.conf:/etc/apt/apt.conf.d/99outside:ro"
        --volume "$settings/pip.conf:/etc/pip.conf:ro"
        --volume "$settings/mnt:/mnt:ro"
    )
}

# The stand-in for the Debian image that the Dockerfile names: as slim, and under the same name.
# Made anew every week, and with it all that is built on it, so that Debian's security updates get in.
make_base() {
    local made
    made=$(podman image inspect --format '{{.Created.Unix}}' "$base" 2>/dev/null || echo 0)
    [ $(($(date +%s) - made)) -lt 604800 ] && return
    echo "Making $base"
    local option options=(
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright'
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*'
        # Without it a package that merges / and /usr, and all of Perl with it, would come in.
        --hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr
    )
    while read -r option; do options+=(--aptopt="$option"); done <"$scratch/settings/apt.conf"
    mmdebstrap --quiet --variant=minbase "${options[@]}" bookworm "$scratch/base.tar"
    podman import --quiet "$scratch/base.tar" "$base" >/dev/null
    rm -f "$scratch/base.tar"
}

# What .dockerignore lets through, all of one time: to buildah a file of another time is another file, and a fresh
# clone would be built from nothing every time.
make_context() {
    local context=$scratch/context
    rm -rf "$context" && mkdir "$context"
    sed -n 's/^!//p' .dockerignore | xargs cp --recursive --target-directory="$context" Dockerfile .dockerignore
    find "$context" -exec touch --no-dereference --date=@1577836800 {} +
}

build() { # build TAG [OPTION…]
    local tag=$1
    shift
    buildah bud --quiet --isolation chroot --pull-never --network host "${outside[@]}" --tag "$tag" "$@" "$scratch/context"
}

# Some kernels offer both kinds of control groups, which crun refuses: it is shown but one.
contained() { # contained PODMAN-ARGUMENT…
    unshare --mount bash -c 'umount -R /sys/fs/cgroup/unified 2>/dev/null || true; exec podman --runtime crun run "$@"' _ \
        --rm --pull=never --cgroups=disabled --network none --read-only --user 1001:1001 --passwd=false \
        --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 \
        --env OMP_NUM_THREADS=1 --env OPENBLAS_NUM_THREADS=1 --env ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1 "$@"
}

run_outside() (
    export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1
    local bin out=$scratch/outside
    bin=$(cd "$VENV/bin" && pwd)
    rm -rf "$out" && mkdir -p "$out"
    "$bin/cereflow-demo" "$out/demo" --nprocs 1
    "$bin/cereflow-convert" "$zip" "$out/bids" "${asked[@]}"
    "$bin/cereflow" "$out/bids" "$out/out" participant --nprocs 1 --work-dir "$out/work"
)

run_inside() {
    local out=$scratch/inside
    rm -rf "$out" && install -d -o 1001 -g 1001 "$out"
    local bound=(--volume "$out:/results" --volume "$(realpath "$CEREFLOW_TEST_DATA")/zips:/zips:ro")
    # Three ways to have no HOME: one that does not exist, none at all, and one that is another's.
    contained "${bound[@]}" --env HOME=/nowhere --entrypoint cereflow-demo "$image" /results/demo --nprocs 2
    contained "${bound[@]}" --entrypoint env "$image" -u HOME \
        cereflow-convert "/zips/${zip##*/}" /results/bids "${asked[@]}"
    contained "${bound[@]}" --env HOME=/root "$image" \
        /results/bids /results/out participant --nprocs 2 --work-dir /results/work
}

check_image() {
    local former
    trap 'kill $(jobs -p) 2>/dev/null || true' EXIT # of this part, whose shell is its own
    run_outside >"$scratch/outside.log" 2>&1 &
    local outside_run=$!
    former=$(podman image inspect --format '{{.Id}}' "$image" 2>/dev/null || true)
    build "$image" --layers >/dev/null
    # The one before would stay without a name, a gigabyte each time; what both are built on stays.
    if [ -n "$former" ] && [ "$(podman image inspect --format '{{len .RepoTags}}' "$former")" = 0 ]; then
        podman rmi "$former" >/dev/null
    fi
    podman image inspect --format 'Image: {{.Size}} bytes, version {{index .Labels "org.opencontainers.image.version"}}' "$image"
    contained --entrypoint env "$image" -u HOME python3 /opt/cereflow/share/cereflow/selftest.py \
        "$(podman image inspect --format '{{index .Labels "org.opencontainers.image.version"}}' "$image")"
    # In the background, since a shell that is asked how a function ended does not stop in it at an error.
    run_inside >"$scratch/inside.log" 2>&1 &
    local inside_run=$!
    local failed=()
    wait "$outside_run" || failed+=("$scratch/outside.log")
    wait "$inside_run" || failed+=("$scratch/inside.log")
    if [ ${#failed[@]} -gt 0 ]; then
        tail -n 40 "${failed[@]}"
        exit 1
    fi
    if grep "no readable answer" "$scratch/inside.log"; then exit 1; fi # the validator's, without a HOME
    "$VENV/bin/python" scripts/compare_outputs.py "$scratch/outside" "$scratch/inside"
}

check_definition() {
    local stamp sum
    stamp=${XDG_CACHE_HOME:-$HOME/.cache}/cereflow/definition.sum
    sum=$(cat Dockerfile singularity.def .dockerignore pyproject.toml requirements.lock scripts/* | sha256sum)
    if [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; then
        echo "singularity.def: nothing that its steps depend on has changed since they passed on this machine."
        return
    fi
    "$VENV/bin/python" scripts/definition_to_dockerfile.py singularity.def "$scratch"
    build "$image-definition" --file "$scratch/definition.Dockerfile" >/dev/null
    # As Apptainer runs them: the variables of %environment first, then the section.
    local section=(contained --entrypoint /bin/sh --volume "$scratch/definition.sh:/definition.sh:ro" "$image-definition")
    "${section[@]}" -c 'unset HOME; . /definition.sh; cd /tmp; test_section'
    "${section[@]}" -c 'unset HOME; . /definition.sh; cd /tmp; run_section --version'
    podman rmi --force "$image-definition" >/dev/null
    mkdir -p "${stamp%/*}"
    echo "$sum" >"$stamp"
}

check_reproducible() {
    local number
    for number in 1 2; do
        build "$image-again$number" --no-cache
    done
    "$VENV/bin/python" scripts/compare_images.py "$image-again1" "$image-again2"
    podman rmi --force "$image-again1" "$image-again2" >/dev/null
}

[ "$(id -u)" -eq 0 ] || leave "it needs root. To fix: sudo --preserve-env make image"
mkdir -p "$scratch"
install_tools
machine_settings
make_context
make_base
# Side by side: one waits for the network while the other computes.
runs=()
for part in "$@"; do
    case $part in
        image) check_image ;;
        definition) check_definition ;;
        reproducible) check_reproducible ;;
        *) echo "$part is no part of this check." && exit 2 ;;
    esac >"$scratch/$part.log" 2>&1 &
    runs+=($!)
done
status=0
for part in "$@"; do
    wait "${runs[0]}" || status=1
    runs=("${runs[@]:1}")
    echo "Container, $part:"
    cat "$scratch/$part.log"
done
exit $status
