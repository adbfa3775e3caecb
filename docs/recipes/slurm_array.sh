#!/bin/bash
# One task of a SLURM array for each participant. Submit it with how many there are:
#
#   export BIDS=/data/bids OUT=/data/out WORK=/scratch/work
#   sbatch --array=1-"$(find "$BIDS" -maxdepth 1 -type d -name 'sub-*' | wc -l)"%50 slurm_array.sh
#
# %50 lets no more than 50 run at once. Run it again after failures: what is done is not repeated.
#SBATCH --job-name=cereflow
#SBATCH --cpus-per-task=1
#SBATCH --mem=4G
#SBATCH --time=01:00:00
#SBATCH --output=cereflow-%A_%a.log
set -euo pipefail

mapfile -t participants < <(find "$BIDS" -maxdepth 1 -type d -name 'sub-*' -printf '%f\n' | sort)
participant=${participants[$((SLURM_ARRAY_TASK_ID - 1))]}

# Several words are allowed: CEREFLOW="apptainer run --cleanenv cereflow.sif" and the like.
# shellcheck disable=SC2086
exec ${CEREFLOW:-cereflow} "$BIDS" "$OUT" participant --participant-label "$participant" \
    --nprocs "${SLURM_CPUS_PER_TASK:-1}" --mem-mb 3500 --work-dir "$WORK" --skip-bids-validation
