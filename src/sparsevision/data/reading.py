"""One image, from wherever it lies, as an upright RGB image; or one sentence that says why not.

Training runs for days over files that nobody has looked at. Whatever is wrong with one of them ends here as an
`UnreadableImageError`, never as another exception, a warning or a hang.
"""

from __future__ import annotations

import io
import math
import os
import stat
import threading
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from sparsevision.errors import UnreadableImageError

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
MAX_BYTES = 1 << 30
# What these formats can say at most with one byte; files that declare more would keep a process busy with nothing.
_MOST_PIXELS_PER_BYTE = {"JPEG": 1024, "MPO": 1024, "PNG": 9000}
WHITE = (255, 255, 255)

ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

_ORIENTATION_TAG = 0x0112
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
        with _quiet, Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            stored = image.size
            _choose_scale(image, side)
            if stored[0] * stored[1] > len(data) * _MOST_PIXELS_PER_BYTE.get(image.format or "", MAX_PIXELS):
                raise _RefusalError(f"{len(data)} bytes cannot hold the {stored[0]} x {stored[1]} pixels it declares")
            image.load()
            turn = _turn(image)
            size = stored if turn in _SWAPPING else (stored[1], stored[0])
            rgb = as_rgb(image, background=background)
            return (rgb.transpose(turn) if turn is not None else rgb), size
    except Exception as error:  # decoders of hostile bytes raise nearly every built-in exception
        raise _unreadable(name, error) from error


def read_bytes(source: ImageSource, name: str | None = None) -> bytes:
    """Returns an image's file, undecoded; raises UnreadableImageError where there is none, or nothing in it."""
    try:
        data = _loaded(source)
        if not data:
            raise _RefusalError("it is empty (0 bytes)")
        return data
    except Exception as error:  # a file object may raise what it likes
        raise _unreadable(name or _name_of(source), error) from error


def as_rgb(image: Image.Image, *, background: tuple[int, int, int] = WHITE) -> Image.Image:
    """Turns a decoded image of any mode into RGB: 16 and 32 bits are scaled to 8, alpha is laid over `background`."""
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_to_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        ground = Image.new("RGBA", clear.size, (*background, 255))
        return Image.alpha_composite(ground, clear).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Scales grey values to 0..255: by the type's range where it is known, else by the smallest and largest value."""
    if values.dtype.itemsize == 2 and values.dtype.kind == "u":
        return (values.astype(np.uint32) * 255 // 65535).astype(np.uint8)
    grey = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(grey.min()), float(grey.max())
    if low < 0 or high > 65535:
        low, high = low, max(high, low + 1)
    elif values.dtype.kind == "f" and high <= 1:
        low, high = 0.0, 1.0
    else:
        low, high = 0.0, 255.0 if high <= 255 else 65535.0
    return np.round((grey - low) * (255 / (high - low))).astype(np.uint8)


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


def _unreadable(name: str, error: Exception) -> UnreadableImageError:
    return UnreadableImageError(f"{name} cannot be read as an image: {_reason(error)}.")


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
