"""One image, from wherever it lies, as an upright RGB image; or one sentence that says why not.

Training runs for days over files that nobody has looked at. Whatever is wrong with one of them ends here as an
`UnreadableImageError`, never as another exception, a warning or a hang.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from sparsevision.errors import UnreadableImageError
from sparsevision.limits import mebibytes

IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "avif", "tif", "tiff", "bmp", "dib", "gif"),
        *("ppm", "pgm", "pbm", "pnm", "jp2", "j2k"),
    )
)
# A list of our own, because Pillow's has formats that start other programs (EPS) or are not images at all.
_WANTED_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000")
Image.init()
_FORMATS = tuple(name for name in _WANTED_FORMATS if name in Image.OPEN)
MAX_PIXELS = 128_000_000
# The variable of the environment that bounds the memory for decoding, in MiB.
DECODING_VARIABLE = "SPARSEVISION_DECODE_MEBIBYTES"
_MEBIBYTES = 768
MAX_BYTES = 1 << 30
# What precedes the pixels of a PNM file, which Pillow reads byte by byte: two numbers, with comments around them.
_PNM_GAP = rb"(?:\s++|#[^\r\n]*+)*+"
_PNM = re.compile(rb"P[0-6fy]")
_PNM_HEADER = re.compile(rb"P(?:[14](?:%b\d++){2}|\w{1,7}+(?:%b\d++){2}%b)" % ((_PNM_GAP,) * 3))
_LONGEST_PNM_HEADER = 1 << 16
# Of numbers written as text, which take a second for each 8 MiB.
_MOST_PNM_TEXT = 32 << 20
# What these formats can say at most with one byte; files that declare more would keep a process busy with nothing.
_MOST_PIXELS_PER_BYTE = {"JPEG": 1024, "MPO": 1024, "PNG": 9000}
# Bytes that decoders need for a pixel beside the decoded image itself: copies, planes, coefficients.
_DECODERS_BYTES = {"WEBP": 8, "AVIF": 12, "JPEG2000": 16, "TIFF": 8, "GIF": 4, "PNG": 1}
_PROGRESSIVE_BYTES = 6
_BYTES_OF_MODE = {"1": 1, "L": 1, "P": 1, "LA": 2, "PA": 2, "I;16": 2, "I;16B": 2, "I;16L": 2, "RGB": 4, "YCbCr": 4}
# Each scan of a progressive JPEG costs a pass over the image; cameras and encoders write a dozen.
_MOST_SCANS = 100
# A marker of a JPEG that a segment follows, or the end's; between scans 0xff stands before 0 or a restart's number.
_SEGMENT = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
_SCAN, _END = b"\xda", b"\xd9"
_ROWS_AT_ONCE = 1 << 20  # pixels of a strip that is converted
WHITE = (255, 255, 255)

ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

_ORIENTATION_TAG = 0x0112
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL, _TILE_WIDTH, _TILE_LENGTH = 258, 277, 322, 323
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_SWAPPING = frozenset(_UPRIGHT[orientation] for orientation in (5, 6, 7, 8))


def is_image_name(name: str | os.PathLike[str]) -> bool:
    """Returns whether a file's suffix is one of an image format that can be read."""
    return os.path.splitext(os.fspath(name))[1].lower() in IMAGE_SUFFIXES


def read_image(
    source: ImageSource, name: str | None = None, *, side: int | None = None, background: tuple[int, int, int] = WHITE
) -> Image.Image:
    """Decodes an image into an upright RGB image; of an animation, the first frame.

    `source` is a path, the file's bytes or an open binary file; `name` is what messages call it. With `side`, a JPEG
    may be decoded at a half, a quarter or an eighth of its size as long as its short side keeps `side` pixels, which is
    several times faster for photographs from a camera. Transparent parts show `background`.
    Raises UnreadableImageError, and nothing else, for everything that cannot be decoded.
    """
    return decode_image(source, name, side=side, background=background)[0]


def decode_image(
    source: ImageSource, name: str | None = None, *, side: int | None = None, background: tuple[int, int, int] = WHITE
) -> tuple[Image.Image, tuple[int, int]]:
    """Decodes as `read_image` does; returns the image, and the (height, width) of the upright image at full size."""
    name = name or _name_of(source)
    data = read_bytes(source, name)
    try:
        with _decoded(data, side) as (image, stored):
            turn = _turn(image)
            size = stored if turn in _SWAPPING else (stored[1], stored[0])
            rgb = as_rgb(image, background=background)
            return (rgb.transpose(turn) if turn is not None else rgb), size
    except Exception as error:  # decoders of hostile bytes raise nearly every built-in exception
        raise _unreadable(name, error) from error


def decode_stored(source: ImageSource, what: str = "image") -> tuple[Image.Image, str]:
    """Decodes an image upright with its own mode and palette, for values other than brightness, as in masks.

    Returns it with the name of its format. Raises UnreadableImageError, and nothing else, for everything that cannot be
    decoded as a `what`.
    """
    name = _name_of(source)
    data = read_bytes(source, name)
    try:
        with _decoded(data, None) as (image, _):
            turn = _turn(image)
            return (image if turn is None else image.transpose(turn)), image.format or ""
    except Exception as error:  # decoders of hostile bytes raise nearly every built-in exception
        raise _unreadable(name, error, what) from error


