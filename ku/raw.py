"""RAW pictures of cameras, as a picture of Pillow's that LibRaw reads (rawpy): their full-size preview, or developed.

Never one of the thumbnails that lie beside in the file.
"""

from __future__ import annotations

from io import BytesIO
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

ENDINGS = (
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .fff .gpr .iiq .k25 .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .raw "
    ".rw2 .rwl .sr2 .srf .srw .x3f"
)
SIGNS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM")
NEARLY = 0.95  # of the sides: a preview may lack a few of the sensor's columns
TURNED = {3: 3, 5: 8, 6: 6}  # LibRaw's flip as EXIF's orientation


class RawFile(ImageFile.ImageFile):
    """A RAW picture, of which no more than the header was read; upright once it is loaded, and in sRGB if developed.

    note: which pixels these are.
    """

    format = "RAW"
    format_description = "RAW of a camera"
    note = ""

    def _open(self) -> None:
        import rawpy  # optional: only those who have RAW pictures need it

        try:
            self._raw = rawpy.imread(self.fp)
            sizes = self._raw.sizes
            self._preview = self._found(rawpy, (sizes.width, sizes.height))
        except rawpy.LibRawError as error:
            raise OSError(f"LibRaw cannot read this RAW picture: {_said(error)}") from error
        self.orientation = 1  # as of EXIF; LibRaw turns what it develops itself
        if self._preview:
            own = self._preview.getexif().get(0x0112, 1)
            self.orientation = own if own in range(2, 9) else TURNED.get(sizes.flip, 1)
            self.info = {key: self._preview.info[key] for key in ("icc_profile",) if key in self._preview.info}
        self._size = self._preview.size if self._preview else (sizes.width, sizes.height)
        self._mode = self._preview.mode if self._preview else "RGB"
        self._half = False
        self.note = f"RAW: its {'full-size preview' if self._preview else 'developed pixels'}"

    def _found(self, rawpy: object, size: tuple[int, int]) -> JpegImageFile | None:
        """The preview of full size; None if there is none, or only smaller ones."""
        try:
            thumb = self._raw.extract_thumb()
        except rawpy.LibRawError:
            return None
        if thumb.format != rawpy.ThumbFormat.JPEG:
            return None
        try:
            preview = JpegImageFile(BytesIO(thumb.data))
        except (SyntaxError, OSError, ValueError):
            return None
        sides = zip(sorted(preview.size), sorted(size), strict=True)
        return preview if all(there >= NEARLY * full for there, full in sides) else None

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> None:
        """See Pillow's JPEGs: at least `size`, by DCT scaling of the preview, or by half of the sensor's places."""
        if self._preview:
            self._preview.draft(mode, size)
            self._size = self._preview.size
        elif min(self.size[0] // size[0], self.size[1] // size[1]) >= 2:
            self._half = True

    def load(self) -> Image.core.PixelAccess | None:
        if self._raw:
            picture = self._preview or self._developed()
            picture.load()
            self.im, self._mode, self._size, self.tile = picture.im, picture.mode, picture.size, []
            self._raw.close()
            self._raw = self._preview = None
        return Image.Image.load(self)

    def _developed(self) -> Image.Image:
        import rawpy

        try:
            pixels = self._raw.postprocess(use_camera_wb=True, output_bps=8, half_size=self._half)
        except rawpy.LibRawError as error:
            raise OSError(f"LibRaw cannot develop this RAW picture: {_said(error)}") from error
        return Image.fromarray(np.ascontiguousarray(pixels))


def _said(error: Exception) -> str:
    text = error.args[0] if error.args else error
    return text.decode() if isinstance(text, bytes) else str(text)


def is_raw(head: bytes, ending: str, file: BinaryIO) -> bool:
    """Whether an open file is a RAW picture: by its first bytes, or as a TIFF by its ending or what is in it."""
    if head.startswith(SIGNS) or head[4:12] == b"ftypcrx ":
        return True
    if head[:4] not in (b"II*\0", b"MM\0*"):
        return False
    return ending in ENDINGS.split() or head[8:10] == b"CR" or _is_raw_tiff(file)


def _is_raw_tiff(file: BinaryIO) -> bool:
    """Whether a TIFF is a DNG, or the colours of its first page are a sensor's, or more pages lie below its first.

    So it is with the first page of a camera, which is the thumbnail.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        file.seek(0)
        tags = ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        tags.load(file)
        dng, below, reduced, sensor = 50706, 330, tags.get(254, 0) & 1, tags.get(262) in (32803, 34892)
        return dng in tags or sensor or bool(reduced and below in tags and tags.get(271))
    except Exception:  # Pillow raises anything on a broken file, and says so when it opens it
        return False
