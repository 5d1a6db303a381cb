"""Files of photographs opened, no more than their headers read: which formats these are, told by what is in a file.

Pillow's other formats never see a file: some of its plug-ins hand it to another program, or read it in name alone.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import BinaryIO

from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from ku import damage, raw

Source = str | PathLike | bytes | bytearray | memoryview | BinaryIO
# Of Pillow, by what it calls them, and the endings that they have. Those without a sign of their own come last.
PILLOW = {
    "JPEG": ".jpg .jpeg .jpe .jfif .mpo",
    "PNG": ".png .apng",
    "TIFF": ".tif .tiff",
    "WEBP": ".webp",
    "AVIF": ".avif .avifs",
    "JPEG2000": ".jp2 .j2k .jpf .jpx .jpc .j2c",
    "GIF": ".gif",
    "BMP": ".bmp",
    "DIB": ".dib",
    "PPM": ".ppm .pgm .pbm .pnm .pfm",
    "PSD": ".psd",
    "QOI": ".qoi",
    "SGI": ".sgi .rgb .rgba .bw",
    "PCX": ".pcx",
    "ICO": ".ico",
    "TGA": ".tga .icb .vda .vst",
}
OTHERS = {"HEIF": ".heic .heif .hif .heics .heifs", "JXL": ".jxl", "RAW": raw.ENDINGS}
ENDINGS = frozenset(" ".join((PILLOW | OTHERS).values()).split())
PACKAGES = {"HEIF": "pillow_heif", "JXL": "pillow_jxl", "RAW": "rawpy"}  # without which these do not open
UNKNOWN = "not a picture in a format of photographs"
HEAD = 64  # bytes, by which a format is told
REDUCED, ORIENTATION = 254, 274  # tags of a TIFF: NewSubfileType, whose lowest bit that is; Orientation
# Of files in ISO's base format (ISO/IEC 14496-12), by their brands.
AVIF_BRANDS, HEIF_BRANDS = {b"avif", b"avis"}, {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}


class TiffFile(TiffImageFile):
    """A TIFF that is not turned when it is loaded, for which Pillow reads all of its EXIF, and stops at what is odd."""

    def load_prepare(self) -> None:
        if self._im is None:  # Pillow would check its size against a limit of its own
            self.im = Image.core.new(self.mode, self._tile_size)
        ImageFile.ImageFile.load_prepare(self)

    def load_end(self) -> None:
        self._size = self.im.size


@contextmanager
def opened(source: Source, mends: bool = True) -> Iterator[Image.Image]:
    """An open picture, of which no more than the header was read: its first frame, or the first that is no thumbnail.

    mends: what is odd in a file beside its pixels is passed over, and of a RAW picture, and of a TIFF that begins with
    one, its thumbnail is not taken for it; else as Pillow has it. The picture's `stream` is the open file, its
    `full_size` (width, height) as the file has it, not turned. Raises UnidentifiedImageError if it is none of these
    formats, ModuleNotFoundError, by its `name` one of PACKAGES, if that is what opens it, and whatever Pillow does.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        source = io.BytesIO(source)
    own = isinstance(source, str | PathLike)
    file = open(source, "rb") if own else source  # noqa: PTH123, SIM115  Path is slow; closed below
    try:
        if not own:
            file = _from_its_start(file)
        image = _image(file, mends)
        image.stream, image.full_size = file, _stored(image)
        try:
            yield image
        finally:
            if file is not source or own:
                image.close()
    finally:
        if own:
            file.close()


def is_picture(path: str | PathLike) -> bool:
    """Whether a file, whatever its name ends in, is a picture by its header. Raises OSError if it cannot be read."""
    with open(path, "rb") as file:  # noqa: PTH123  Path is slow, and this is for every file of a life
        kind = _format(file.read(HEAD), file, "", mends=True)
        if kind in ("", "TGA"):  # a TGA has no sign, and much would pass for one
            return False
        try:
            return kind in PACKAGES or bool(_image(file, mends=True))
        except OSError as error:
            if error.errno is not None:
                raise
            return False
        except Exception:  # plug-ins raise anything
            return False


