"""Images as a person sees them: upright, on white paper, in eight bits of grey or of red, green and blue."""

from __future__ import annotations

import io

import numpy as np
from PIL import ExifTags, Image, ImageCms

from autogate.errors import DataError

_WHITE_8BIT = 255
_WHITE_16BIT = 65_535
# Files of these formats keep grey of 16 bits; Pillow hands it out in a mode for 32 bits.
_SIXTEEN_BIT_FORMATS = ("PNG", "PPM")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """Return an image turned as its EXIF data say; one without them is returned as it is."""
    turn = _TURNS.get(_orientation(image))
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.format = image.format
    return turned


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height that :func:`upright` would give an image, in pixels."""
    width, height = image.size
    if image.format == "TIFF":  # Pillow itself turns these
        return width, height
    return (height, width) if _orientation(image) >= 5 else (width, height)


def as_seen(image: Image.Image) -> Image.Image:
    """Return an image of any mode in ``L`` if it is grey, else in ``RGB``; one of these is returned as it is.

    What is transparent shows white. Inks are mixed as the file's colour profile says, if it has one. Grey of 16
    bits, and numbers from 0 to 1, are scaled.

    Raises:
        DataError: If the image holds numbers of which it does not say how bright they are; begins with a verb.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled(image)
    if image.has_transparency_data:
        return _on_white(image)
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "CMYK":
        return _mixed(image)
    return image.convert("L" if image.mode == "1" else "RGB")


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # PIL raises many types for damaged EXIF data, which viewers ignore
        return 1
    return orientation if orientation in _TURNS else 1


def _scaled(image: Image.Image) -> Image.Image:
    """Return grey of more than eight bits in mode ``L``."""
    numbers = np.asarray(image)
    low, high = numbers.min(), numbers.max()
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SIXTEEN_BIT_FORMATS):
        grey = numbers.astype(np.float32) * (_WHITE_8BIT / _WHITE_16BIT)
    elif image.mode == "F" and low >= 0 and high <= 1:
        grey = numbers * _WHITE_8BIT
    else:
        kind = "32-bit floats" if image.mode == "F" else "32-bit integers"
        raise DataError(
            f"holds {kind} from {low:.6g} to {high:.6g}, which do not say what white is; save it with 8 or 16 bits, "
            "or as floats from 0 to 1"
        )
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey = np.where(numbers == clear, _WHITE_8BIT, grey)
    return Image.fromarray(grey.round().astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # has no direct way
        image = image.convert("LA")
    try:
        layer = image.convert("RGBA")
    except (TypeError, ValueError):  # a clear colour that means nothing in this mode
        opaque = image.copy()
        opaque.info.pop("transparency", None)
        return as_seen(opaque)
    paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, layer).convert("RGB")


def _mixed(image: Image.Image) -> Image.Image:
    """Return an image of four inks in ``RGB``."""
    if profile := image.info.get("icc_profile"):
        try:
            inks = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            mixed = ImageCms.profileToProfile(image, inks, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):  # a damaged profile, or one for other colours
            mixed = None
        if mixed is not None:
            return mixed
    return image.convert("RGB")
