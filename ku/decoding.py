"""A file or its bytes as the RGB picture that a viewer shows, by named rules.

Rules have names so that what was computed by some goes on by the same: "2" is the newest; "1" was before, and did not
convert colours; "plain" is Pillow's own, neither turned nor converted, as `PIL.Image.open(...).convert("RGB")`.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from ku import damage
from ku.colour import Conversion, NoProfile, conversion, lab_profile, profile_of
from ku.modes import as_rgb, grey_of_range, is_clear, is_deep, over_white, upright
from ku.opening import ORIENTATION, Source, TiffFile, mended_png, opened
from ku.raw import RawFile

NEWEST = "2"
RULES = (NEWEST, "1", "plain")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # by which height and width change places


class Truncated(OSError):
    """Part of the pixels is missing."""


@dataclass(frozen=True)
class Decoded:
    """A picture as it was decoded: upright, in RGB, but perhaps not in sRGB yet."""

    picture: Image.Image
    size: tuple[int, int]  # (width, height) in full, before any scaling
    to_srgb: Conversion | None = None  # which may wait until the picture is smaller; None where there is nothing to do
    note: str = ""  # what there is to say of it, and is no error

    def in_srgb(self, picture: Image.Image | None = None) -> Image.Image:
        """The picture, or what was made of it, in sRGB."""
        picture = picture or self.picture
        return self.to_srgb(picture) if self.to_srgb else picture


def decode_image(source: Source, rules: str = NEWEST) -> Image.Image:
    """The RGB picture, 8 bits a channel, in a file (a path or an open one) or in its bytes.

    Of an animation the first frame counts. By the newest rules it stands upright, its colours are converted from its
    profile to sRGB, and its transparent parts go over white. Raises what `decoded` does, and `ku.opening.opened`.
    """
    if rules not in RULES:
        raise ValueError(f"rules should be one of {', '.join(RULES)}. Received: rules={rules!r}")
    with opened(source, mends=rules == NEWEST) as image:
        if Image.MAX_IMAGE_PIXELS and image.width * image.height > 2 * Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombError(
                f"a picture should have at most {2 * Image.MAX_IMAGE_PIXELS:,} pixels (twice Pillow's "
                f"MAX_IMAGE_PIXELS). Received: {image.width} x {image.height}"
            )
        return decoded(image, rules).in_srgb()


def decoded(image: Image.Image, rules: str = NEWEST) -> Decoded:
    """What a picture shows that `ku.opening.opened` opened; it is loaded for it.

    Raises Truncated if part of its pixels is missing, and what Pillow raises on broken ones.
    """
    if rules == "plain":
        return Decoded(_alone(image.convert("RGB")), image.size)
    if rules == "1":
        rgb = as_rgb(upright(image, in_place=True))  # in place: a copy of a huge picture may not fit
        return Decoded(rgb, rgb.size)
    full = getattr(image, "full_size", image.size)
    image = _loaded(image)
    orientation = orientation_of(image)
    if orientation in TURNS:
        _turn(image, TURNS[orientation])
    rgb, to_srgb, odd = _in_rgb(image)
    if to_srgb and to_srgb.early:
        rgb, to_srgb = to_srgb(rgb), None
    notes = filter(None, (getattr(image, "note", ""), odd))
    return Decoded(_alone(rgb), full[::-1] if orientation in SIDEWAYS else full, to_srgb, "; ".join(notes))


def _alone(image: Image.Image) -> Image.Image:
    """A picture by itself: not the file that it came from, which will be closed, and without its EXIF."""
    alone = image._new(image.im)
    alone.info = {}
    return alone


def scale(image: Image.Image, at_least: tuple[int, int]) -> None:
    """Have a picture that was not loaded yet decoded no larger than it must be for (height, width), upright.

    Of a JPEG that is a half, a quarter or an eighth of its sides, by its DCT; of what is developed from RAW a half.
    """
    if isinstance(image, JpegImageFile | RawFile):
        height, width = at_least
        image.draft(None, (height, width) if orientation_of(image) in SIDEWAYS else (width, height))


def orientation_of(image: Image.Image) -> int:
    """How a picture is to be turned, as EXIF says it: 1 to 8, and 1 where nothing legible says so.

    Of a PNG it is asked once it is loaded: its EXIF may stand after its pixels.
    """
    if hasattr(image, "orientation"):
        return image.orientation
    try:
        tags = image.tag_v2 if isinstance(image, TiffFile) else image.getexif()
        value = tags.get(ORIENTATION, 1)
        value = int(value[0] if isinstance(value, tuple) else value)
    except Exception:  # broken EXIF says nothing
        return 1
    return value if 1 <= value <= 8 else 1


def _turn(image: Image.Image, how: Image.Transpose) -> None:
    """Turn a picture in place: nothing of its EXIF is read for it, or written."""
    image.im = image.im.transpose(how)
    image._size = image.im.size


def _loaded(image: Image.Image) -> Image.Image:
    """A picture with its pixels, all of them. See `decoded`."""
    if isinstance(image, JpegImageFile):
        return _loaded_jpeg(image)
    try:
        image.load()
        return image
    except (ValueError, SyntaxError, OSError) as error:
        if image.format != "PNG":
            raise
        try:  # what stands after the pixels may be at fault
            mended = mended_png(image.stream)
            mended.load()
        except Exception:
            raise error from None
        return mended


def _loaded_jpeg(image: JpegImageFile) -> Image.Image:
    """See `_loaded`. libjpeg fills what is missing, and a file that lacks its end marker alone lacks nothing."""
    config, file, progressive = image.decoderconfig, image.stream, "progressive" in image.info
    size, tile, mode = image._size, image.tile, image.mode

    def decoded(data: BytesIO) -> Image.Image:
        other = JpegImageFile(data)
        other.decoderconfig, other._size, other._mode = config, size, mode
        other.tile = [new._replace(extents=old.extents) for new, old in zip(other.tile, tile, strict=True)]
        other.load()
        return other

    try:
        image.load()
    except OSError as error:
        if "truncated" not in str(error):
            raise
        data, least = _all_of(file), 0.0
        data += b"" if damage.last_scan(data)[1] else damage.END
        try:
            image.im, image.tile = decoded(BytesIO(data)).im, []
        except OSError as other:  # it ends before its first pixel
            raise Truncated("the JPEG ends before its pixels begin") from other
    else:
        if not damage.may_lack_its_end(image, progressive):
            return image
        data, least = _all_of(file), damage.LITTLE
    if damage.missing(data, image, decoded) > least:
        raise Truncated("the JPEG ends before its pixels do")
    return image


def _all_of(file: BytesIO) -> bytes:
    file.seek(0)
    return file.read()


def _in_rgb(image: Image.Image) -> tuple[Image.Image, Conversion | None, str]:
    """A picture in RGB, or in what its profile is of; what is to be done to its colours; and what is odd about them."""
    if is_deep(image):
        grey = grey_of_range(image)
        grey.info, grey.format = image.info, image.format
        image = grey
    try:
        profile = lab_profile() if image.mode == "LAB" else profile_of(image)
        if not profile:
            return _flat(image), None, ""
        if _is_of_grey(profile) and image.mode in ("1", "L", "LA", "La"):
            ready = _flat(image).convert("L")
        else:
            ready = image if image.mode in ("CMYK", "LAB") else _flat(image)
        found = conversion(profile, ready.mode)
        return (ready if found else _flat(image)), found, ""
    except NoProfile as error:
        return _flat(image), None, str(error)


def _is_of_grey(profile: bytes) -> bool:
    return profile[16:20] == b"GRAY"  # ICC.1, 7.2.6


def _flat(image: Image.Image) -> Image.Image:
    """A picture in RGB, over white where it is transparent; as it is where it is that."""
    if is_clear(image):
        return over_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")
