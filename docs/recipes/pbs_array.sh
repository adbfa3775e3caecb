#!/bin/bash
# One task of a PBS array for each participant. Submit it with how many there are:
#
#   export BIDS=/data/bids OUT=/data/out WORK=/scratch/work
#   qsub -V -J 1-"$(find "$BIDS" -maxdepth 1 -type d -name 'sub-*' | wc -l)" pbs_array.sh
#
# Torque spells -J as -t. Run it again after failures: what is done is not repeated.
#PBS -N cereflow
#PBS -l select=1:ncpus=1:mem=4gb
#PBS -l walltime=01:00:00
#PBS -j oe
set -euo pipefail

cd "${PBS_O_WORKDIR:-.}"
mapfile -t participants < <(find "$BIDS" -maxdepth 1 -type d -name 'sub-*' -printf '%f\n' | sort)
participant=${participants[$((${PBS_ARRAY_INDEX:-${PBS_ARRAYID:-}} - 1))]}

# Several words are allowed: CEREFLOW="apptainer run --cleanenv cereflow.sif" and the like.
# shellcheck disable=SC2086
exec ${CEREFLOW:-cereflow} "$BIDS" "$OUT" participant --participant-label "$participant" \
    --nprocs 1 --mem-mb 3500 --work-dir "$WORK" --skip-bids-validation
