"""What was published: the rows that ours stand beside.

Sources: the study (Ribeiro, Trifan and Neves, Applied Sciences 2023, 13(1), 59, doi 10.3390/app13010059), whose first
row is the original network's own (Hosu et al., arXiv 1910.06180); the notebook of its authors with the weights that
they released (github.com/subpic/koniq, koncept512_train_test_py3.ipynb); and the official table of KonIQ-10k,
koniq10k_distributions_sets.csv (md5 df512f2766d03e26ccb4cef9f1806a96).
"""

from collections.abc import Mapping
from typing import NamedTuple

from koniq.network.finding import ORIGINAL
from koniq.network.spec import Resize


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


class Claim(NamedTuple):
    """What was published of weights that were released: figures on a part of a data set, and how near ours should be.

    figures, tolerance: by metric of koniq.measure.metrics, errors in MOS.
    """

    model: str
    weights: str  # a file of trained_models
    dataset: str  # a name of koniq.data.load
    pictures: int  # of the part
    figures: Mapping[str, float]
    tolerance: Mapping[str, float]
    reason: str  # for the tolerance
    part: str = "test"
    resize: Resize | None = None  # the filter that was taken; None: none, or it is not known
    originals: str = ""  # the folder, beside that of the pictures, of what these were made from


# Of the row "original": the weights that its authors released have these figures, by their notebook. The row's own
# .921 and .937 are of their paper.
AUTHORS = {"srcc": 0.919, "plcc": 0.932, "mae": 9.132, "rmse": 10.233}
STUDY_WEIGHTS = {  # released by the study, by row; koniq.fetch.sources puts them there
    "TensorFlow, MSE, batch 8": "study-mse-b8.h5",
    "TensorFlow, MSE, batch 4": "study-mse-b4.h5",
    "TensorFlow, MSE, batch 2": "study-mse-b2.h5",
    "TensorFlow, PLCC loss, batch 8": "study-plcc-b8.h5",
    "TensorFlow, PLCC loss, batch 4": "study-plcc-b4.h5",
    "kuti, MSE, batch 8": "study-kuti-b8.h5",
    "PyTorch, MSE, batch 8": "study-pytorch-b8.pth",
}
OF_AUTHORS = (
    "three decimals were published, of test pictures that the notebook flips by chance, decoded by another JPEG decoder"
)
OF_PAPER = (
    "of the paper, whose network has .921 and .937 on KonIQ-10k where the released one has .919 and .932; how it "
    "brought these pictures to its size is not said"
)
OF_STUDY = "the study flips test pictures by chance and does not say which, so that its last digits do not come again"
OF_WEAK = f"{OF_STUDY}; the weaker a network, the more a flip moves its figures"


def _correlations(pair: tuple[float, float]) -> dict[str, float]:
    return dict(zip(("srcc", "plcc"), pair, strict=True))


def _both(near: float) -> dict[str, float]:
    return {"srcc": near, "plcc": near}


def _claims(row: Published) -> tuple[Claim, Claim]:
    """What a row says of its weights, on KonIQ-10k and on LIVE In the Wild."""
    sets = [(name, PICTURES[name]) for name in PICTURES]
    if row is PUBLISHED[0]:
        koniq10k = (AUTHORS, _both(0.002) | {"mae": 0.1, "rmse": 0.1}, OF_AUTHORS)
        live = (_correlations(row.live_itw), _both(0.01), OF_PAPER)
        return (
            Claim(row.model, ORIGINAL, *sets[0], *koniq10k, originals="1024x768"),
            Claim(row.model, ORIGINAL, *sets[1], *live),
        )
    weights, weak = STUDY_WEIGHTS[row.model], row.koniq10k[0] < 0.85
    near, near_live, reason = (0.015, 0.03, OF_WEAK) if weak else (0.004, 0.01, OF_STUDY)
    return (
        Claim(row.model, weights, *sets[0], _correlations(row.koniq10k), _both(near), reason, originals="1024x768"),
        Claim(row.model, weights, *sets[1], _correlations(row.live_itw), _both(near_live), reason, resize="bilinear"),
    )


CLAIMS = tuple(claim for row in PUBLISHED for claim in _claims(row))

# How many of KonIQ-10k's 10,073 pictures have a MOS in each of 50 bins: [0, 2), [2, 4), ..., [98, 100].
KONIQ10K_MOS = (
    *(0, 1, 7, 8, 9, 20, 24, 31, 38, 45),
    *(62, 83, 68, 84, 129, 124, 147, 154, 161, 177),
    *(201, 230, 236, 292, 293, 284, 318, 370, 412, 445),
    *(482, 557, 580, 603, 637, 675, 650, 556, 420, 248),
    *(134, 57, 13, 6, 2, 0, 0, 0, 0, 0),
)

# The same of LIVE In the Wild's 1,162 pictures, by AllMOS_release.mat without the seven that raters learnt on.
LIVE_ITW_MOS = (
    *(0, 2, 8, 9, 13, 9, 13, 9, 10, 12),
    *(15, 11, 15, 25, 16, 22, 10, 24, 17, 18),
    *(23, 29, 28, 24, 43, 35, 39, 23, 46, 43),
    *(50, 39, 53, 51, 45, 52, 56, 50, 51, 36),
    *(32, 30, 9, 10, 2, 4, 1, 0, 0, 0),
)
