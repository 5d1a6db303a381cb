"""Where data and weights come from: each item's files, their addresses in the order of trying, hashes, licences.

The hashes are of the files as their hosts state them; where a host states none, the content is what is checked.
"""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from koniq.data.releases import RELEASES
from koniq.ground import InputError
from koniq.ground.paths import HOME, IMAGES, METADATA, TRAINED_MODELS
from koniq.network.finding import ORIGINAL
from koniq.network.koncept512 import STUDY_PORT, Topology


@dataclass(frozen=True)
class Source:
    """One address of a file."""

    url: str
    digest: str = ""  # "md5:..." or "sha256:...", where it is known
    size: int = 0  # bytes, exact or about, where it is known
    content: str = ""  # koniq.fetch.archives.content of its tables and pictures, where the host packs it anew each time

    @property
    def file_name(self) -> str:
        return PurePosixPath(unquote(urlsplit(self.url).path)).name


@dataclass(frozen=True)
class Part:
    """One file of an item, or one folder of pictures with the tables that come in the same archive."""

    name: str
    kind: Literal["table", "pictures", "keras", "torch", "safetensors"]
    target: str  # where it goes, relative to HOME (koniq.ground.paths) unless it is absolute
    sources: tuple[Source, ...]  # in the order of trying
    page: str  # where a person gets it by hand
    topology: Topology | None = None  # of weights that do not tell it; their record is put beside them


@dataclass(frozen=True)
class Item:
    """What one name of `koniq.fetch.installation` means."""

    name: str
    title: str
    licence: str
    parts: tuple[Part, ...]


HUB = "https://huggingface.co"
HUB_DATA = f"{HUB}/datasets/chaofengc/IQA-Toolbox-Datasets/resolve/main"


