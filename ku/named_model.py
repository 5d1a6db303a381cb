"""A model under a name that says what it is, and the files that bear the name."""

import glob
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from ku.console import raw_confirm
from ku.files import atomic_path
from ku.generators import fixed_size
from ku.helper_params import HelperParams
from ku.names import ShortNameBuilder
from ku.parts import bare, save_weights

# Endings of a weights file: ours, then those of older files.
WEIGHTS = (".weights.h5", ".keras", "_weights.h5", ".h5")
MODELS = (".keras", "_model.h5", ".h5")


class NamedModel:
    """Names `model`, saves and reads it; `ku.model_helper.ModelHelper` is one, and trains it.

    Args:
        model: a built Keras model with `inputs` and `outputs`.
        root_name: what its name starts with.
        gen_params: arguments of the generators, of which the batch size and the input's size are in the name.
        params: say its loss, which is in the name, too, and where its files lie.
    """

    def __init__(self, model: keras.Model, root_name: str, gen_params: Mapping[str, Any], params: HelperParams):
        self.model, self.root_name, self.gen_params, self.params = model, root_name, gen_params, params
        self._name_parts: dict[str, Any] = {}
        self.set_model_name()

    def set_model_name(self) -> ShortNameBuilder:
        """Builds `model_name` from the model, the loss and the batch size, and the parts of `update_name`.

        Inputs for pictures of any size are named by the `input_shape` of `gen_params`, where it has a height and width.
        """
        self.model_name = ShortNameBuilder(
            prefix=self.root_name,
            bsz=self.gen_params.get("batch_size", 32),
            i=_shapes(self.model.inputs, fixed_size(self.gen_params.get("input_shape"))),
            l=[_name(loss) for loss in keras.tree.flatten(self.params.loss)],
            o=_shapes(self.model.outputs),
        )
        self.model_name.update(self._name_parts)
        return self.model_name

    def update_name(self, **parts: Any) -> str:
        """Adds `key=value` parts to `model_name`, and returns the name."""
        self._name_parts.update(parts)
        self.model_name.update(parts)
        return self.model_name()

    def _model_path(self, ending: str, name: str = "") -> Path:
        return Path(self.params.models_root) / f"{name or self.model_name()}_{ending}"

    def save_model(
        self,
        weights_only: bool = False,
        model: keras.Model | None = None,
        name_extras: str = "",
        best: bool = False,
        verbose: int = 1,
    ) -> Path:
        """Writes `<model_name()><name_extras>_best` or `_final`, the whole model (.keras) or its weights."""
        model = model or self.model
        ending = ("best" if best else "final") + (WEIGHTS if weights_only else MODELS)[0]
        path = self._model_path(ending, self.model_name() + name_extras)
        if weights_only:
            save_weights(model, path)
        else:
            with atomic_path(path) as temporary:
                model.save(temporary)
        if verbose:
            print(f"Saved {path}")
        return path

    def load_model(
        self,
        model_name: str = "",
        best: bool = True,
        from_weights: bool = True,
        by_name: bool = False,
        verbose: int = 1,
    ) -> bool:
        """Reads what `save_model` or `train` wrote, or an older `.h5`; False where there is no such file.

        Args:
            model_name: a name under `models_root`, or the path of a file; '' means `model_name()`.
            best: `_best`, rather than `_final`.
            from_weights: read weights into `model`, rather than replace `model` by the one in the file.
            by_name: match layers by name (weights in an older `.h5` only).
            verbose: say what was read.
        """
        stem = self._model_path("best" if best else "final", model_name)
        endings = WEIGHTS if from_weights else MODELS
        candidates = [Path(model_name), *(stem.with_name(stem.name + ending) for ending in endings)]
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            if verbose:
                print(f"No file {candidates[1]}")
            return False
        if from_weights:
            bare(self.model).load_weights(path, **({"by_name": True} if by_name else {}))
        else:
            self.model = keras.models.load_model(path, compile=False)
        if verbose:
            print(f"Loaded {path}")
        return True

    def clean_outputs(self, force: bool = False) -> list[Path]:
        """Removes the logs, weights and features under `model_name()`, once confirmed; returns them."""
        p, name = self.params, glob.escape(self.model_name())
        paths = [path for kind in ("best", "final") for path in Path(p.models_root).glob(f"{name}_{kind}.*")]
        for kind in ("activations", "features"):
            paths += Path(p.features_root).glob(f"{name}_{kind}_*.h5")
        if p.logs_root is not None:
            paths += Path(p.logs_root).glob(name)
        if not paths or not (force or raw_confirm(f"Remove {', '.join(map(str, paths))}?")):
            return []
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return paths


def _name(function: Any) -> str:
    """Such as 'mse' or 'huber_loss', from a name, a function or a Keras object."""
    return getattr(function, "__name__", None) or getattr(function, "name", str(function))


def _shapes(tensors: Sequence[keras.KerasTensor], size: tuple[int, int] | None = None) -> str:
    """Such as '384x512x3', with N for any size, joined by '-'. size: the (height, width) of pictures of any size."""
    shapes = [tensor.shape[1:] for tensor in tensors]
    if size:
        shapes = [[n or m for n, m in zip(s, (*size, None), strict=True)] if len(s) == 3 else s for s in shapes]
    return "-".join("x".join(str(n or "N") for n in shape) for shape in shapes)
