"""What is known of the official data sets as their authors released them: sizes, oddities, tables and their hashes."""

from dataclasses import dataclass, field

LIVE_TABLES = {"image_name": "AllImages_release", "MOS": "AllMOS_release", "SD": "AllStdDev_release"}
RATER_TRAINING = tuple(f"t{n}.bmp" for n in range(1, 8))  # of LIVE-itW: they trained its raters
BIQ_TABLES = {"training": "Train (Images and MOS).csv", "test": "Test (Images and MOS).csv"}


@dataclass(frozen=True)
class Release:
    """What is known of the pictures of a data set as its authors released them. Sizes are (height, width)."""

    sizes: tuple[tuple[int, int], ...]  # one of these for all pictures of a folder
    odd: dict[str, tuple[int, int]] = field(default_factory=dict)  # but for these
    tables: dict[str, str] = field(default_factory=dict)  # its files, with "md5:..." or "sha256:...", where it is known
    same: tuple[frozenset[str], ...] = ()  # pictures that the release holds under several names
    unrated: tuple[str, ...] = ()  # in its table, but in no reported number
    notice: str = ""  # the file of the release that should go wherever its pictures go


RELEASES = {
    "koniq10k": Release(
        sizes=((384, 512), (768, 1024)),
        tables={"koniq10k_distributions_sets.csv": "md5:df512f2766d03e26ccb4cef9f1806a96"},
    ),
    "live_itw": Release(
        sizes=((500, 500),),
        odd={"1024.JPG": (960, 640), "1113.JPG": (608, 608)},
        tables={f"{key}.mat": "" for key in LIVE_TABLES.values()},
        same=(frozenset({"246.bmp", "333.bmp"}),),
        unrated=RATER_TRAINING,
        notice="README.txt",
    ),
    "biq2021": Release(
        sizes=((512, 512),),
        odd={
            "ss02 (1935).jpg": (503, 502),
            "ss02 (1936).jpg": (505, 502),
            "ss02 (1939).jpg": (471, 468),
            "ss02 (1946).jpg": (357, 357),
            "ss02 (1947).jpg": (361, 360),
            "ss02 (1948).jpg": (357, 359),
            "ss02 (1949).jpg": (251, 249),
            "ss02 (1950).jpg": (356, 356),
            "ss02 (1956).jpg": (355, 355),
            "ss02 (1973).jpg": (343, 342),
            "ss02 (1992).jpg": (419, 417),
        },
        tables={
            BIQ_TABLES["training"]: "sha256:1f0c28a28d78903c9064190af8882e03643c9a240bb05ce4f4a4bbe7950ac87e",
            BIQ_TABLES["test"]: "sha256:2f8579d5e9647015c9d516613dfd91ec651d74a390a5c6a47a7bbb2e189d157d",
        },
    ),
}
