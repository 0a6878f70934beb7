"""Names that users give: as one line of text, as options or sources, and those of skipped images."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING
from unicodedata import category

from sparsevision.errors import DataError

if TYPE_CHECKING:
    from sparsevision.types import Skipped

# Control characters, halves of characters, and what separates lines or paragraphs.
_UNSEEN = frozenset({"Cc", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    """Returns text as one line that any terminal can show: a file's name may hold line ends, and bytes of no text."""
    shown = (letter.encode("unicode_escape").decode() if category(letter) in _UNSEEN else letter for letter in text)
    return "".join(shown)


def split_options(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Divides words into sources and options that the command does not name: `--name value` or `--name=value`.

    An option without a value has an empty one. A file that begins with a dash is a source, and so is "-".
    """
    sources: list[str] = []
    options: dict[str, str] = {}
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("-") or word == "-" or os.path.lexists(word):
            sources.append(word)
            continue
        name, given, value = word.partition("=")
        follows = waiting and (not waiting[0].startswith("--") or os.path.lexists(waiting[0]))
        options[name.lstrip("-")] = value if given else waiting.pop(0) if follows else ""
    return sources, options


def report_skipped(skipped: Sequence[Skipped], number: int) -> None:
    """Lists on stderr the images that were skipped, beside `number` that were used; raises DataError if none was."""
    if not number:
        if not skipped:
            raise DataError("The list of images is empty.")
        more = f" (and {len(skipped) - 1} more)" if len(skipped) > 1 else ""
        raise DataError(f"Nothing could be read{more}: {printable(skipped[0].reason)}")
    if skipped:
        reasons = (f"  {printable(one.reason)}" for one in skipped)
        print(f"{len(skipped)} of {len(skipped) + number} could not be used:", *reasons, sep="\n", file=sys.stderr)
