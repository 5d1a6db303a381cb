"""Files of photographs as cameras, phones and accidents make them, written by the tests themselves."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from ku.colour import ADOBE_GAMMA, ADOBE_RGB, DISPLAY_P3, SRGB, SRGB_CURVE, matrix_profile

PROPHOTO = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))  # ROMM RGB, ISO 22028-2, of D50
D50 = (0.3457, 0.3585)
PROFILES: Mapping[str, bytes] = {
    "sRGB": matrix_profile(SRGB, SRGB_CURVE),
    "Display P3": matrix_profile(DISPLAY_P3, SRGB_CURVE),
    "Adobe RGB": matrix_profile(ADOBE_RGB, (ADOBE_GAMMA,)),
    "ProPhoto": matrix_profile(PROPHOTO, (1.8,), D50),
}


def photograph(size: tuple[int, int] = (96, 128), seed: int = 1) -> Image.Image:
    """Smooth colours with some grain, (height, width): what a JPEG keeps nearly as it is."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(30, 226, (6, 8, 3), np.uint8)).resize(size[::-1], Image.Resampling.BICUBIC)
    grain = rng.normal(0, 4, (*size, 3))
    return Image.fromarray(np.clip(np.asarray(small) + grain, 0, 255).astype(np.uint8))


def in_space(picture: Image.Image, profile: bytes) -> Image.Image:
    """The same colours in another space of RGB."""
    srgb, other = ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(profile))
    relative = ImageCms.Intent.RELATIVE_COLORIMETRIC
    found = ImageCms.applyTransform(picture, ImageCms.buildTransform(srgb, other, "RGB", "RGB", relative))
    return Image.fromarray(np.asarray(found))  # by itself it would be saved with the profile


def encoded(picture: Image.Image, kind: str = "JPEG", **how: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **how)
    return buffer.getvalue()


def table_profile() -> bytes:
    """A profile of RGB by tables, which swaps red and blue: no matrix could say so."""
    return _tables(b"RGB ", 3, 9, lambda places: places[:, ::-1])


def cmyk_profile() -> bytes:
    """A profile of CMYK, by tables as they all are, whose cyan is yellow and whose yellow cyan."""
    return _tables(b"CMYK", 4, 5, lambda places: (255 - places[:, 2::-1].astype(int)) * (255 - places[:, 3:]) // 255)


def _tables(space: bytes, channels: int, points: int, rgb: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """A profile whose colours are a function of its channels, given at so many points of each (ICC.1, 10.10)."""
    steps = [np.linspace(0, 255, points)] * channels
    grid = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, channels).round().astype(np.uint8)
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB", 5000), "RGB", "LAB")
    seen = ImageCms.applyTransform(Image.fromarray(np.uint8(rgb(grid))[None]), to_lab)
    values = np.asarray(seen)[0] ^ np.uint8((0, 128, 128))  # Pillow has a and b as signed
    matrix = struct.pack(">9i", *(65536 if row == column else 0 for row in range(3) for column in range(3)))
    as_it_is = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes((channels, 3, points, 0)) + matrix + as_it_is * channels
    lut += values.tobytes() + as_it_is * 3
    return _profile({b"A2B0": lut}, space, b"Lab ")


def grey_profile(gamma: float = 1.0) -> bytes:
    """A profile of grey, linear by default (ICC.1, 8.3.4.3: a curve and the white)."""
    return _profile(
        {b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)}, b"GRAY", b"XYZ "
    )


