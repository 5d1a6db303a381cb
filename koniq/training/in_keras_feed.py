"""How pictures get to a network that trains in Keras: from a set on the device, or by threads."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from koniq.ground.log import LOG
from koniq.network import Network
from koniq.pictures.order import flipped
from ku import on_device
from ku.model_helper import ModelHelper
from ku.whole_batches import WholeBatches

SHARE_OF_DEVICE = 0.5  # of what is free on a GPU: a set that takes no more lies there


def feed(helper: ModelHelper, pictures: Mapping[str, np.ndarray], network: Network, held: bool | None = None) -> None:
    """Let the generators of `helper` give its model pictures by their names, mirrored where their rows say `flip`.

    On TensorFlow the model mirrors them, and takes them out of a set that lies on its device, where there is a GPU with
    the room for it; else threads read them. On other backends of Keras the generator mirrors them. pictures: such as
    `koniq.pictures.memory.Pictures`. held: whether they lie on the device, whatever is free there.
    """
    names, shape = helper.ids.image_name.tolist(), (*network.input_size, 3)
    if not isinstance(helper.model, on_device.OnDevice):
        helper.gen_params |= {"data_path": "", "read_fn": lambda name, _: pictures[name]}
        return
    helper.params.gen_class = WholeBatches
    size = len(names) * int(np.prod(shape))
    if size <= SHARE_OF_DEVICE * on_device.free_on_gpu() if held is None else held:
        helper.model.held = _held(pictures, names, shape)
    if helper.model.held:
        rows = {name: np.int32(row) for row, name in enumerate(names)}
        helper.gen_params |= {"read_fn": lambda name, _: rows[name], "shape": (), "dtype": np.int32}
    else:
        helper.gen_params |= {"read_fn": lambda name, _: pictures[name], "shape": shape}


def flips(model: keras.Model) -> dict[str, Any]:
    """The arguments of a generator of `feed` whose rows say which pictures are to be mirrored."""
    if isinstance(model, on_device.OnDevice):
        return {"flips": "flip"}
    return {"process_fn": flipped, "process_args": "flip"}


def _held(pictures: Mapping[str, np.ndarray], names: Sequence[str], shape: tuple[int, ...]) -> on_device.Held | None:
    """The pictures on the device; None where it has not the room."""
    try:
        held = on_device.Held((pictures[name] for name in names), len(names), shape)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None
    LOG.info(f"Pictures: {len(names):,} on the device")
    return held


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device has no more: TensorFlow has the same error for a full disk."""
    return type(error).__name__ in ("ResourceExhaustedError", "InternalError") and (
        "OOM" in str(error) or "out of memory" in str(error).lower()
    )
