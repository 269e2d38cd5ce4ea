from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from autogate.data.as_seen import as_seen, upright, upright_size
from autogate.errors import DataError

RNG = np.random.default_rng(7)


def stored(image: Image.Image, kind: str, **how: Any) -> Image.Image:
    """Return an image as it is read from a file."""
    content = io.BytesIO()
    image.save(content, kind, **how)
    read = Image.open(content)
    read.load()
    return read


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def noise(*shape: int, most: int = 256, dtype: Any = np.uint8) -> np.ndarray:
    return RNG.integers(0, most, shape).astype(dtype)


@pytest.mark.parametrize(("kind", "big_endian"), [("PNG", False), ("TIFF", False), ("TIFF", True), ("PPM", False)])
def test_sixteen_bits_become_eight(kind: str, big_endian: bool) -> None:
    numbers = noise(9, 12, most=65_536, dtype=np.uint16)
    numbers[0, :3] = 0, 32_896, 65_535
    image = Image.fromarray(numbers.astype(">u2") if big_endian else numbers)
    seen = as_seen(stored(image, kind))
    assert seen.mode == "L"
    assert pixels(seen)[0, :3].tolist() == [0, 128, 255]
    np.testing.assert_allclose(pixels(seen), numbers / 257, atol=0.51)


def test_integers_of_png_have_sixteen_bits_whatever_their_mode() -> None:
    image = Image.fromarray(np.array([[0, 32_896, 65_535]], np.int32))
    image.format = "PNG"
    assert pixels(as_seen(image)).tolist() == [[0, 128, 255]]


def test_floats_from_0_to_1_are_scaled() -> None:
    numbers = RNG.random((6, 5)).astype(np.float32)
    seen = as_seen(stored(Image.fromarray(numbers), "TIFF"))
    np.testing.assert_allclose(pixels(seen), numbers * 255, atol=0.51)


@pytest.mark.parametrize("numbers", [[-1.0, 1.0], [0.0, 255.0], [0.0, float("nan")], [0.0, float("inf")], [0, 70_000]])
def test_numbers_without_a_known_white_are_refused(numbers: list[float]) -> None:
    image = Image.fromarray(np.array([numbers], np.int32 if isinstance(numbers[0], int) else np.float32))
    with pytest.raises(DataError, match=r"holds 32-bit (floats|integers) from .* which do not say what white is; save"):
        as_seen(stored(image, "TIFF"))


def test_what_is_clear_shows_white() -> None:
    rgba = noise(8, 8, 4)
    alpha = rgba[..., 3:] / 255
    np.testing.assert_allclose(
        pixels(as_seen(stored(Image.fromarray(rgba), "PNG"))), rgba[..., :3] * alpha + 255 * (1 - alpha), atol=1
    )


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "PA"])
def test_clear_black_is_white_in_every_mode(mode: str) -> None:
    # Some modes have no direct way from others, and a palette has no clear colour unless it is told.
    images = {
        "La": lambda: Image.new("LA", (4, 4), (0, 0)).convert("La"),
        "RGBa": lambda: Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert("RGBa"),
        "PA": lambda: Image.new("PA", (4, 4), (0, 0)),
        "LA": lambda: Image.new("LA", (4, 4), (0, 0)),
        "RGBA": lambda: Image.new("RGBA", (4, 4), (0, 0, 0, 0)),
    }
    assert images[mode]().mode == mode
    assert np.unique(pixels(as_seen(images[mode]()))).tolist() == [255]


@pytest.mark.parametrize("clear", [1, b"\xff\x00"])
def test_clear_colours_of_a_palette_show_white(clear: int | bytes) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([200, 10, 20, 5, 5, 5])
    assert pixels(as_seen(stored(image, "PNG", transparency=clear))).tolist() == [[[200, 10, 20], [255, 255, 255]]]


@pytest.mark.parametrize(
    ("image", "clear", "seen"),
    [
        (Image.fromarray(np.array([[3, 9]], np.uint8)), 3, [255, 9]),
        (Image.fromarray(np.array([[771, 2313]], np.uint16)), 771, [255, 9]),
        (Image.fromarray(np.array([[[3, 3, 3], [9, 9, 9]]], np.uint8)), (3, 3, 3), [255, 9]),
    ],
    ids=["8 bits", "16 bits", "colours"],
)
def test_one_colour_may_be_clear(image: Image.Image, clear: Any, seen: list[int]) -> None:
    assert pixels(as_seen(stored(image, "PNG", transparency=clear)).convert("L")).tolist() == [seen]


@pytest.mark.parametrize(("mode", "clear"), [("L", b"\0\x10"), ("RGB", b"\0\x10"), ("P", (1, 2, 3)), ("P", 70_000)])
def test_a_clear_colour_that_means_nothing_is_ignored(mode: str, clear: Any) -> None:
    image = Image.new(mode, (4, 4))
    image.info["transparency"] = clear
    assert np.unique(pixels(as_seen(image))).tolist() == [0]


