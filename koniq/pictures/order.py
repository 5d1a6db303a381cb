"""In which order an epoch sees pictures, and which of them mirrored."""

import numpy as np
import pandas as pd


class EpochPlan:
    """The rows of each epoch in their order, with the column `flip`: all that chance decides about the pictures.

    It follows from the seed, the stage and the number of the epoch, so a resumed run sees what the other one saw.
    Called at the end of an epoch, it gives the rows of the next, as the generators of `ku` want it.
    """

    def __init__(self, ids: pd.DataFrame, seed: int, stage: int, epoch: int):
        self.ids, self.key, self.epoch = ids, (seed, stage), epoch

    def rows(self) -> pd.DataFrame:
        rng = np.random.default_rng([*self.key, self.epoch])
        rows = self.ids.iloc[rng.permutation(len(self.ids))]
        return rows.assign(flip=rng.random(len(rows)) < 0.5)

    def __call__(self) -> pd.DataFrame:
        self.epoch += 1
        return self.rows()


def flipped(picture: np.ndarray, flip: bool) -> np.ndarray:
    """The picture (height, width, 3), mirrored left to right if `flip`."""
    return picture[:, ::-1] if flip else picture


class Seen:
    """What has a picture by name, uint8, seen straight or mirrored; it is kept straight."""

    dtype, mirrors = np.dtype(np.uint8), True

    def stored(self, image_name: str, flip: bool) -> np.ndarray:
        """The picture as it is kept, whatever `flip` is."""
        return self[image_name]

    def seen(self, image_name: str, flip: bool) -> np.ndarray:
        """The picture (height, width, 3), mirrored left to right if `flip`."""
        return flipped(self[image_name], flip)