def _stored(image: Image.Image) -> tuple[int, int]:
    return image._tile_size if isinstance(image, TiffFile) else image.size  # which Pillow tells as it will stand


def _from_its_start(file: BinaryIO) -> BinaryIO:
    try:
        file.seek(0)
    except (AttributeError, io.UnsupportedOperation):
        return io.BytesIO(file.read())
    return file


def _image(file: BinaryIO, mends: bool) -> Image.Image:
    head = _again(file).read(HEAD)
    name = getattr(file, "name", "")
    ending = os.path.splitext(name)[1].lower() if isinstance(name, str) else ""  # noqa: PTH122
    kind = _format(head, file, ending, mends)
    if not kind:
        raise UnidentifiedImageError(UNKNOWN)
    try:
        image = _factory(kind, mends)(_again(file))
        if kind == "TIFF" and mends:
            return _first_whole_page(image, file)
    except ValueError:
        if kind != "PNG" or not mends:
            raise
        return mended_png(file)
    except (SyntaxError, IndexError, TypeError, struct.error) as error:  # as Pillow's own `open` has it
        raise UnidentifiedImageError(UNKNOWN if kind == "TGA" else f"a broken header of {kind}: {error}") from error
    if kind == "PNG" and mends and (codes := damage.cicp_of(_begun(file))):
        image.info["cicp"] = codes
    return image


def _again(file: BinaryIO) -> BinaryIO:
    file.seek(0)
    return file


def _begun(file: BinaryIO, size: int = 4096) -> bytes:
    """The first bytes of a file, which stands afterwards where it stood."""
    here = file.tell()
    data = _again(file).read(size)
    file.seek(here)
    return data


def _format(head: bytes, file: BinaryIO, ending: str, mends: bool) -> str:
    """What an open file is by its first bytes; "" if it is none of these."""
    head = head.ljust(HEAD, b"\0")  # of a short file, which some of Pillow's stumble over
    if mends and raw.is_raw(head, ending, file):
        return "RAW"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return "JXL"
    if head[4:8] == b"ftyp":
        brands = {head[at : at + 4] for at in (8, *range(16, min(int.from_bytes(head[:4]), HEAD), 4))}
        if brands & AVIF_BRANDS:
            return "AVIF"
        if brands & HEIF_BRANDS:
            return "HEIF"
    Image.init()
    for kind in PILLOW:
        _, accept = Image.OPEN[kind]
        if kind != "AVIF" and (not accept or accept(head) is True):
            return kind
    return ""


def _factory(kind: str, mends: bool) -> Callable[[BinaryIO], Image.Image]:
    """What opens a picture of a format. Its package is imported for it, and not registered with Pillow."""
    if kind == "JPEG":
        return JpegImageFile  # Pillow's own would read on for the other pictures of an MPO
    if kind == "TIFF" and mends:
        return TiffFile
    if kind == "RAW":
        return raw.RawFile
    if kind == "HEIF":
        from pillow_heif.as_plugin import HeifImageFile

        return HeifImageFile
    if kind == "JXL":
        from pillow_jxl.JpegXLImagePlugin import JXLImageFile

        return JXLImageFile
    Image.init()  # an AVIF is told by its brand, before Pillow has been asked for anything
    return lambda file: Image.OPEN[kind][0](file, "")


def _first_whole_page(image: TiffFile, file: BinaryIO) -> Image.Image:
    """The first page that does not call itself a reduced image. What has none is a camera's, which LibRaw may read."""
    page = 0
    while image.tag_v2.get(REDUCED, 0) & 1:
        page += 1
        try:
            image.seek(page)
        except EOFError:
            return raw.RawFile(_again(file))
    return image


def mended_png(file: BinaryIO) -> Image.Image:
    """A PNG of what its pixels need, of a file in which something else is odd: text beyond Pillow's limits, perhaps.

    Raises as Pillow does where the pixels are at fault.
    """
    data = _again(file).read()
    mended, profile = damage.mended_png(data)
    image = Image.OPEN["PNG"][0](mended, "")
    if profile:
        image.info["icc_profile"] = profile
    if codes := damage.cicp_of(mended.getvalue()):
        image.info["cicp"] = codes
    return image
