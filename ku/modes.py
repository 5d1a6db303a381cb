"""What a picture shows: any mode of Pillow, and any array of grey levels, as 8-bit grey or RGB."""

from __future__ import annotations

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT

_ORIENTED = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")  # what may hold an orientation
_RANGES = ((340, 341), (280, 281))  # tags of a TIFF: SMinSampleValue, SMaxSampleValue; MinSampleValue, MaxSampleValue
_SIGNED = 2  # of its SampleFormat
_SOUND = ("L", "LA", "RGB", "RGBA")  # what Pillow filters as it should, alpha included


def as_uint8(x: np.ndarray) -> np.ndarray:
    """Values of 0..255 rounded and clipped to uint8, nan as 0; booleans as 0 and 255; uint8 is returned as it is."""
    x = np.asarray(x)
    if x.dtype == bool:
        return x * np.uint8(255)
    return x if x.dtype == np.uint8 else np.clip(np.rint(np.nan_to_num(x, nan=0)), 0, 255).astype(np.uint8)


def upright(image: Image.Image, *, in_place: bool = False) -> Image.Image:
    """The picture turned as its EXIF orientation says: itself where it stands so already, or is turned in place."""
    name = getattr(image, "filename", "")
    if name and image.format == "TIFF":
        image.filename = ""  # else Pillow 13 maps the file into memory with height and width exchanged
    image.load()  # of a TIFF this turns the picture, and takes its orientation away
    if name:
        image.filename = name
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken EXIF says nothing; a copy of a JPEG raises on what the JPEG itself passed over
        return image
    if orientation == 1:
        return image
    turned = ImageOps.exif_transpose(image, in_place=in_place)
    return image if in_place else turned


def as_rgb(image: Image.Image) -> Image.Image:
    """A new picture in RGB, 8 bits a channel: what a viewer shows of a picture of any mode.

    The EXIF orientation is applied; transparent parts go over white; integer grey is divided by 257 (12-bit TIFF: by
    16.06), and inverted where a TIFF says that 0 is white; float grey is taken as 0..1, or as 0..255 where it goes
    above 1. Profiles are not applied, EXIF and XMP not kept.
    """
    image = upright(image)
    if is_deep(image):  # Pillow's own conversion would clip at 255
        image = _grey(image)
    if is_clear(image):
        return over_white(image)
    rgb = image.convert("RGB")
    for name in _ORIENTED:
        rgb.info.pop(name, None)  # lest a later step turns it again
    if image.mode not in ("P", "RGB", "RGBX"):
        rgb.info.pop("icc_profile", None)  # of CMYK or grey: in a file of RGB it would be wrong
    return rgb


def as_image(x: np.ndarray | Image.Image) -> Image.Image:
    """A Pillow image of 8 bits a channel: L, LA, RGB or RGBA.

    x: an array of 0..255, H x W or H x W x 1 to 4, or a Pillow image, returned as it is if it is one of these, upright
    and without a colour that means transparent; all else becomes RGB, see `as_rgb`.
    """
    if isinstance(x, Image.Image):
        return x if x.mode in _SOUND and "transparency" not in x.info and upright(x) is x else as_rgb(x)
    x = as_uint8(x)
    if not x.size or not (x.ndim == 2 or (x.ndim == 3 and x.shape[2] <= 4)):
        raise ValueError(f"x should be a picture, H x W or H x W x 1 to 4. Received: an array of shape {x.shape}")
    return Image.fromarray(x[..., 0] if x.ndim == 3 and x.shape[2] == 1 else x)


def opaque(x: np.ndarray | Image.Image) -> Image.Image:
    """`as_image` without alpha, which goes over white: L or RGB, which every format of files holds."""
    image = as_image(x)
    return image if image.mode in ("L", "RGB") else as_rgb(image)


def is_deep(image: Image.Image) -> bool:
    """Whether a picture is grey of more than 8 bits: integers, or floats."""
    return image.mode == "F" or image.mode.startswith("I")


def is_clear(image: Image.Image) -> bool:
    """Whether parts of a picture are transparent, or may be."""
    return image.has_transparency_data or image.mode in ("La", "RGBa")


def over_white(image: Image.Image) -> Image.Image:
    """A picture in RGB over white, some rows at a time: of a huge one, another copy would not fit."""
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    image = _with_key_of_8_bits(image)
    rgb = Image.new("RGB", image.size, "white")
    rows = max((1 << 20) // max(image.width, 1), 1)
    for top in range(0, image.height, rows):
        layer = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        rgb.paste(layer, (0, top), mask=layer)
    return rgb


def _with_key_of_8_bits(image: Image.Image) -> Image.Image:
    """Of a PNG of 16 bits a channel Pillow keeps the upper 8, but all 16 of the colour that means transparent."""
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in key)
    return image


def grey_of_range(image: Image.Image) -> Image.Image:
    """8-bit grey of integers or floats, scaled by the range of their type, or by that which a TIFF's tags tell.

    Of floats that is 0..1, of integers 0 to the largest of their bits, of signed ones to the largest positive one.
    White where they are the value that means transparent.
    """
    tags = getattr(image, "tag_v2", {})
    bits = min((32 if image.mode == "I" and tags else 16, *tags.get(BITSPERSAMPLE, ())))
    black, white = 0.0, 1.0 if image.mode == "F" else 2.0**bits - 1
    kind = tags.get(SAMPLEFORMAT, (1,))[0]
    if kind == _SIGNED:
        white = 2.0 ** (bits - 1) - 1
    for lowest, highest in _RANGES:
        low, high = (_number(tags.get(tag)) for tag in (lowest, highest))
        if high is not None and high > (low or 0):
            black, white = low or 0.0, high
            break
    levels = np.asarray(image)
    if image.mode == "I" and bits == 32 and kind != _SIGNED:
        levels = levels.view(np.uint32)  # Pillow has them as signed
    return _scaled(image, np.nan_to_num(levels.astype(np.float32)), black, white)


def _number(value: object) -> float | None:
    """The number of a tag, or the first of several; None if it is none, or not finite."""
    value = value[0] if isinstance(value, tuple) and value else value
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None


def _grey(image: Image.Image) -> Image.Image:
    """8-bit grey of integers or floats as `as_rgb` has it, white where they are the value that means transparent."""
    levels = np.nan_to_num(np.asarray(image, dtype=np.float32))
    white = 2 ** min((16, *getattr(image, "tag_v2", {}).get(BITSPERSAMPLE, ()))) - 1
    if image.mode == "F":
        white = 1 if levels.max() <= 1 else 255
    return _scaled(image, levels, 0, white)


def _scaled(image: Image.Image, levels: np.ndarray, black: float, white: float) -> Image.Image:
    """Grey levels from `black` to `white` as 8 bits, the other way round where a TIFF says that 0 is white."""
    key = image.info.get("transparency")
    clear = None if key is None else levels == key
    if getattr(image, "tag_v2", {}).get(PHOTOMETRIC_INTERPRETATION) == 0:
        levels = white + black - levels
    grey = as_uint8((levels - np.float32(black)) * np.float32(255 / (white - black)))
    if clear is not None:
        grey[clear] = 255
    return Image.fromarray(grey)
