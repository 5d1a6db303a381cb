"""Photographs to show and to try a model on: those that installed packages bring, and some fetched by address and hash.

No network here was trained on them, and no person has rated them. They lie in no file of this repository.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from PIL import Image

from koniq.fetch import transfer
from koniq.ground import files
from koniq.ground.bars import tqdm
from koniq.ground.paths import DATASETS
from ku.image_utils import decode_image

FETCHED = DATASETS / "photographs"  # where those with an address go

_SKIMAGE = "scikit-image"
_WALLPAPERS = "MATE's wallpapers"
_MATE = (
    "https://raw.githubusercontent.com/mate-desktop/mate-backgrounds/d68c2d62a521d38a1ac8ffa2a096d85241bfb64a/nature"
)


@dataclass(frozen=True)
class Photograph:
    """One of them, in a package that is installed, or at an address."""

    collection: str
    package: str = ""  # the module and, below it, the path of its file
    url: str = ""
    digest: str = ""  # of what is at the address: "sha256:..."

    def path(self, name: str, folder: Path = FETCHED) -> Path:
        """Where its file is, or would be."""
        if self.url:
            return folder / f"{name}{Path(self.url).suffix.lower()}"
        module, _, below = self.package.partition("/")
        found = find_spec(module)
        return Path(found.submodule_search_locations[0], below) if found else Path(below)


_skimage = partial(Photograph, _SKIMAGE)


def _wallpaper(file_name: str, sha256: str) -> Photograph:
    return Photograph(_WALLPAPERS, url=f"{_MATE}/{file_name}", digest=f"sha256:{sha256}")


# Every colour photograph of scikit-image 0.26 whose sides have 400 pixels and more, of two views one; skin is fetched,
# the others come with the package. One of Matplotlib's. All photographs of nature that MATE, a desktop, has as
# wallpapers (GPL 2 or later; their photographers stand in the file AUTHORS beside them).
PHOTOGRAPHS: Mapping[str, Photograph] = MappingProxyType(
    {
        "astronaut": _skimage("skimage/data/astronaut.png"),
        "coffee": _skimage("skimage/data/coffee.png"),
        "hubble": _skimage("skimage/data/hubble_deep_field.jpg"),
        "immunohistochemistry": _skimage("skimage/data/ihc.png"),
        "motorcycle": _skimage("skimage/data/motorcycle_left.png"),
        "retina": _skimage("skimage/data/retina.jpg"),
        "rocket": _skimage("skimage/data/rocket.jpg"),
        "skin": _skimage(
            url="https://gitlab.com/scikit-image/data/-/raw/2cdc5ce89b334d28f06a58c9f0ca21aa6992a5ba"
            "/Normal_Epidermis_and_Dermis_with_Intradermal_Nevus_10x.JPG",
            digest="sha256:8759fe080509712163453f4b17106582b8513e73b0788d80160abf840e272075",
        ),
        "hopper": Photograph("Matplotlib", "matplotlib/mpl-data/sample_data/grace_hopper.jpg"),
        "aqua": _wallpaper("Aqua.jpg", "5c30118205982da441bf7e6a1ada636a8a0be879408140b3148280c665ed6bce"),
        "blinds": _wallpaper("Blinds.jpg", "f7aac0dcc2e06d0491643e84df3da1d9db7c4610f58806a880d56e074799f600"),
        "dune": _wallpaper("Dune.jpg", "8a67c2cb0be8c46b70c237311a4fa4d2b4ac7d39568135384787801fa5cc9a91"),
        "fresh-flower": _wallpaper(
            "FreshFlower.jpg", "972b0a0c4e5e3fa93f4f244fc84bc64b121a5eac3aaa5856f1308c1f38a02f8e"
        ),
        "garden": _wallpaper("Garden.jpg", "d3095ee09d425ef23d27155412136cf14fc3c9af76ca58b452f55e23da324e78"),
        "green-meadow": _wallpaper(
            "GreenMeadow.jpg", "8fa0de0aa4089f7319c9fb7a6d006d4cab6023e8c8853731557cff53567b4832"
        ),
        "ladybird": _wallpaper("LadyBird.jpg", "e35a9a4126ef969c90b29c038058c5a575a20eadd84106a37bf1fa9931e7b61d"),
        "rain-drops": _wallpaper("RainDrops.jpg", "3e4ea9671c28c90a86cf67b3db9daf18c4741587c596333a7529ca589aaa0c16"),
        "storm": _wallpaper("Storm.jpg", "77ca53077831d3237f73393a91fc879158abc046d852941c26e90de336356957"),
        "two-wings": _wallpaper("TwoWings.jpg", "665e5abf8a5399070a91a9a8e455fe071e5b61697ff78fdeda4e9843ef545aeb"),
        "wood": _wallpaper("Wood.jpg", "19c78500ac00a622e19907ab9cc7d06d46fe08c4a6142759a84195696150ec07"),
        "yellow-flower": _wallpaper(
            "YellowFlower.jpg", "254da96256acb7add685679775a04d1e4a5bc8cd13e5a5a3d61351ce198a5306"
        ),
    }
)


def opened(path: Path, longest: int = 0) -> Image.Image:
    """A picture in RGB, upright; a larger one reduced until neither side is longer than `longest`, if that is given."""
    picture = decode_image(path)
    if longest and max(picture.size) > longest:
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return picture


def at_hand(folder: Path = FETCHED) -> dict[str, Path]:
    """The files that are there, by name: of the installed packages, and of those with an address what is in `folder`.

    A file in `folder` that is not the one of its hash is left out.
    """
    paths = {name: one.path(name, folder) for name, one in PHOTOGRAPHS.items()}
    return {name: path for name, path in paths.items() if path.is_file() and _is_right(path, PHOTOGRAPHS[name])}


def fetch(folder: Path = FETCHED, attempts: int = 2) -> dict[str, str]:
    """Fetch into `folder` what is not there, each checked by its hash. Returns those that did not come, each with why.

    An address whose host does not answer is not asked for another file of it.
    """
    failed: dict[str, str] = {}
    lacking = [name for name in PHOTOGRAPHS if PHOTOGRAPHS[name].url and name not in at_hand(folder)]
    if lacking and transfer.is_offline():
        return dict.fromkeys(lacking, "the network is not to be used (KONIQ_OFFLINE or HF_HUB_OFFLINE)")
    for name in tqdm(lacking, desc="photographs", unit="file", disable=None, leave=False):
        one = PHOTOGRAPHS[name]
        if reason := next((why for other, why in failed.items() if _host(other) == _host(name)), ""):
            failed[name] = reason
            continue
        try:
            transfer.fetch(one.url, one.path(name, folder), one.digest, attempts=attempts)
        except transfer.SourceFailed as error:
            failed[name] = f"{_host(name)} {error}"
    return failed


def _host(name: str) -> str:
    return PHOTOGRAPHS[name].url.split("/")[2]


def _is_right(path: Path, one: Photograph) -> bool:
    return not one.digest or files.digest_of(path, one.digest) == one.digest


def collections(names: Iterable[str]) -> dict[str, int]:
    """How many of the photographs so named are of which collection."""
    found = [PHOTOGRAPHS[name].collection for name in names]
    return {collection: found.count(collection) for collection in dict.fromkeys(found)}
