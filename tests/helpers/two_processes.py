"""One of two processes that share a metric of torchmetrics: `python two_processes.py RANK FOLDER WEIGHTS`.

The first has three pictures in two batches, the second one; of the second metric the second has none. Writes RANK.json.
"""

import json
import sys
from datetime import timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]


def main(rank, folder, weights):
    import tiny  # noqa: F401  it makes the small network known
    import torch
    from torch import distributed

    from koniq import plugs

    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    distributed.init_process_group("gloo", store, timeout=timedelta(minutes=5), rank=rank, world_size=2)
    pictures = torch.rand(4, 3, 30, 40, generator=torch.Generator().manual_seed(1))
    batches = ([pictures[:2], pictures[2:3]], [pictures[3:]])[rank]
    found = {}
    for name, mine in (("shared", batches), ("first alone", batches if rank == 0 else [])):
        for reduction in ("mean", "none"):
            metric = plugs.torchmetric(weights, reduction)
            for batch in mine:
                metric.update(batch)
            found[f"{name}, {reduction}"] = metric.compute().tolist()
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