def _profile(tags: Mapping[bytes, bytes], space: bytes, connected: bytes) -> bytes:
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"wtpt": white, **tags}
    at, listed, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, value in tags.items():
        listed += name + struct.pack(">II", at + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s", at + len(data), bytes(4), 0x02400000, b"mntr", space, connected)
    head = (head + bytes(12) + b"acsp" + bytes(28) + white[8:]).ljust(128, b"\0")
    return head + struct.pack(">I", len(tags)) + listed + data


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunks(png: bytes, *chunks: bytes, before: bytes = b"IDAT") -> bytes:
    """A PNG with chunks more."""
    at = png.index(before) - 4
    return png[:at] + b"".join(chunks) + png[at:]


def tiff(pages: Sequence[Mapping[int, tuple[str, object]]], chained: bool = False, order: str = "<") -> bytes:
    """A TIFF of directories: tags as (type, value), type one of B H I (s)ascii R (signed rational), value(s) or bytes.

    The first is the first page; those after it lie below it (SubIFDs), or, if `chained`, follow it. The pixels of one
    are the bytes of tag 273.
    """
    kinds = {"B": 1, "s": 2, "H": 3, "I": 4, "R": 10}
    data = bytearray((b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 0))

    def put(value: bytes) -> int:
        data.extend(bytes(len(data) % 2))
        data.extend(value)
        return len(data) - len(value)

    def directory(tags: Mapping[int, tuple[str, object]]) -> tuple[bytes, int]:
        entries = []
        for tag, (kind, value) in sorted(tags.items()):
            if tag == 273:
                value = [put(value)]
            values = value if isinstance(value, bytes | list | tuple) else [value]
            if kind == "s":
                values = value.encode() + b"\0"
            if kind == "R":
                packed = b"".join(struct.pack(f"{order}ii", round(one * 10000), 10000) for one in values)
            elif isinstance(values, bytes):
                packed = values
            else:
                packed = struct.pack(f"{order}{len(values)}{kind}", *values)
            count = len(values)
            if len(packed) > 4:
                packed = struct.pack(f"{order}I", put(packed))
            entries.append(struct.pack(f"{order}HHI", tag, kinds[kind], count) + packed.ljust(4, b"\0"))
        return struct.pack(f"{order}H", len(entries)) + b"".join(entries), len(entries)

    offsets = []
    for tags in reversed(pages[1:]):
        body, _ = directory(tags)
        following = offsets[0] if chained and offsets else 0
        offsets.insert(0, put(body + struct.pack(f"{order}I", following)))
    first = dict(pages[0])
    if offsets and not chained:
        first[330] = ("I", offsets)
    body, _ = directory(first)
    at = put(body + struct.pack(f"{order}I", offsets[0] if chained and offsets else 0))
    data[4:8] = struct.pack(f"{order}I", at)
    return bytes(data)


def page(picture: Image.Image, **more: tuple[str, object]) -> dict[int, tuple[str, object]]:
    """An uncompressed page of a TIFF: grey or RGB. more: tags, as t254=("I", 1)."""
    depth = len(picture.getbands())
    tags = {
        256: ("I", picture.width),
        257: ("I", picture.height),
        258: ("H", [8] * depth),
        259: ("H", 1),
        262: ("H", 2 if depth == 3 else 1),
        273: ("I", picture.tobytes()),
        277: ("H", depth),
        278: ("I", picture.height),
        279: ("I", len(picture.tobytes())),
    }
    return tags | {int(name[1:]): value for name, value in more.items()}


def dng(picture: Image.Image, preview: bytes | None = None, orientation: int = 1) -> bytes:
    """A DNG 1.4 of a sensor of Bayer's pattern that saw `picture` (even sides), with a thumbnail of 160x120 before it.

    preview: a JPEG that lies beside it.
    """
    linear = (np.asarray(picture, dtype=np.float64) / 255) ** 2.2
    places = np.zeros(linear.shape[:2])
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        places[row::2, column::2] = linear[row::2, column::2, channel]
    sensor = np.round(places * 16383).astype("<u2").tobytes()
    thumb = picture.resize((160, 120)).rotate(180)  # which nobody could take for the picture
    first = page(
        thumb,
        **{"t254": ("I", 1), "t271": ("s", "Made"), "t272": ("s", "Test"), "t274": ("H", orientation)},
        **{"t50706": ("B", [1, 4, 0, 0]), "t50707": ("B", [1, 1, 0, 0]), "t50708": ("s", "Made Test")},
        # From XYZ to linear sRGB (IEC 61966-2-1): this camera sees what a screen shows.
        t50721=("R", [3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570]),
        **{"t50728": ("R", [1.0, 1.0, 1.0]), "t50778": ("H", 21)},
    )
    raw = {
        **{254: ("I", 0), 256: ("I", picture.width), 257: ("I", picture.height), 258: ("H", 16), 259: ("H", 1)},
        **{262: ("H", 32803), 273: ("I", sensor), 277: ("H", 1), 278: ("I", picture.height), 279: ("I", len(sensor))},
        **{33421: ("H", [2, 2]), 33422: ("B", [0, 1, 1, 2]), 50717: ("I", 16383)},
    }
    pages = [first, raw]
    if preview:
        with Image.open(io.BytesIO(preview)) as shown:
            width, height = shown.size
        pages.append(
            {
                **{254: ("I", 1), 256: ("I", width), 257: ("I", height), 258: ("H", [8, 8, 8]), 259: ("H", 7)},
                **{262: ("H", 6), 273: ("I", preview), 277: ("H", 3), 278: ("I", height), 279: ("I", len(preview))},
            }
        )
    return tiff(pages)


def each_of(folder: Path, files: Mapping[str, bytes | Callable[[], bytes]]) -> dict[str, Path]:
    """The files written into a folder: their paths, by name."""
    paths = {name: folder / name for name in files}
    for name, content in files.items():
        paths[name].write_bytes(content if isinstance(content, bytes) else content())
    return paths
