"""What commands ask alike: which rated pictures, and by which engine they are scored.

The study's scripts say the same anew, a line each, for there they are what a researcher reads and edits.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from koniq.data import datasets
from koniq.engines import DeviceName, EngineName, Precision
from koniq.scoring import Scorer, load

Resize = Literal["lanczos", "bicubic", "bilinear", "box", "nearest"]
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
    resize: Resize | None = None  # None: as in training; nearest: the study's lifelog
    engine: EngineName = "auto"  # keras, openvino, torch; auto: on a GPU if there is one, else openvino
    device: DeviceName = "auto"  # auto: a GPU that the engine computes on, if any; cpu leaves it alone
    precision: Precision = "auto"  # auto: mixed_bfloat16 where openvino has it, else float32; int8: twice as fast
    workers: int = 2  # threads that decode pictures

    def load(self, path: Path, pictures: Sequence[Path], **chosen: bool | None) -> Scorer:
        """What scores by the weights at `path`. chosen: calibrate and intervals, see koniq.scoring.load."""
        return load(path, int8_pictures=pictures, **asdict(self), **chosen)
