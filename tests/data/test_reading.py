"""Whatever is wrong with an image: it is handled, or one sentence says why not."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sparsevision.data import reading
from sparsevision.data.reading import as_rgb, decode_image, is_image_name, read_image
from sparsevision.errors import UnreadableImageError


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photograph(width: int = 48, height: int = 32) -> Image.Image:
    """An image with a red corner at the upper left, on a slope of green."""
    y, x = np.mgrid[:height, :width]
    values = np.stack([np.zeros_like(x), x * 255 // width, np.zeros_like(y)], -1).astype(np.uint8)
    values[: height // 2, : width // 2] = (230, 20, 20)
    return Image.fromarray(values)


def corner(image: Image.Image) -> tuple[int, ...]:
    return tuple(image.getpixel((3, 3)))


def is_red(image: Image.Image) -> bool:
    red, green, blue = corner(image)
    return red > 180 and green < 80 and blue < 80


def with_orientation(orientation: int) -> bytes:
    upright = photograph()
    inverse = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = upright if inverse is None else upright.transpose(Image.Transpose(inverse))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(stored, "JPEG", exif=exif, quality=95)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encoded(photograph(), "JPEG"), id="jpeg"),
        pytest.param(encoded(photograph(), "JPEG", progressive=True), id="progressive"),
        pytest.param(encoded(photograph(), "PNG"), id="png"),
        pytest.param(encoded(photograph().convert("CMYK"), "JPEG"), id="cmyk"),
        pytest.param(encoded(photograph().quantize(64), "PNG"), id="palette"),
        pytest.param(encoded(photograph(), "WEBP"), id="webp"),
        pytest.param(encoded(photograph(), "TIFF"), id="tiff"),
        pytest.param(encoded(photograph(), "BMP"), id="bmp"),
        pytest.param(encoded(photograph(), "PPM"), id="ppm"),
        pytest.param(
            encoded(photograph(), "GIF", save_all=True, append_images=[Image.new("RGB", (48, 32), "blue")]),
            id="animated",
        ),
        pytest.param(
            encoded(photograph(), "PNG", save_all=True, append_images=[Image.new("RGB", (48, 32), "blue")]), id="apng"
        ),
    ],
)
def test_every_kind_becomes_the_same_rgb_image(data: bytes) -> None:
    image = read_image(data)
    assert (image.mode, image.size) == ("RGB", (48, 32))
    assert is_red(image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_upright(orientation: int) -> None:
    image, size = decode_image(with_orientation(orientation))
    assert image.size == (48, 32)
    assert size == (32, 48)
    assert is_red(image)


def test_damaged_metadata_do_not_cost_the_image() -> None:
    data = with_orientation(6).replace(b"Exif\x00\x00", b"Exif\x00\x00\xff\xff\xff")
    assert read_image(data).mode == "RGB"


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_sixteen_bits_are_scaled_not_clipped(dtype: str) -> None:
    ramp = np.linspace(0, 65535, 64).reshape(1, 64).repeat(4, 0)
    if dtype == "<u2":
        data = encoded(Image.fromarray(ramp.astype(np.uint16)), "PNG")
    else:
        data = b"P5 64 4 65535\n" + ramp.astype(dtype).tobytes()
    values = np.asarray(read_image(data))[0, :, 0].astype(float)
    np.testing.assert_allclose(values, np.linspace(0, 255, 64), atol=1.1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 30000, 65535]], np.int32), [0, 117, 255]),
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[-10, 0, 10]], np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, np.nan, 200.0]], np.float32), [0, 0, 200]),
    ],
)
def test_wide_grey_values_find_their_range(values: np.ndarray, expected: list[int]) -> None:
    assert np.asarray(as_rgb(Image.fromarray(values)))[0, :, 0].tolist() == expected


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_shows_the_background(mode: str) -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    if mode == "P":
        palette = Image.new("P", (8, 8), 0)
        palette.putpalette([0, 0, 0, 255, 255, 255])
        data = encoded(palette, "PNG", transparency=0)
    else:
        data = encoded(clear.convert(mode), "PNG")
    assert corner(read_image(data)) == (255, 255, 255)
    assert corner(read_image(data, background=(10, 20, 30))) == (10, 20, 30)


def test_one_pixel_is_a_image() -> None:
    assert read_image(encoded(Image.new("RGB", (1, 1), "red"), "PNG")).size == (1, 1)


def test_paths_bytes_and_files_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(photograph(), "JPEG"))
    with path.open("rb") as file:
        images = [read_image(path), read_image(str(path)), read_image(path.read_bytes()), read_image(file)]
    assert len({image.tobytes() for image in images}) == 1


def test_a_large_jpeg_may_be_decoded_smaller_but_not_below_the_side() -> None:
    data = encoded(photograph(640, 400), "JPEG")
    image, size = decode_image(data, side=90)
    assert image.size == (160, 100)
    assert size == (400, 640)
    assert is_red(image)
    assert read_image(data, side=250).size == (640, 400)


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and brings a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def jpeg_of_declared_size(width: int, height: int) -> bytes:
    data = bytearray(encoded(photograph(), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


BAD = {
    "empty": (b"", "it is empty"),
    "text": (b"I am no image. " * 40, "none of the known formats"),
    "truncated jpeg": (encoded(photograph(200, 200), "JPEG")[:900], "damaged"),
    "truncated png": (encoded(photograph(200, 200), "PNG")[:100], "damaged"),
    "half a gif": (encoded(photograph(200, 200), "GIF")[:1500], "damaged"),
    "only a header": (b"\xff\xd8\xff", "none of the known formats"),
    "bomb": (png_header(60000, 60000), "far more pixels"),
    "gigantic": (png_header(13000, 11000), "13000 x 11000 pixels are more than the 128,000,000"),
    "postscript, which would start a program": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "none of the known",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_not_an_image_is_one_sentence(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data, reason = BAD[kind]
    path = tmp_path / "bad.jpg"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreadableImageError) as caught:
            read_image(path)
    said = str(caught.value)
    assert said.startswith(f"{path} cannot be read as an image: ")
    assert reason in said
    assert "\n" not in said
    assert said.endswith(".")
    assert capfd.readouterr() == ("", "")


def test_what_is_no_file_is_one_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, reason in [
        (tmp_path / "absent.jpg", "the file does not exist"),
        (tmp_path, "it is a folder"),
        (tmp_path / "pipe.jpg", "not a regular file"),
    ]:
        with pytest.raises(UnreadableImageError, match=reason):
            read_image(path)


def test_a_gigantic_jpeg_is_decoded_at_a_reduced_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_PIXELS", 20_000)
    image, size = decode_image(encoded(photograph(640, 400), "JPEG"))
    assert image.size == (160, 100)
    assert size == (400, 640)
    with pytest.raises(UnreadableImageError, match="640 x 400 pixels"):
        read_image(encoded(photograph(640, 400), "PNG"))


def test_warnings_are_silenced_in_threads_and_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow warns from here to twice as much
    before = list(warnings.filters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(4) as pool:
            sizes = list(pool.map(lambda _: read_image(SEEDS[0]).size, range(40)))
    assert sizes == [(48, 32)] * 40
    assert not caught
    assert list(warnings.filters) == before


def test_a_declared_size_that_the_file_cannot_hold_is_refused() -> None:
    with pytest.raises(UnreadableImageError, match="cannot hold the 9000 x 9000 pixels"):
        read_image(jpeg_of_declared_size(9000, 9000))
    assert read_image(encoded(Image.new("L", (2000, 2000)), "JPEG", progressive=True, optimize=True)).size == (
        2000,
        2000,
    )
    assert read_image(encoded(Image.new("1", (4000, 4000)), "PNG", optimize=True)).size == (4000, 4000)


def test_names_of_images() -> None:
    assert is_image_name("a/b.JPG")
    assert is_image_name(Path("c.webp"))
    assert not is_image_name("notes.txt")
    assert not is_image_name("jpg")


SEEDS = (encoded(photograph(), "JPEG"), encoded(photograph(), "PNG"), with_orientation(6))
changes = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=12)


def read_mutated(original: bytes, flips: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(original)
    for place, value in flips:
        data[place % len(data)] = value
    if cut % 3 == 0:
        data = data[: len(data) - cut % len(data)]
    with suppress(UnreadableImageError):
        image = read_image(bytes(data))
        assert image.mode == "RGB"
        assert image.width >= 1


@given(original=st.sampled_from(SEEDS), flips=changes, cut=st.integers(0, 1 << 16))
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_mutated_images_give_a_image_or_a_sentence(original: bytes, flips: list[tuple[int, int]], cut: int) -> None:
    read_mutated(original, flips, cut)


@pytest.mark.slow
def test_two_thousand_mutated_images() -> None:
    originals = [*SEEDS, *(encoded(photograph(), kind) for kind in ("GIF", "WEBP", "TIFF", "BMP", "PPM"))]
    originals += [encoded(photograph(), "JPEG", progressive=True), encoded(photograph().quantize(9), "PNG")]
    draws = np.random.default_rng(0)
    for number in range(2000):
        original = originals[number % len(originals)]
        # Headers are short and matter most, so half of all changes fall there.
        reach = 64 if draws.random() < 0.5 else len(original)
        places, values = draws.integers(0, reach, 1 + number % 12), draws.choice([0, 1, 127, 255, *range(256)], 12)
        read_mutated(original, list(zip(places.tolist(), values.tolist(), strict=False)), int(draws.integers(1 << 16)))