def keras_models() -> str:
    """The folder in which keras.applications looks for its weights."""
    return str(Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models")


def _relative(path: Path) -> str:
    return path.relative_to(HOME).as_posix()


def _packed(repository: str, commit: str) -> str:
    """The address of a commit of a repository on GitHub, as a zip."""
    return f"https://github.com/{repository}/archive/{commit}.zip"


def _of_the_study(
    name: str, identity: str, kind: Literal["keras", "torch"] = "keras", topology: Topology | None = None
) -> Part:
    """Weights of the study on Google Drive, at the address that its page for large files leads to."""
    ending = {"keras": "h5", "torch": "pth"}[kind]
    return Part(
        name,
        kind,
        _relative(TRAINED_MODELS / f"study-{name}.{ending}"),
        (Source(f"https://drive.usercontent.google.com/download?id={identity}&export=download&confirm=t"),),
        f"https://drive.google.com/file/d/{identity}/view",
        topology,
    )


ITEMS = {
    item.name: item
    for item in (
        Item(
            "koniq10k",
            "KonIQ-10k: 10,073 rated pictures, 512x384",
            "pictures: Creative Commons, each by its photographer; cite arXiv 1910.06180",
            (
                Part(
                    "table",
                    "table",
                    _relative(METADATA / "koniq10k_distributions_sets.csv"),
                    (
                        Source(
                            "https://github.com/subpic/koniq/raw/master/metadata/koniq10k_distributions_sets.csv",
                            RELEASES["koniq10k"].tables["koniq10k_distributions_sets.csv"],
                            1_147_194,
                        ),
                    ),
                    "https://github.com/subpic/koniq/tree/master/metadata",
                ),
                Part(
                    "pictures",
                    "pictures",
                    _relative(IMAGES / "512x384"),
                    (
                        Source("http://datasets.vqa.mmsp-kn.de/archives/koniq10k_512x384.zip"),
                        Source(
                            f"{HUB_DATA}/koniq10k.tgz",
                            "sha256:18f4b664fed41ffdf37dd5cae6921901d86afddd952fdfa3d77eda25cc48370b",
                            6_350_000_000,
                        ),
                    ),
                    "http://database.mmsp-kn.de/koniq-10k-database.html",
                ),
            ),
        ),
        Item(
            "live_itw",
            "LIVE In the Wild: 1,162 rated pictures, and 7 that trained their raters",
            "may be used, copied, changed and handed on for any purpose, without a fee, provided that its notice (the "
            "README.txt, which is put beside the tables) goes with every copy and what is published names LIVE at the "
            "University of Texas at Austin; its page asks for a form",
            (
                Part(
                    "pictures",
                    "pictures",
                    _relative(IMAGES / "live_500x500"),
                    (
                        Source(
                            f"{HUB_DATA}/live_challenge.tgz",
                            "sha256:cdd7a6227de40df10cfd5daf8d19894e95200fa0ca5655bbe50fd433d3b31f25",
                            326_000_000,
                        ),
                        Source(
                            _packed("hqc0929/IQA-dataset", "dc028441b0674484aa35bedaa749fe85e0ac2b11"),
                            size=325_487_530,
                            content="sha256:2653fb62bbcf17cb0546b352e5319802b7e59f487b4c0da919956484acf67a55",
                        ),
                    ),
                    "https://live.ece.utexas.edu/research/ChallengeDB/index.html",
                ),
            ),
        ),
        Item(
            "biq2021",
            "BIQ2021: 12,000 rated pictures, 512x512 but for 11",
            "none is stated: its repository has no licence file, so all rights are reserved, and use in research is at "
            "your own judgement; its subset 3 is from Unsplash; cite doi 10.1117/1.JEI.31.5.053010",
            (
                Part(
                    "pictures",
                    "pictures",
                    _relative(IMAGES / "biq2021"),
                    (
                        Source(
                            _packed("nisarahmedrana/BIQ2021", "62c7b40c036b68ee280626409699aa5c1a37fe57"),
                            size=419_569_206,
                            content="sha256:d39b5a74bb039175979823f037c08f3b41b894004946456294879a6b5c890461",
                        ),
                    ),
                    "https://github.com/nisarahmedrana/BIQ2021",
                ),
            ),
        ),
        Item(
            "imagenet",
            "InceptionResNetV2 trained on ImageNet: where training starts",
            "Apache 2.0",
            (
                Part(
                    "keras",
                    "keras",
                    f"{keras_models()}/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
                    (
                        Source(
                            "https://storage.googleapis.com/tensorflow/keras-applications/inception_resnet_v2/"
                            "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
                            "md5:d19885ff4a710c122648d3b5c3b684e4",
                            219_055_592,
                        ),
                    ),
                    "https://keras.io/api/applications/inceptionresnetv2",
                ),
                Part(
                    "pytorch",
                    "safetensors",
                    _relative(TRAINED_MODELS / "inception_resnet_v2.tf_in1k.safetensors"),
                    (
                        Source(
                            f"{HUB}/timm/inception_resnet_v2.tf_in1k/resolve/main/model.safetensors",
                            "sha256:dbea26b13a5fc8351919fed6a94222c0577ce324b2765fd081a798f837ca9d72",
                            224_000_000,
                        ),
                    ),
                    f"{HUB}/timm/inception_resnet_v2.tf_in1k/tree/main",
                ),
            ),
        ),
        Item(
            "koncept512",
            "KonCept512, trained: the original and the study's own",
            "as their authors give them out; none is stated",
            (
                Part(
                    "original",
                    "keras",
                    _relative(TRAINED_MODELS / ORIGINAL),
                    (
                        Source("https://osf.io/uznf8/download"),
                        Source(f"http://datasets.vqa.mmsp-kn.de/archives/{ORIGINAL}"),
                        Source(
                            "https://drive.usercontent.google.com/download"
                            "?id=1ae4t3j42dEB5yCSKlDxovjJq0tAHs3vo&export=download&confirm=t"
                        ),
                    ),
                    "https://osf.io/uznf8",
                ),
                _of_the_study("mse-b8", "1Mac9uezGd3phkSpXXiNqioFgZhOUXllG"),
                _of_the_study("mse-b4", "1gnixh8WD2y02ydxQqRXoHdhMQtQfduE6"),
                _of_the_study("mse-b2", "1qycHO4O1ShUumVOwQ9f8m4Imod_AmS00"),
                _of_the_study("plcc-b8", "1SVhPzspYk3CejL1e082EwZXE0T3-H-o-"),
                _of_the_study("plcc-b4", "1r1E7xmRqKQByITQoZraJNevAXTN3agPW"),
                _of_the_study("kuti-b8", "16GcSR87R-RpjoB5c4Ylau5AWQgHGMVWf"),
                _of_the_study("pytorch-b8", "1MVRMsqe7J1uP-6R71dBlFQtxpAUkkTRA", "torch", STUDY_PORT),
            ),
        ),
    )
}


def named(names: tuple[str, ...]) -> list[tuple[Item, Part]]:
    """The parts that names mean: "imagenet" all of its parts, "imagenet/keras" one. InputError for another name."""
    found = []
    for name in names:
        item, _, wanted = name.partition("/")
        parts = [part for part in ITEMS[item].parts if wanted in ("", part.name)] if item in ITEMS else []
        if not parts:
            choices = ITEMS[item].parts if item in ITEMS else ITEMS.values()
            one_of = ", ".join(f"{item}/{part.name}" if item in ITEMS else part.name for part in choices)
            raise InputError(f"What to fetch should be one of {one_of}. Received: {name!r}")
        found += [(ITEMS[item], part) for part in parts]
    return list(dict.fromkeys(found))
