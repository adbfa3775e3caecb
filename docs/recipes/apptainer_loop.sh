#!/bin/bash
# Every participant in turn, in a container, on one machine:
#
#   BIDS=/data/bids OUT=/data/out WORK=/scratch/work SIF=cereflow.sif bash apptainer_loop.sh
#
# Goes on after a failure, and ends with the exit code of the worst: stopped, failed, pending, done.
set -uo pipefail

runtime=$(command -v apptainer || command -v singularity) || {
    echo "neither apptainer nor singularity is there" >&2
    exit 2
}
mkdir -p "$OUT" "$WORK"
pending=0
failed=0
while IFS= read -r participant; do
    code=0
    # Without --workdir the container's /tmp is in memory, and small.
    "$runtime" run --cleanenv --containall --workdir "$WORK" \
        --bind "$BIDS:/bids:ro" --bind "$OUT:/out" --bind "$WORK:/work" \
        "$SIF" /bids /out participant --participant-label "$participant" \
        --nprocs "${NPROCS:-1}" --work-dir /work --skip-bids-validation < /dev/null || code=$?
    case $code in
        0) ;;
        3) pending=1 ;;
        130 | 143) exit "$code" ;;
        *) failed=1 ;;
    esac
done < <(find "$BIDS" -maxdepth 1 -type d -name 'sub-*' -printf '%f\n' | sort)
if ((failed)); then exit 1; fi
if ((pending)); then exit 3; fi
