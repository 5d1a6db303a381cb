"""Data and weights as their authors give them out, but small: for what fetches them."""

import io
import tarfile
import zipfile

import h5py
import numpy as np
from PIL import Image
from scipy.io import savemat

from koniq.network import KONCEPT512
from koniq.network.weight_files import keras3_names


def picture(size, seed, kind="PNG"):
    """The bytes of a small flat picture of (height, width) with one dot that tells it from others."""
    pixels = np.zeros((*size, 3), np.uint8)
    pixels[0, 0] = seed
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def zipped(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(files):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


LIVE_NAMES = [*(f"t{n}.bmp" for n in range(1, 8)), "1.bmp", "2.JPG"]


def live_tables(folder):
    folder.mkdir()
    cells = np.empty((len(LIVE_NAMES), 1), object)
    cells[:, 0] = [np.array([name]) for name in LIVE_NAMES]
    savemat(folder / "AllImages_release.mat", {"AllImages_release": cells})
    savemat(folder / "AllMOS_release.mat", {"AllMOS_release": np.arange(9.0)[None]})
    savemat(folder / "AllStdDev_release.mat", {"AllStdDev_release": np.ones((1, 9))})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def koncept512(path, keras3=False, fill=None, **changed):
    """A file of KonCept512 as Keras 2 or 3 writes it, and small: its arrays have the right shapes and are not written.

    changed: other shapes, by the name of a layer in PyTorch with "_" for "."; None: without that layer.
    """
    kinds, names, all_shapes = zip(*KONCEPT512.layers, strict=True)
    with h5py.File(path, "w") as file:
        if not keras3:
            file.attrs["layer_names"] = [name.encode() for name in names]
        for name, of_keras3, shapes in zip(names, keras3_names(kinds), all_shapes, strict=True):
            shapes = changed.get(name.replace(".", "_"), shapes)
            group = file.create_group(f"layers/{of_keras3}/vars" if keras3 else name)
            if not keras3:
                group.attrs["weight_names"] = [str(number).encode() for number in range(len(shapes or ()))]
            for number, shape in enumerate(shapes or ()):
                group.create_dataset(str(number), shape, np.float32)
        if fill is not None:
            file["note"] = fill
    return path.read_bytes()
