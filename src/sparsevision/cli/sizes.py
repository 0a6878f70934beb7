"""Sizes of images, as they are typed."""

from __future__ import annotations

from sparsevision.errors import ConfigError


def parse_size(text: str, option: str) -> int | tuple[int, int]:
    """Parses 224 (a square's side) or 800x1066 (height and width); `option` is named where it is neither."""
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise ConfigError(f"{option} {text}: a size is one number, or height and width as in 800x1066.")
    first, last = int(numbers[0]), int(numbers[-1])
    return (first, last) if len(numbers) == 2 else first
