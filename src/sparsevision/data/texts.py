"""Texts of data sets, as people's programs write them: with a byte order mark or without, names in any spelling."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from pathlib import Path
from unicodedata import category, normalize

from sparsevision.errors import DataError

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_text(path: Path) -> str:
    """Reads a text in UTF-8, or in UTF-16 where its byte order mark says so; the mark is left out.

    Raises DataError if the file cannot be read, or is of another encoding.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    return decoded(data, path)


def decoded(data: bytes, name: object) -> str:
    """Returns the text of a file's bytes, as `read_text` does; raises DataError, which says the file's name."""
    try:
        return data.decode(next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8"))
    except ValueError:
        raise DataError(f"{name} is not a text in UTF-8: save it in that encoding.") from None


def alike(names: Iterable[str]) -> list[str]:
    """Returns a sentence about names that differ in case, blanks or letters that nobody sees, if there are such."""
    first: dict[str, str] = {}
    pairs = [(first.setdefault(_folded(name), name), name) for name in names]
    found = [f"{one!r} and {other!r}" for one, other in pairs if one != other]
    return [f"Classes that look alike: {', '.join(found[:5])}; if they are one, give them one name."] if found else []


def _folded(name: str) -> str:
    plain = normalize("NFKC", name).casefold()
    return "".join(letter for letter in plain if not letter.isspace() and category(letter) != "Cf")


def composed(name: str) -> str:
    """Returns a name in the one of its spellings in Unicode that names are compared in (NFC)."""
    return normalize("NFC", name)