def test_inks_without_a_profile_cover_the_paper() -> None:
    colours = noise(8, 8, 3)
    inks = Image.fromarray(colours).convert("CMYK")
    np.testing.assert_allclose(pixels(as_seen(stored(inks, "TIFF"))), colours, atol=1)


def test_inks_are_mixed_as_their_profile_says() -> None:
    cyan = Image.new("CMYK", (4, 4), (255, 0, 0, 0))
    assert pixels(as_seen(stored(cyan, "TIFF")))[0, 0].tolist() == [0, 255, 255]
    for lightness, grey in ((128, 119), (255, 255)):
        seen = as_seen(stored(cyan, "TIFF", icc_profile=profile_without_cyan(lightness)))
        assert seen.mode == "RGB"
        np.testing.assert_allclose(pixels(seen), grey, atol=1)


@pytest.mark.parametrize("profile", [b"no profile", b"\0" * 200])
def test_a_damaged_profile_is_ignored(profile: bytes) -> None:
    inks = Image.new("RGB", (4, 4), (200, 10, 20)).convert("CMYK")
    assert pixels(as_seen(stored(inks, "TIFF", icc_profile=profile)))[0, 0].tolist() == [200, 10, 20]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "YCbCr", "HSV", "LAB"])
def test_opaque_modes_become_grey_or_rgb(mode: str) -> None:
    seen = as_seen(Image.new("L", (4, 4), 255).convert("RGB").convert(mode) if mode != "LAB" else lab_white())
    assert seen.mode == ("L" if mode in ("1", "L") else "RGB")
    assert pixels(seen).min() >= 254


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_is_ready_is_not_copied(mode: str) -> None:
    image = Image.new(mode, (4, 4))
    assert as_seen(upright(image)) is image


def lab_white() -> Image.Image:
    return Image.merge("LAB", [Image.new("L", (4, 4), v) for v in (255, 128, 128)])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_upright(kind: str, orientation: int) -> None:
    grey = np.zeros((16, 24), np.uint8)
    grey[:8, :8] = 255  # as stored: white above on the left
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    how = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    content = io.BytesIO()
    Image.fromarray(grey).convert("RGB").save(content, kind, exif=exif, **how)
    turned = {
        1: grey,
        2: grey[:, ::-1],
        3: grey[::-1, ::-1],
        4: grey[::-1],
        5: grey.T,
        6: grey.T[:, ::-1],
        7: grey.T[::-1, ::-1],
        8: grey.T[::-1],
    }[orientation]
    image = Image.open(content)
    assert upright_size(image) == turned.shape[::-1]
    image.load()
    np.testing.assert_allclose(pixels(upright(image).convert("L")), turned, atol=8)


@pytest.mark.parametrize("orientation", [0, 9, -1, "6", 6.5, (6, 6)])
def test_an_orientation_that_means_nothing_is_ignored(orientation: Any) -> None:
    image = Image.new("RGB", (3, 2))
    image.getexif()[ExifTags.Base.Orientation] = orientation
    assert upright(image) is image
    assert upright_size(image) == (3, 2)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0II*\0\x08\0", b"Exif\0\0Exif\0\0II*\0\x08\0\0\0\x06\0", b"\0\x08\0\x02\x01\x12\0\x03", b"x" * 40]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_damaged_exif_data_are_ignored(exif: bytes, kind: str) -> None:
    image = stored(Image.new("RGB", (3, 2)), kind, exif=exif)
    assert upright(image) is image


def test_a_turned_image_of_sixteen_bits_is_still_known_as_such() -> None:
    image = Image.fromarray(np.array([[0, 65_535]], np.int32))
    image.format = "PNG"
    image.getexif()[ExifTags.Base.Orientation] = 3
    assert pixels(as_seen(upright(image))).tolist() == [[255, 0]]


def profile_without_cyan(lightness: int) -> bytes:
    """Return a colour profile for four inks on paper of this lightness; black covers it, the others do not show."""
    # Header, then two tags: white point, and a table of two points per ink to Lab in 8 bits (ICC.1:2001, lut8Type).
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    table += b"".join(struct.pack(">i", 65_536 * (i % 4 == 0)) for i in range(9))
    table += bytes(range(256)) * 4 + bytes([lightness, 128, 128, 0, 128, 128]) * 8 + bytes(range(256)) * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63_190, 65_536, 54_061)
    start = 128 + 4 + 2 * 12
    tags = struct.pack(">I", 2) + struct.pack(">4sII", b"wtpt", start, len(white))
    tags += struct.pack(">4sII", b"A2B0", start + len(white), len(table))
    body = tags + white + table
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"none", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63_190, 65_536, 54_061)
    return header.ljust(128, b"\0") + body
