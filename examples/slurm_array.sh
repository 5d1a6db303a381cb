#!/bin/bash
# Pictures scored by a SLURM array, a shard a task:   sbatch examples/slurm_array.sh my_photos scores
# One shard again, once its node is well:             sbatch --array=5 examples/slurm_array.sh my_photos scores
# Then, on any machine:                               python -m koniq merge scores/part_*.csv --out all.csv
#SBATCH --job-name=koniq
#SBATCH --array=1-8
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x_%A_%a.log
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=24:00:00
set -u
shards=${SHARDS:-8}  # the last number of --array; not SLURM_ARRAY_TASK_COUNT, which is 1 where one shard is run again
pictures=$1
scores=${2:-scores}
mkdir -p "$scores"
"${PYTHON:-python}" -m koniq score "$pictures" --shard "$SLURM_ARRAY_TASK_ID/$shards" \
    --out "$scores/part_$SLURM_ARRAY_TASK_ID.csv" "${@:3}"
code=$?
# 3: done, with rows that say why some pictures have no score. A task that is requeued gives the same command again.
[ "$code" -eq 3 ] || exit "$code"
