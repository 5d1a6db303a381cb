"""What was published: the rows that ours stand beside.

Sources: the study (Ribeiro, Trifan and Neves, Applied Sciences 2023, 13(1), 59, doi 10.3390/app13010059), whose first
row is the original network's own (Hosu et al., arXiv 1910.06180).
"""

from typing import NamedTuple


class Published(NamedTuple):
    """One row of the study: SROCC and PLCC by data set."""

    model: str
    koniq10k: tuple[float, float]  # test set, 2,015 pictures
    live_itw: tuple[float, float]  # 1,162 pictures


PUBLISHED = (
    Published("original, batch 16", (0.921, 0.937), (0.825, 0.848)),
    Published("TensorFlow, MSE, batch 8", (0.889, 0.903), (0.800, 0.809)),
    Published("TensorFlow, MSE, batch 4", (0.793, 0.774), (0.667, 0.661)),
    Published("TensorFlow, MSE, batch 2", (0.426, 0.413), (0.363, 0.349)),
    Published("TensorFlow, PLCC loss, batch 8", (0.914, 0.930), (0.816, 0.837)),
    Published("TensorFlow, PLCC loss, batch 4", (0.871, 0.877), (0.748, 0.713)),
    Published("kuti, MSE, batch 8", (0.902, 0.921), (0.796, 0.803)),
    Published("PyTorch, MSE, batch 8", (0.892, 0.913), (0.783, 0.805)),
)
