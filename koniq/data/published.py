"""What was published: the rows that ours stand beside.

Sources: the study (Ribeiro, Trifan and Neves, Applied Sciences 2023, 13(1), 59, doi 10.3390/app13010059), whose first
row is the original network's own (Hosu et al., arXiv 1910.06180); and the official table of KonIQ-10k,
koniq10k_distributions_sets.csv (md5 df512f2766d03e26ccb4cef9f1806a96).
"""

from typing import NamedTuple


class Published(NamedTuple):
    """One row of the study: what was trained and how, and SROCC and PLCC by data set."""

    model: str
    framework: str
    loss: str
    batch_size: int
    koniq10k: tuple[float, float]
    live_itw: tuple[float, float]


PICTURES = {"koniq10k": 2015, "live_itw": 1162}  # that these numbers are of


PUBLISHED = (
    Published("original, batch 16", "tensorflow", "mse", 16, (0.921, 0.937), (0.825, 0.848)),
    Published("TensorFlow, MSE, batch 8", "tensorflow", "mse", 8, (0.889, 0.903), (0.800, 0.809)),
    Published("TensorFlow, MSE, batch 4", "tensorflow", "mse", 4, (0.793, 0.774), (0.667, 0.661)),
    Published("TensorFlow, MSE, batch 2", "tensorflow", "mse", 2, (0.426, 0.413), (0.363, 0.349)),
    Published("TensorFlow, PLCC loss, batch 8", "tensorflow", "plcc", 8, (0.914, 0.930), (0.816, 0.837)),
    Published("TensorFlow, PLCC loss, batch 4", "tensorflow", "plcc", 4, (0.871, 0.877), (0.748, 0.713)),
    Published("kuti, MSE, batch 8", "kuti", "mse", 8, (0.902, 0.921), (0.796, 0.803)),
    Published("PyTorch, MSE, batch 8", "pytorch", "mse", 8, (0.892, 0.913), (0.783, 0.805)),
)

# How many of KonIQ-10k's 10,073 pictures have a MOS in each of 50 bins: [0, 2), [2, 4), ..., [98, 100].
KONIQ10K_MOS = (
    *(0, 1, 7, 8, 9, 20, 24, 31, 38, 45),
    *(62, 83, 68, 84, 129, 124, 147, 154, 161, 177),
    *(201, 230, 236, 292, 293, 284, 318, 370, 412, 445),
    *(482, 557, 580, 603, 637, 675, 650, 556, 420, 248),
    *(134, 57, 13, 6, 2, 0, 0, 0, 0, 0),
)
