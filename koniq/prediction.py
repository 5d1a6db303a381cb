"""The one prediction loop: pictures in, one score or one reason each out, in the order given."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from koniq.network import Network
from ku.image_utils import decode_image, resize_image

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class Score:
    """What became of one picture."""

    path: Path
    mos: float = nan  # nan unless status is "ok"
    status: str = "ok"  # ok, missing, unreadable, truncated, too_large
    width: int = 0  # as the picture is meant to be seen, pixels; 0 if that is not known
    height: int = 0
    error: str = ""  # the reason, if status is not "ok"


def decode(path: Path, network: Network) -> tuple[Score, np.ndarray | None]:
    """A picture as the network takes it: uint8 (height, width, 3), RGB. Instead of raising, the score says why not.

    A truncated picture is refused rather than scored: its grey lower part is not what its photographer took.
    """
    try:
        picture = decode_image(path)
        pixels = np.asarray(resize_image(picture, network.input_size, network.resize))
    except FileNotFoundError:
        return Score(path, status="missing", error="no such file"), None
    except Image.DecompressionBombError as error:
        return Score(path, status="too_large", error=str(error)), None
    except UnidentifiedImageError:
        return Score(path, status="unreadable", error="not a picture in a format that Pillow reads"), None
    except MemoryError:
        return Score(path, status="too_large", error="not enough memory to decode it"), None
    except Exception as error:  # Pillow's plugins raise anything on a broken file; the run goes on, the row says why
        status = "truncated" if "truncated" in str(error).lower() else "unreadable"
        return Score(path, status=status, error=f"{type(error).__name__}: {error}"), None
    return Score(path, width=picture.width, height=picture.height), pixels


def predict(
    model: "keras.Model",
    network: Network,
    paths: Iterable[Path],
    batch_size: int = 8,
    workers: int = 2,
    progress: str = "",
) -> Iterator[Score]:
    """Score pictures, yielding one Score each in the order of `paths`, whatever becomes of them.

    Threads decode ahead of the network by a few batches. Every batch has `batch_size` pictures, the last filled up, so
    that the network is traced once and a score depends on nothing but its picture. progress: a bar's title, or none.
    """
    paths = list(paths)
    waiting: deque[Score | None] = deque()  # scores in order; None where one is still in the batch
    decoded: list[Score] = []
    batch = np.zeros((batch_size, *network.input_size, 3), np.uint8)
    bar = tqdm(total=len(paths), desc=progress, unit="pic", disable=not progress or None)

    def finished() -> Iterator[Score]:
        scores = iter(model.predict_on_batch(batch)[: len(decoded), 0].tolist() if decoded else ())
        ready = iter(decoded)
        for score in waiting:
            if score is None:
                score = next(ready)
                score = Score(score.path, next(scores), score.status, score.width, score.height)
            bar.update()
            yield score
        waiting.clear()
        decoded.clear()

    with ThreadPoolExecutor(workers) as pool:
        for score, pixels in _ahead(pool, paths, network, 4 * batch_size):
            waiting.append(score if pixels is None else None)
            if pixels is not None:
                batch[len(decoded)] = pixels
                decoded.append(score)
            if len(decoded) == batch_size or len(waiting) == 8 * batch_size:
                yield from finished()
        yield from finished()
    bar.close()


def _ahead(
    pool: ThreadPoolExecutor, paths: list[Path], network: Network, count: int
) -> Iterator[tuple[Score, np.ndarray | None]]:
    """Decoded pictures in order, with at most `count` decoded or on their way at a time."""
    coming: deque[Future] = deque()
    for path in paths:
        coming.append(pool.submit(decode, path, network))
        if len(coming) == count:
            yield coming.popleft().result()
    while coming:
        yield coming.popleft().result()
