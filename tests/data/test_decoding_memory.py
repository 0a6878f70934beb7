"""Decoding is bounded in memory and time, whatever a file declares."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsevision.data import reading
from sparsevision.data.preprocessing import short_side_size, view
from sparsevision.data.reading import read_image
from sparsevision.errors import UnreadableImageError
from sparsevision.types import Preprocessing


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


MEASURE = """
import resource, sys
from sparsevision.data.reading import read_image
from sparsevision.errors import UnreadableImageError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_image(sys.argv[1])
except UnreadableImageError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def large(kind: str) -> bytes:
    if kind == "float":
        return encoded(Image.fromarray(np.zeros((9000, 9000), np.float32)), "TIFF", compression="tiff_deflate")
    if kind == "clear":
        return encoded(Image.new("RGBA", (11000, 11000)), "PNG")
    return encoded(Image.new("RGBA", (9000, 9000)), "WEBP", lossless=True)


@pytest.mark.parametrize("kind", ["float", "clear", "lossless"])
def test_a_small_file_does_not_fill_the_memory(kind: str, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(large(kind))
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "image")], capture_output=True, text=True, check=True
    )
    *said, peak = ran.stdout.splitlines()
    assert int(peak) < 900
    assert all("MiB that SPARSEVISION_DECODE_MEBIBYTES allows" in line for line in said)


def test_the_bound_is_one_for_all_images_that_are_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = reading._DecodingMemory(1000)
    monkeypatch.setattr(reading, "_decoding_memory", memory)
    most, used, lock = 0, 0, threading.Lock()

    def decode() -> None:
        nonlocal most, used
        with memory.taken(400):
            with lock:
                used += 400
                most = max(most, used)
            threading.Event().wait(0.05)
            with lock:
                used -= 400

    threads = [threading.Thread(target=decode) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == 800
    with pytest.raises(UnreadableImageError, match="decoding it needs 0 MiB, more than the 0 MiB"):
        read_image(encoded(Image.new("RGB", (90, 90)), "PNG"), "image")


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    data = encoded(Image.effect_noise((64, 64), 50), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    scans = data[first:-2] * 200
    with pytest.raises(UnreadableImageError, match="it has more than the 100 scans that are decoded"):
        read_image(data[:first] + scans + data[-2:], "image")
    assert read_image(data, "image").size == (64, 64)


def test_scans_behind_the_end_and_of_thumbnails_are_not_counted() -> None:
    data = encoded(Image.effect_noise((64, 64), 50), "JPEG", exif=b"Exif\0\0" + b"\xff\xda" * 200)
    video_of_a_telephone = b"\xff\xda" * 200
    assert read_image(data + video_of_a_telephone, "image").size == (64, 64)


@pytest.mark.parametrize(("height", "width"), [(1, 30_000), (30_000, 1), (3, 30_000), (20, 30_000), (600, 30_000)])
def test_the_long_side_of_a_strip_is_bounded(height: int, width: int) -> None:
    assert max(short_side_size(height, width, 320, 533)) <= 533 * 1.5
    shown, _ = view(Preprocessing((320, 533), fit="short"), Image.new("RGB", (width, height)))
    assert shown.shape[1] * shown.shape[2] <= 533 * 800


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_deep_values_are_scaled_strip_by_strip_as_at_once(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).uniform(-5, 400, (50, 70)).astype(dtype)
    data = encoded(Image.fromarray(values), "TIFF")
    whole = read_image(data, "image")
    monkeypatch.setattr(reading, "_ROWS_AT_ONCE", 140)
    assert read_image(data, "image").tobytes() == whole.tobytes()
    low, high = float(values.min()), max(float(values.max()), float(values.min()) + 1)
    expected = np.round((values.astype(np.float64) - low) * (255 / (high - low))).astype(np.uint8)
    assert np.asarray(whole)[..., 0].tolist() == expected.tolist()


def test_transparency_is_laid_over_white_strip_by_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    clear = Image.effect_noise((70, 50), 90).convert("RGB")
    clear.putalpha(Image.linear_gradient("L").resize((70, 50)))
    forms = [encoded(clear, "PNG"), encoded(clear.quantize(16), "PNG"), encoded(clear.convert("LA"), "PNG")]
    whole = [read_image(data, "image").tobytes() for data in forms]
    monkeypatch.setattr(reading, "_ROWS_AT_ONCE", 140)
    assert [read_image(data, "image").tobytes() for data in forms] == whole


def tiled(width: int, length: int, bits: int = 8) -> bytes:
    """A TIFF of 10 x 10 pixels in one tile of a size, packed."""
    entries = [(256, 10), (257, 10), (258, bits), (259, 8), (262, 1), (277, 1), (322, width), (323, length)]
    data = zlib.compress(bytes(10**6))
    entries += [(324, 8 + 2 + 12 * (len(entries) + 2) + 4), (325, len(data))]
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + fields + struct.pack("<I", 0) + data


def test_a_tile_that_is_larger_than_the_image_counts() -> None:
    with pytest.raises(UnreadableImageError, match=r"decoding it needs 3,\d+ MiB, more than the"):
        read_image(tiled(60_000, 30_000), "image")
    assert read_image(tiled(512, 512), "image").size == (10, 10)
    assert reading.largest_deep_value(tiled(512, 512, bits=16)) == 0
    assert reading.largest_deep_value(tiled(60_000, 30_000, bits=16)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"P6\n#" + b"x" * 200_000 + b"\n3 3 255\n" + bytes(27), b"P5 3 3 " + b"#\n" * 50_000 + b"255\n" + bytes(9),
        b"P6 " + b"9" * 200_000 + b" 3 255\n", b"P4" + b" " * 200_000 + b"8 8\n" + bytes(8), b"P6" + b"#" * 200_000,
    ],
)  # fmt: skip
def test_a_header_without_end_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableImageError, match="its header is longer than that of any image"):
        read_image(data, "image")


def test_very_many_numbers_as_text_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MOST_PNM_TEXT", 1000)
    with pytest.raises(UnreadableImageError, match="MiB of text: convert it, to PNG for example"):
        read_image(b"P1 100 100\n" + b"1" * 10_000, "image")


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16", "F"])
def test_ordinary_files_of_pnm_formats_are_read(mode: str) -> None:
    image = Image.effect_noise((400, 300), 90)
    data = encoded(Image.new("I;16", (400, 300), 9000) if mode == "I;16" else image.convert(mode), "PPM")
    assert read_image(data, "image").size == (400, 300)
    kind, rest = data[:2], data[2:]
    assert read_image(kind + b"\n# from a scanner\n#" + rest, "image").size == (400, 300)
    spaces = b"P4\n1600 400\n" + b" #" * (1600 * 400 // 16)  # pixels that look like comments
    assert read_image(spaces, "image").size == (1600, 400)
