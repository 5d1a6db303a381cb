#!/bin/bash
#SBATCH --job-name=koncept512
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1  # an agent a node, which starts a process a GPU
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --requeue            # where a node fails, the same lines begin again elsewhere, and --resume goes on
#SBATCH --open-mode=append

# PyTorch's training on several nodes, from a clone that all of them see:
#   sbatch examples/slurm_torchrun.sh --batch-size 32
# On storage that all nodes see: the clone with its .venv, the folder of the run, and the pictures or, better, their
# prepared file. batch_size is that of all GPUs together, a multiple of their number.
set -euo pipefail

# PyTorch's agents would wait for one another in vain after one of them has been replaced.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
export OMP_NUM_THREADS=4
# Where the nodes' names do not lead to the network between them, name its interface (`ip addr`):
# export GLOO_SOCKET_IFNAME=ib0 NCCL_SOCKET_IFNAME=ib0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")  # a pipe into head may end this file
srun .venv/bin/torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" --max-restarts 3 \
    --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d --rdzv-endpoint "${nodes[0]}:29500" \
    -- pytorch_train_koncept512.py --run koncept512-on-slurm --resume --workers 4 "$@"
