"""Colours as a screen in sRGB shows them: the profile of a picture, and its conversion by LittleCMS."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms

Point = tuple[float, float]  # a chromaticity, CIE 1931 xy
D65: Point = (0.3127, 0.3290)
SRGB: tuple[Point, Point, Point] = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))  # red, green, blue: IEC 61966-2-1
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))  # SMPTE EG 432-1
BT2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))  # ITU-R BT.2020
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))  # Adobe RGB (1998), whose gamma is 563/256
ADOBE_GAMMA = 563 / 256
D50_XYZ = (0.9642, 1.0, 0.8249)  # what profiles are relative to: ICC.1, 7.2.16
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])  # ICC.1, E
# IEC 61966-2-1 as a curve of type 3 (ICC.1, 10.18): ((x + .055) / 1.055) ** 2.4 from .04045 on, below it x / 12.92
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
# What the codes of ITU-T H.273 stand for that a PNG's cICP may have; 1 is sRGB's.
CICP_PRIMARIES = {1: SRGB, 9: BT2020, 12: DISPLAY_P3}
CICP_CURVES = {13: SRGB_CURVE, 8: (1.0,), 4: (2.2,), 5: (2.8,)}  # and BT.709's, shown as sRGB's, see `of_cicp`
BT709_CODES = (1, 6, 14, 15)

SAME = 2  # grey levels: a profile that moves no colour by more is sRGB, as somebody else rounded it


class Conversion(NamedTuple):
    """How a picture becomes sRGB."""

    transform: ImageCms.ImageCmsTransform
    early: bool  # whether before it is resized, for its tones average to others than sRGB's

    def __call__(self, picture: Image.Image) -> Image.Image:
        return ImageCms.applyTransform(picture, self.transform)


class NoProfile(ValueError):
    """A profile that says nothing of the picture: broken, or of another kind of colours."""


def profile_of(image: Image.Image) -> bytes | None:
    """The ICC profile of an open picture; of a PNG without one, of its cICP, or its gAMA and cHRM; else None.

    A JPEG without one whose EXIF says that it is in Adobe RGB, as cameras do (DCF 2.0, R03), has that one.
    """
    if image.info.get("icc_profile"):
        return image.info["icc_profile"]
    if "cicp" in image.info:
        return of_cicp(*image.info["cicp"][:2])
    if "srgb" not in image.info and ("gamma" in image.info or "chromaticity" in image.info):
        return _of_png(image.info.get("gamma"), image.info.get("chromaticity"))
    return matrix_profile(ADOBE_RGB, (ADOBE_GAMMA,)) if image.format == "JPEG" and _says_adobe(image) else None


def of_cicp(primaries: int, transfer: int) -> bytes | None:
    """The profile that two codes of ITU-T H.273 stand for; None for sRGB. Raises NoProfile if it is none of ours."""
    curve = SRGB_CURVE if transfer in BT709_CODES else CICP_CURVES.get(transfer)
    if primaries not in CICP_PRIMARIES or curve is None:
        raise NoProfile(f"of colours that are not converted (cICP {primaries}, {transfer}), and shown as sRGB")
    return None if (primaries, curve) == (1, SRGB_CURVE) else matrix_profile(CICP_PRIMARIES[primaries], curve)


def _of_png(gamma: float | None, chromaticity: Sequence[float] | None) -> bytes | None:
    """The profile of a PNG's gAMA and cHRM; None where they are sRGB's, or mean nothing."""
    points = chromaticity or (*D65, *(value for point in SRGB for value in point))
    white, *primaries = zip(points[::2], points[1::2], strict=True)
    is_srgb = np.allclose(points, (*D65, *np.ravel(SRGB)), atol=0.003)
    if is_srgb and (gamma is None or abs(gamma - 1 / 2.2) < 0.01):  # 1 / 2.2 is what PNGs say that mean sRGB
        return None
    if gamma is not None and not 0.1 < gamma < 10:
        raise NoProfile(f"a gamma that nothing has, {gamma:g}, is not applied")
    return matrix_profile(primaries, (1 / gamma,) if gamma else SRGB_CURVE, white)


def _says_adobe(image: Image.Image) -> bool:
    try:
        exif = image.getexif()
        if ExifTags.IFD.Exif not in exif:
            return False
        more = exif.get_ifd(ExifTags.IFD.Exif)
        if more.get(ExifTags.Base.ColorSpace) == 2:
            return True
        return ExifTags.IFD.Interop in more and str(exif.get_ifd(ExifTags.IFD.Interop).get(1, "")).startswith("R03")
    except Exception:  # broken EXIF says nothing
        return False


def matrix_profile(primaries: Sequence[Point], curve: Sequence[float], white: Point = D65) -> bytes:
    """An ICC profile (version 4) of three primaries, red, green and blue, and one curve.

    curve: a gamma, or the five parameters of a curve of type 3 (ICC.1, 10.18). Raises NoProfile if the primaries span
    no colours.
    """
    if min(y for _, y in (*primaries, white)) <= 0:
        raise NoProfile("chromaticities that span no colours are not applied")
    mixed = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in primaries]).T
    white_xyz = np.array([white[0] / white[1], 1.0, (1 - sum(white)) / white[1]])
    if abs(np.linalg.det(mixed)) < 1e-6:
        raise NoProfile("chromaticities that span no colours are not applied")
    columns = mixed * np.linalg.solve(mixed, white_xyz)
    adapted = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50_XYZ) / (BRADFORD @ white_xyz)) @ BRADFORD
    text = "koniq".encode("utf-16-be")
    words = b"mluc" + struct.pack(">5I", 0, 1, 12, 0x656E5553, len(text)) + struct.pack(">I", 28) + text
    tone = b"para" + struct.pack(">IHH", 0, 0 if len(curve) == 1 else 3, 0) + b"".join(map(_fixed, curve))
    chad = b"sf32" + bytes(4) + b"".join(map(_fixed, adapted.ravel()))
    colorants = (b"XYZ " + bytes(4) + b"".join(map(_fixed, column)) for column in (adapted @ columns).T)
    tags = {b"desc": words, b"cprt": words, b"wtpt": b"XYZ " + bytes(4) + b"".join(map(_fixed, D50_XYZ)), b"chad": chad}
    tags |= dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True))
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), tone)
    at, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, value in tags.items():
        table += name + struct.pack(">II", at + len(data), len(value))
        data += value + bytes(-len(value) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12s4s", at + len(data), bytes(4), 0x04200000, b"mntr", b"RGB ", b"XYZ ", bytes(12), b"acsp"
    )
    head += bytes(28) + b"".join(map(_fixed, D50_XYZ))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def _fixed(value: float) -> bytes:
    """A s15Fixed16Number: ICC.1, 4.6."""
    return struct.pack(">i", round(value * 65536))


@lru_cache(64)
def conversion(profile: bytes, mode: str) -> Conversion | None:
    """From the colours of a profile, of a picture in `mode` (RGB, L, CMYK or LAB), to sRGB; None where they are sRGB.

    Relative colorimetric, with black point compensation. Raises NoProfile if the profile is broken, or not of `mode`.
    """
    spaces = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}
    try:
        read = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = read.profile.xcolor_space.strip()
        if space != spaces[mode]:
            raise NoProfile(f"its profile, of {space}, is not for {mode}, and is not applied")
        transform = ImageCms.buildTransform(
            read,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, TypeError) as error:
        raise NoProfile("its profile is broken, and is not applied") from error
    if mode not in ("RGB", "L"):
        return Conversion(transform, early=True)
    ramp = np.arange(256, dtype=np.uint8)[None]
    if mode == "L":
        return Conversion(transform, early=True) if _moved(ramp, transform) > SAME else None
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    tones = _moved(np.repeat(ramp[..., None], 3, -1), transform)
    colours = _moved(np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3), transform)
    return Conversion(transform, early=tones > SAME) if max(tones, colours) > SAME else None


def _moved(colours: np.ndarray, transform: ImageCms.ImageCmsTransform) -> int:
    """The largest change of a channel, grey levels."""
    after = np.asarray(ImageCms.applyTransform(Image.fromarray(colours), transform), dtype=int)
    return int(np.abs(after - (colours[..., None] if colours.ndim == 2 else colours)).max())


def lab_profile() -> bytes:
    """The profile of a picture in LAB, which needs none of its own."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
