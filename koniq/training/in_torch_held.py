"""A body whose first parts stay as they are: what they give of each picture is computed once, and kept."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from koniq.engines.in_openvino import HINTS
from koniq.engines.in_torch import precise
from koniq.ground import InputError
from koniq.ground.bars import tqdm
from koniq.pictures.memory import Pictures, room_for

AT_ONCE = 8  # pictures through the held parts; more are no faster on processors


class Tail(nn.Module):
    """What follows the held parts of a network, and trains: from what `Held` keeps of pictures to scores (batch, 1).

    `whole` is the network itself, whose parameters these are. `base` and `fc` are their parts of it, as in `Rating`.
    """

    def __init__(self, whole: nn.Module, hold: int):
        super().__init__()
        if not 0 < hold <= (parts := len(getattr(whole.base, "parts", ()))):
            raise InputError(
                f"hold should be at most {parts}, the parts of this network that can be held. Received: hold={hold}"
                if parts
                else f"hold should go with a network whose parts can be held: koncept_lite. Received: hold={hold}"
            )
        self.whole, self.hold = whole, hold
        self.map_shape = (0, 0, 0)  # of a map as `Held` keeps it: channels, height, width
        for part in (whole.base.stem, *whole.base.parts[:hold]):
            part.requires_grad_(False)

    @property
    def base(self) -> nn.ModuleList:
        return nn.ModuleList(self.whole.base.parts[self.hold :])

    @property
    def fc(self) -> nn.Module:
        return self.whole.fc

    def features(self, kept: torch.Tensor) -> torch.Tensor:
        """kept: (batch, numbers), see `Held`. float32 (batch, features)."""
        if self.hold == len(self.whole.base.parts):
            return kept.float()
        channels, height, width = self.map_shape
        maps, pooled = kept.float().tensor_split([channels * height * width], 1)
        # The numbers of a place lie together, as they were computed: channels last.
        maps = maps.unflatten(1, (height, width, channels)).permute(0, 3, 1, 2)
        return self.whole.base.after(maps, pooled, self.hold)

    def rate(self, features: torch.Tensor) -> torch.Tensor:
        return self.whole.rate(features)

    def forward(self, kept: torch.Tensor) -> torch.Tensor:
        return self.rate(self.features(kept))


class Held:
    """What the held parts give of each picture and of its mirror image: `stored(image_name, flip)`.

    float16 (numbers,): the map (height, width, channels) after the last held part, unless nothing follows it, then the
    features that were taken up to there. They lie in memory, or in a temporary file in `folder`.
    """

    dtype, mirrors = np.dtype(np.float16), False

    def __init__(
        self,
        tail: Tail,
        ids: pd.DataFrame,
        pictures: Pictures,
        folder: Path,
        device: torch.device,
        precision: str,
        quiet: bool = False,
    ):
        names = ids.image_name.tolist()
        self.row = {name: row for row, name in enumerate(names)}
        front = _Front(tail)
        example = _filled(pictures.seen(names[0], False)[None])
        compute = _computer(front, example, device, precision)
        self.kept = room_for((len(names), 2, compute(example).shape[1]), np.float16, folder)
        self.shape, self.map_shape = self.kept.shape[2:], front.map_shape
        with tqdm(total=len(names), desc=f"holding {tail.hold} parts", unit="pic", disable=quiet or None) as bar:
            for start in range(0, len(names), AT_ONCE):
                group = names[start : start + AT_ONCE]
                for flip in (False, True):
                    pixels = np.stack([pictures.seen(name, flip) for name in group])
                    self.kept[start : start + len(group), int(flip)] = compute(_filled(pixels))[: len(group)]
                bar.update(len(group))

    def stored(self, image_name: str, flip: bool) -> np.ndarray:
        return self.kept[self.row[image_name], int(flip)]


class _Front(nn.Module):
    """The held parts: from uint8 pictures (batch, height, width, 3) to what is kept of them, (batch, numbers)."""

    def __init__(self, tail: Tail):
        super().__init__()
        # A copy, for what OpenVINO is made from is to have no gradients.
        self.whole, self.hold = copy.deepcopy(tail.whole).eval().requires_grad_(False), tail.hold
        self.map_shape = tail.map_shape

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        maps, pooled = self.whole.base.before(self.whole.scaled(pixels), self.hold)
        if self.hold == len(self.whole.base.parts):
            return pooled
        self.map_shape = tuple(maps.shape[1:])
        return torch.cat([maps.float().permute(0, 2, 3, 1).flatten(1), pooled], 1)


def _filled(pixels: np.ndarray) -> np.ndarray:
    """A group of pictures, filled up to AT_ONCE."""
    return np.pad(pixels, [(0, AT_ONCE - len(pixels)), *[(0, 0)] * 3])


def _computer(
    front: _Front, example: np.ndarray, device: torch.device, precision: str
) -> Callable[[np.ndarray], np.ndarray]:
    """What computes the held parts of AT_ONCE pictures such as `example`.

    On a processor that is OpenVINO, three times as fast as PyTorch.
    """
    if device.type != "cpu":

        def compute(pictures: np.ndarray) -> np.ndarray:
            with torch.inference_mode(), precise(device, precision):
                return front(torch.from_numpy(pictures).to(device)).half().cpu().numpy()

        return compute
    import openvino

    pictures = torch.from_numpy(example)
    with warnings.catch_warnings():  # the sizes of the pictures are to be constants
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(front, pictures, check_trace=False)
        model = openvino.convert_model(traced, example_input=pictures, input=openvino.PartialShape(example.shape))
    config = {"INFERENCE_PRECISION_HINT": HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(model, "CPU", config)
    return lambda pictures: compiled(pictures)[0]
