#!/usr/bin/env bash
# Pictures scored by all nodes of a SLURM allocation, a model on each:
#   sbatch examples/slurm_ray.sh my_photos scores.csv
#   sbatch --nodes 16 examples/slurm_ray.sh list.csv scores.csv --weights my_run
# Pictures, weights, this clone and the folder of scores.csv lie on a storage that all nodes see. Requeued, or given
# again, it goes on where it was.
#SBATCH --job-name koniq
#SBATCH --nodes 4
#SBATCH --ntasks-per-node 1
#SBATCH --cpus-per-task 16
#SBATCH --time 12:00:00
#SBATCH --requeue
set -euo pipefail

pictures=$1
out=$2
shift 2
PYTHON=${PYTHON:-.venv/bin/python}
RAY=$(dirname "$PYTHON")/ray
export RAY_USAGE_STATS_ENABLED=0
# Others on the network may not use this cluster: all of its processes know a token in your home.
export RAY_AUTH_MODE=token
"$RAY" get-auth-token --generate > /dev/null

trap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
ip=$(srun --nodes 1 --ntasks 1 --nodelist "$head" hostname --ip-address | awk '{print $1}')
address=$ip:$((20000 + SLURM_JOB_ID % 10000)) # below are the ports of Ray's workers
store=$((200 << 20)) # bytes of each node: only paths and counts go through it

srun --nodes 1 --ntasks 1 --nodelist "$head" --overlap \
    "$RAY" start --head --block --node-ip-address "$ip" --port "${address#*:}" --include-dashboard false \
    --num-cpus "$SLURM_CPUS_PER_TASK" --object-store-memory "$store" > "$out.ray-head.log" 2>&1 &
began=$!
until timeout 20 "$RAY" health-check --address "$address" > /dev/null 2>&1; do
    kill -0 "$began" 2> /dev/null || { echo "The head did not start: see $out.ray-head.log" >&2; exit 1; }
    sleep 1
done
if ((SLURM_JOB_NUM_NODES > 1)); then
    srun --nodes $((SLURM_JOB_NUM_NODES - 1)) --ntasks $((SLURM_JOB_NUM_NODES - 1)) --exclude "$head" --overlap \
        "$RAY" start --block --address "$address" \
        --num-cpus "$SLURM_CPUS_PER_TASK" --object-store-memory "$store" > "$out.ray-nodes.log" 2>&1 &
fi
"$PYTHON" -m koniq ray "$pictures" --out "$out" --address "$address" --machines "$SLURM_JOB_NUM_NODES" "$@"
