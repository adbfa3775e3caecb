#!/bin/bash
# One task of a Grid Engine array for each participant. Submit it with how many there are:
#
#   export BIDS=/data/bids OUT=/data/out WORK=/scratch/work
#   qsub -V -t 1-"$(find "$BIDS" -maxdepth 1 -type d -name 'sub-*' | wc -l)" sge_array.sh
#
# Run it again after failures: what is done is not repeated.
#$ -N cereflow
#$ -S /bin/bash
#$ -cwd
#$ -j y
#$ -l h_vmem=4G
#$ -l h_rt=01:00:00
set -euo pipefail

mapfile -t participants < <(find "$BIDS" -maxdepth 1 -type d -name 'sub-*' -printf '%f\n' | sort)
participant=${participants[$((SGE_TASK_ID - 1))]}

# Several words are allowed: CEREFLOW="apptainer run --cleanenv cereflow.sif" and the like.
# shellcheck disable=SC2086
exec ${CEREFLOW:-cereflow} "$BIDS" "$OUT" participant --participant-label "$participant" \
    --nprocs 1 --mem-mb 3500 --work-dir "$WORK" --skip-bids-validation
