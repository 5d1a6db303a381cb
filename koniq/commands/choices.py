"""What commands ask alike: which rated pictures, and by which engine they are scored.

The study's scripts say the same anew, a line each, for there they are what a researcher reads and edits.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from koniq.data import datasets
from koniq.engines import DeviceName, EngineName, Precision
from koniq.network.koncept512 import Pooling
from koniq.network.spec import Fit, Resize, Rules
from koniq.pictures.room import MEGAPIXELS
from koniq.scoring import Scorer, load

Part = Literal["training", "validation", "test"]


@dataclass(frozen=True)
class Data:
    """Rated pictures."""

    dataset: str = "koniq10k"  # koniq10k, live_itw, biq2021, sample (built in, synthetic labels), or a .csv
    table: str = ""  # its table (live_itw, biq2021: the folder of their tables), if not in koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    skip_missing: bool = True  # go by the pictures that are there, and say how many are not

    def load(self, scale: tuple[float, float] | None = None) -> datasets.DataSet:
        """The data set, which is printed. scale: of the MOS of an own table; None: by its range."""
        data = datasets.load(self.dataset, self.table, self.images, self.skip_missing, scale)
        print(data.summary())
        return data


@dataclass(frozen=True)
class How:
    """How pictures are scored."""

    batch_size: int | None = None  # pictures at a time; None: what suits the engine; moves scores by rounding alone
    input_size: tuple[int, int] | None = None  # (height, width); None: what the weights were trained at
    resize: Resize | None = None  # the filter by which pictures get there; None: as in training
    rules: Rules | None = None  # of decoding; study: its lifelog's; 1: as before 2; None: 2, or the begun file's
    fit: Fit | None = None  # what becomes of other proportions than the network's; None: as in training
    dct_scaling: bool = True  # JPEGs of more than twice the size are decoded at a half of it or less
    max_megapixels: float = MEGAPIXELS  # that may be decoded of a picture: 8 bytes of memory each
    pooling: Pooling | None = None  # of weights by PyTorch without a record: mean, or 8x8, the study's
    engine: EngineName = "auto"  # keras, openvino, torch; auto: on a GPU if there is one, else openvino
    device: DeviceName = "auto"  # auto: a GPU that the engine computes on, if any; cpu leaves it alone
    precision: Precision = "auto"  # auto: mixed_bfloat16 where openvino has it, else float32; int8: twice as fast
    workers: int | None = None  # threads that decode pictures; None: one a core

    def load(self, path: Path, pictures: Sequence[Path], **chosen: bool | None) -> Scorer:
        """What scores by the weights at `path`. chosen: calibrate and intervals, see koniq.scoring.load."""
        return load(path, int8_pictures=pictures, **asdict(self), **chosen)
