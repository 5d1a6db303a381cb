"""A body whose first parts stay as they are: what they give of each picture is computed once, and kept."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from koniq.ground import InputError
from koniq.pictures import Pictures, room_for

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
        self.shape = (0, 0, 0)  # of a map as `Held` keeps it: channels, height, width
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
        channels, height, width = self.shape
        maps, pooled = kept.float().tensor_split([channels * height * width], 1)
        # The numbers of a place lie together, as they were computed: channels last.
        maps = maps.unflatten(1, (height, width, channels)).permute(0, 3, 1, 2)
        return self.whole.base.after(maps, pooled, self.hold)

    def rate(self, features: torch.Tensor) -> torch.Tensor:
        return self.whole.rate(features)

    def forward(self, kept: torch.Tensor) -> torch.Tensor:
        return self.rate(self.features(kept))


class Held:
    """What the held parts give of each picture and of its mirror image: `seen(image_name, flip)`.

    float16 (numbers,): the map (height, width, channels) after the last held part, unless nothing follows it, then the
    features that were taken up to there. They lie in memory, or in a temporary file in `folder`.
    """

    def __init__(
        self,
        tail: Tail,
        ids: pd.DataFrame,
        pictures: Pictures,
        folder: Path,
        device: torch.device,
        precisely: Callable[[], AbstractContextManager],
        quiet: bool = False,
    ):
        self.row = {name: row for row, name in enumerate(ids.image_name)}
        self.shape = tail.shape
        self.kept = np.empty((0, 2, 0), np.float16)
        names = list(self.row)
        tail.eval()
        bar = tqdm(total=len(names), desc=f"holding {tail.hold} parts", unit="pic", disable=quiet or None)
        with bar, torch.no_grad():
            for start in range(0, len(names), AT_ONCE):
                group = names[start : start + AT_ONCE]
                for flip in (False, True):
                    pixels = torch.from_numpy(np.stack([pictures.seen(name, flip) for name in group])).to(device)
                    with precisely():
                        maps, pooled = tail.whole.base.before(tail.whole.scaled(pixels), tail.hold)
                    if tail.hold < len(tail.whole.base.parts):
                        self.shape = tuple(maps.shape[1:])
                        pooled = torch.cat([maps.permute(0, 2, 3, 1).flatten(1), pooled], 1)
                    packed = pooled.half().cpu().numpy()
                    if not len(self.kept):
                        self.kept = room_for((len(names), 2, packed.shape[1]), np.float16, folder)
                    self.kept[start : start + len(group), int(flip)] = packed
                bar.update(len(group))

    def seen(self, image_name: str, flip: bool) -> np.ndarray:
        return self.kept[self.row[image_name], int(flip)]