@contextmanager
def _decoded(data: bytes, side: int | None) -> Iterator[tuple[Image.Image, tuple[int, int]]]:
    """Decodes a file's bytes, once they are known to be no trap; yields the image and its stored (width, height)."""
    _check_pnm(data)
    with _quiet, Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        stored = image.size
        if 0 in stored:
            raise _RefusalError(f"it has {stored[0]} x {stored[1]} pixels")
        _choose_scale(image, side)
        if stored[0] * stored[1] > len(data) * _MOST_PIXELS_PER_BYTE.get(image.format or "", MAX_PIXELS):
            raise _RefusalError(f"{len(data)} bytes cannot hold the {stored[0]} x {stored[1]} pixels it declares")
        if image.format in ("JPEG", "MPO") and _scans(data) > _MOST_SCANS:
            raise _RefusalError(f"it has more than the {_MOST_SCANS} scans that are decoded")
        with _decoding_memory.taken(_bytes_needed(image, stored)):
            image.load()
            yield image, stored


def read_bytes(source: ImageSource, name: str | None = None) -> bytes:
    """Returns an image's file, undecoded; raises UnreadableImageError where there is none, or nothing in it."""
    try:
        data = _loaded(source)
        if not data:
            raise _RefusalError("it is empty (0 bytes)")
        return data
    except Exception as error:  # a file object may raise what it likes
        raise _unreadable(name or _name_of(source), error) from error


def largest_deep_value(data: bytes) -> int | None:
    """Returns the largest value of a file of 16-bit grey values, None for any other image, or one that is damaged."""
    try:
        _check_pnm(data)
        with _quiet, Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if not image.mode.startswith("I;16") or image.width * image.height > MAX_PIXELS:
                return None
            with _decoding_memory.taken(_bytes_needed(image, image.size)):
                return int(np.asarray(image).max())
    except Exception:  # as when it is decoded to be used
        return None


