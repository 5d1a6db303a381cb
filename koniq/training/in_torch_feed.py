"""The way of pictures into a step of PyTorch: read by threads, or lying on the device; mirrored and scaled there.

No process is started for it, so that no shared memory (/dev/shm) is needed. Nothing here waits for the device.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import pandas as pd
import torch

from koniq.ground.log import LOG
from koniq.ground.threads import ahead, threads
from koniq.training.in_torch_processes import Group

SHARE_OF_DEVICE = 0.25  # of a GPU's free memory that pictures may take; the rest is the training's
AT_ONCE = 64  # pictures that move to the device at a time, where all of them are to lie there


class Source(Protocol):
    """Where pictures come from: `stored(image_name, flip)` is one as it is kept, an array of `shape` and `dtype`.

    mirrors: whether the flip is still to be done on what is stored.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    mirrors: bool

    def stored(self, image_name: str, flip: bool) -> np.ndarray:
        """One picture, or what is kept of it."""


class Batches:
    """The batches of an epoch, as far as they are this process's.

    rows: a table with image_name, MOS and flip. Process r of n has the pictures r, r + n, r + 2n, ... of each batch; to
    have as many everywhere, the last picture of a batch may come twice. whole_only: without a last one of fewer
    pictures. filled: such a last one is filled up by its last picture, so that all are of one size.
    """

    def __init__(
        self, rows: pd.DataFrame, batch_size: int, group: Group, whole_only: bool = False, filled: bool = False
    ):
        self.names, self.flips = rows.image_name.tolist(), rows.flip.to_numpy(bool)
        self.mos = torch.tensor(rows.MOS.to_numpy(), dtype=torch.float32)
        self.batch_size, self.group, self.filled = batch_size, group, filled
        self.count = len(rows) // batch_size if whole_only else -(-len(rows) // batch_size)

    def __len__(self) -> int:
        return self.count

    def ends(self, number: int) -> tuple[int, int]:
        """The rows of a batch, of all processes: first, and last plus 1."""
        start = number * self.batch_size
        return start, min(start + self.batch_size, len(self.names))

    def own(self, number: int) -> np.ndarray:
        """The rows of a batch that are this process's."""
        start, end = self.ends(number)
        share = -(-(self.batch_size if self.filled else end - start) // self.group.size)
        return (start + self.group.rank + self.group.size * np.arange(share)).clip(max=end - 1)


class Feed(Protocol):
    """What has the pictures of batches ready for the device."""

    def pixels(self, batches: Batches) -> Iterator[torch.Tensor]:
        """This process's pictures of each batch, on the device, mirrored where the row says so."""


class Host:
    """Pictures that lie on the host: threads read those of the next batches, on CUDA into pinned memory."""

    def __init__(self, source: Source, device: torch.device, workers: int):
        self.source, self.device, self.workers = source, device, workers
        self.dtype = torch.from_numpy(np.empty(0, source.dtype)).dtype

    def pixels(self, batches: Batches) -> Iterator[torch.Tensor]:
        on_host, own = self.device.type == "cpu", [batches.own(number) for number in range(len(batches))]
        flips = iter(_flips(batches, own, self.device))

        def read(rows: np.ndarray) -> torch.Tensor:
            pixels = torch.empty(
                (len(rows), *self.source.shape), dtype=self.dtype, pin_memory=self.device.type == "cuda"
            )
            for place, row in zip(pixels.numpy(), rows, strict=True):
                place[...] = self.source.stored(batches.names[row], batches.flips[row])
            if on_host and self.source.mirrors:  # there the threads have the time
                return mirrored(pixels, torch.from_numpy(batches.flips[rows]))
            return pixels

        with threads(self.workers) as pool:
            for pixels in ahead(pool, read, own, 2 * self.workers):
                there = pixels.to(self.device, non_blocking=True)
                flip = next(flips)
                yield mirrored(there, flip) if self.source.mirrors and not on_host else there


class OnDevice:
    """Pictures that lie on the device, all of them; nothing but their numbers moves in an epoch."""

    def __init__(self, source: Source, names: Sequence[str], device: torch.device):
        self.device, self.mirrors = device, source.mirrors
        keys = [(name, flip) for name in names for flip in ((False,) if source.mirrors else (False, True))]
        self.row = {key: row for row, key in enumerate(keys)}
        example = torch.from_numpy(np.empty(0, source.dtype))
        self.kept = torch.empty((len(keys), *source.shape), dtype=example.dtype, device=device)
        for start in range(0, len(keys), AT_ONCE):
            group = np.stack([source.stored(*key) for key in keys[start : start + AT_ONCE]])
            self.kept[start : start + AT_ONCE] = torch.from_numpy(group).to(device)

    def pixels(self, batches: Batches) -> Iterator[torch.Tensor]:
        own = [batches.own(number) for number in range(len(batches))]
        keys = ((batches.names[row], bool(batches.flips[row]) and not self.mirrors) for row in np.concatenate(own))
        rows = torch.tensor([self.row[key] for key in keys]).to(self.device)
        for where, flip in zip(rows.split([len(each) for each in own]), _flips(batches, own, self.device), strict=True):
            found = self.kept[where]
            yield mirrored(found, flip) if self.mirrors else found


def feed(source: Source, names: Sequence[str], device: torch.device, workers: int) -> Feed:
    """What feeds pictures of these names to a device: from there, if it is a GPU whose memory they fit in."""
    count = len(names) * (1 if source.mirrors else 2)
    size = count * int(np.prod(source.shape)) * np.dtype(source.dtype).itemsize
    if device.type == "cuda" and size <= SHARE_OF_DEVICE * torch.cuda.mem_get_info(device)[0]:
        LOG.info(f"Pictures: all {len(names):,} on the GPU, {size / 1e9:.2f} GB")
        return OnDevice(source, names, device)
    return Host(source, device, workers)


def fed(batches: Batches, feed: Feed) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The batches on the device: this process's pictures, uint8 (pictures, height, width, 3), and MOS of the whole."""
    mos = batches.mos.to(batches.group.device)
    for number, pixels in enumerate(feed.pixels(batches)):
        start, end = batches.ends(number)
        yield pixels, mos[start:end]


def mirrored(pixels: torch.Tensor, flips: torch.Tensor) -> torch.Tensor:
    """Pictures (pictures, height, width, 3), mirrored left to right where `flips` (pictures,) is true.

    On a processor in place, in a tenth of NumPy's time: for channels that come first PyTorch has a path of its own.
    """
    if pixels.device.type != "cpu":
        return chosen(pixels, flips)
    for row in np.flatnonzero(flips.numpy()):
        picture = pixels[row]
        picture.copy_(picture[None].permute(0, 3, 1, 2).flip(3)[0].permute(1, 2, 0))
    return pixels


def chosen(pixels: torch.Tensor, flips: torch.Tensor) -> torch.Tensor:
    """The same anywhere, without a wait for `flips`."""
    return torch.where(flips[:, None, None, None], pixels.flip(2), pixels)


def _flips(batches: Batches, own: Sequence[np.ndarray], device: torch.device) -> tuple[torch.Tensor, ...]:
    """Which of the pictures of each batch are mirrored, on the device: moved once an epoch."""
    if not own:
        return ()
    return torch.from_numpy(batches.flips[np.concatenate(own)]).to(device).split([len(rows) for rows in own])