def as_rgb(image: Image.Image, *, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """Turns a decoded image of any mode into RGB: 16 and 32 bits are scaled to 8, alpha is laid over `background`.

    Other modes than RGB are converted strip by strip, so that no more than the result is needed beside the image.
    """
    if image.mode == "RGB" and not image.has_transparency_data:
        # The same pixels without the file; convert would copy them.
        return image._new(image.im)
    deep = image.mode.startswith(("I", "F"))
    convert = _scaled(image) if deep else partial(_opaque, background=background)
    result, rows = Image.new("RGB", image.size), max(_ROWS_AT_ONCE // max(image.width, 1), 1)
    for top in range(0, image.height, rows):
        result.paste(convert(image.crop((0, top, image.width, min(top + rows, image.height)))), (0, top))
    return result


def _opaque(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Converts an image to RGB, laid over the background where it is transparent."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    clear = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, (*background, 255)), clear).convert("RGB")


def _scaled(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Returns the conversion of an image's strips to 8 bits: by its type's range, else by its smallest and largest."""
    if np.asarray(image.crop((0, 0, 1, 1))).dtype.itemsize == 2:
        return lambda strip: Image.fromarray((np.asarray(strip).astype(np.uint32) * 255 // 65535).astype(np.uint8))
    # Of float32 the extrema, with what is not a number left out; Pillow's would be NaN.
    rows = max(_ROWS_AT_ONCE // max(image.width, 1), 1)
    strips = (image.crop((0, top, image.width, min(top + rows, image.height))) for top in range(0, image.height, rows))
    values = [_finite(np.asarray(strip)) for strip in strips]
    low, high = min(float(each.min()) for each in values), max(float(each.max()) for each in values)
    if low < 0 or high > 65535:
        high = max(high, low + 1)
    elif image.mode == "F" and high <= 1:
        low, high = 0.0, 1.0
    else:
        low, high = 0.0, 255.0 if high <= 255 else 65535.0
    return lambda strip: _grey(_finite(np.asarray(strip)), low, high)


def _finite(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)


def _grey(values: np.ndarray, low: float, high: float) -> Image.Image:
    """Scales grey values so that `low` is 0 and `high` 255."""
    return Image.fromarray(np.round((values - low) * (255 / (high - low))).astype(np.uint8))


def _choose_scale(image: Image.Image, side: int | None) -> None:
    """Requests a smaller image of a JPEG's decoder where that is wanted or needed; refuses what stays too big."""
    width, height = image.size
    needed = math.sqrt(width * height / MAX_PIXELS)
    wanted = min(width, height) // side if side else 1
    divisor = next((scale for scale in (8, 4, 2) if scale <= wanted or scale < 2 * needed), 1)
    if divisor > 1:
        image.draft(None, (max(width // divisor, 1), max(height // divisor, 1)))
    if image.size[0] * image.size[1] > MAX_PIXELS:
        raise _RefusalError(f"its {width} x {height} pixels are more than the {MAX_PIXELS:,} that are decoded")


def _check_pnm(data: bytes) -> None:
    """Refuses files of PNM formats that would take a long time: comments without end, and very many numbers as text."""
    if not _PNM.match(data):
        return
    header = _PNM_HEADER.match(data[:_LONGEST_PNM_HEADER])
    if len(data) > _LONGEST_PNM_HEADER and (header is None or header.end() == _LONGEST_PNM_HEADER):
        raise _RefusalError("its header is longer than that of any image")
    if data[1:2] in b"123" and len(data) > _MOST_PNM_TEXT:
        raise _RefusalError(f"its numbers are {len(data) >> 20} MiB of text: convert it, to PNG for example")


def _tile_bytes(image: Any) -> int:
    """Returns what one tile of a TIFF takes, which may be far larger than the image."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, 8)
    deepest = max(bits) if isinstance(bits, tuple) else bits
    return tags.get(_TILE_WIDTH, 0) * tags.get(_TILE_LENGTH, 0) * tags.get(_SAMPLES_PER_PIXEL, 1) * deepest // 8


def _scans(data: bytes) -> int:
    """Counts the scans of a JPEG up to its end, not those of its thumbnail or of what a camera appends to it."""
    number, place = 0, 0
    while number <= _MOST_SCANS and (found := _SEGMENT.search(data, place)) is not None and found[1] != _END:
        number += found[1] == _SCAN
        place = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return number


def _bytes_needed(image: Image.Image, stored: tuple[int, int]) -> int:
    """Estimates the memory of decoding an image and turning it into an upright RGB image."""
    progressive = "progressive" in image.info or "progression" in image.info
    inside = _PROGRESSIVE_BYTES * progressive + _DECODERS_BYTES.get(image.format or "", 0)
    turned = image.format == "JPEG" and _turn(image) is not None
    outside = _BYTES_OF_MODE.get(image.mode, 4) + 4 * (image.mode != "RGB") + 4 * turned
    return stored[0] * stored[1] * inside + image.width * image.height * outside + 2 * _tile_bytes(image)


class _DecodingMemory:
    """The bytes that all images which are decoded at once may need together, of all threads of a process."""

    def __init__(self, limit: int) -> None:
        self.limit, self._used, self._freed = limit, 0, threading.Condition()

    @contextmanager
    def taken(self, needed: int) -> Iterator[None]:
        """Waits until the memory is free, and takes it; raises _RefusalError for more than there may ever be."""
        if needed > self.limit:
            raise _RefusalError(
                f"decoding it needs {needed >> 20:,} MiB, more than the {self.limit >> 20:,} MiB that "
                f"{DECODING_VARIABLE} allows"
            )
        with self._freed:
            self._freed.wait_for(lambda: self._used + needed <= self.limit)
            self._used += needed
        try:
            yield
        finally:
            with self._freed:
                self._used -= needed
                self._freed.notify_all()


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Reads how the camera was held; damaged metadata count as none, since the image itself may be fine."""
    try:
        return _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:
        return None


def _loaded(source: ImageSource) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if not isinstance(source, str | os.PathLike):
        return source.read(MAX_BYTES)
    status = os.stat(source)
    if stat.S_ISDIR(status.st_mode):
        raise _RefusalError("it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise _RefusalError("it is not a regular file")
    if status.st_size > MAX_BYTES:
        raise _RefusalError(f"its {status.st_size >> 20} MiB are more than the {MAX_BYTES >> 20} MiB that are read")
    return Path(source).read_bytes()


def _name_of(source: ImageSource) -> str:
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", None) or "the given data")


class _RefusalError(Exception):
    """A reason that already reads as the end of the sentence."""


def _unreadable(name: str, error: Exception, what: str = "image") -> UnreadableImageError:
    article = "an" if what[0] in "aeiou" else "a"
    return UnreadableImageError(f"{name} cannot be read as {article} {what}: {_reason(error)}.")


def _reason(error: Exception) -> str:
    if isinstance(error, _RefusalError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "the file does not exist"
    if isinstance(error, PermissionError):
        return "this user may not read it"
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return f"the system says: {error.strerror.lower()}"
    if isinstance(error, UnidentifiedImageError):
        return "its content is none of the known formats (JPEG, PNG, WebP, AVIF, TIFF, BMP, GIF, PNM, JPEG 2000)"
    if isinstance(error, Image.DecompressionBombError):
        return "it unpacks to far more pixels than any photograph has"
    said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return f"its data are damaged ({said[:120]})"


class _Quiet:
    """Silences warnings while any thread is inside: Pillow's say what the error or the image says already.

    `warnings.catch_warnings` alone would restore the wrong filters when threads leave in another order than they came.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved: warnings.catch_warnings[None] | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._saved is None:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0 and self._saved is not None:
                self._saved.__exit__(None, None, None)
                self._saved = None


_quiet = _Quiet()
_decoding_memory = _DecodingMemory(mebibytes(DECODING_VARIABLE, _MEBIBYTES) << 20)
