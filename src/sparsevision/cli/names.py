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

# Control characters, halves of characters, what separates lines or paragraphs, and what is invisible or turns the
# direction of text. The joiners of scripts and emoji, which change how letters look, are shown.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")
# Marks over and under one letter: scripts stack four, and thousands would cover the lines around.
_MARKS, _MOST_MARKS = frozenset({"Mn", "Me"}), 8
LONGEST_NAME, LONGEST_SENTENCE = 4096, 1000


def printable(text: str, longest: int = LONGEST_NAME) -> str:
    """Returns text as one line that any terminal can show: a file's name may hold line ends, and bytes of no text.

    Text that is longer than `longest` letters is cut, and so are more marks on a letter than any script has.
    """
    cut = text if len(text) <= longest else f"{text[:longest]}..."
    shown: list[str] = []
    marks = 0
    for letter in cut:
        kind = category(letter)
        marks = marks + 1 if kind in _MARKS else 0
        if marks <= _MOST_MARKS:
            unseen = kind in _UNSEEN and letter not in _JOINERS
            shown.append(letter.encode("unicode_escape").decode() if unseen else letter)
    return "".join(shown)


def sentence(text: str) -> str:
    """Returns what a stranger's file may have put into a sentence, as one line of a bounded length."""
    return printable(text, LONGEST_SENTENCE)


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
        more = f" ({len(skipped) - 1} more could not be read either.)" if len(skipped) > 1 else ""
        raise DataError(f"Nothing could be read: {sentence(skipped[0].reason)}{more}")
    if skipped:
        reasons = (f"  {sentence(one.reason)}" for one in skipped)
        print(f"{len(skipped)} of {len(skipped) + number} could not be used:", *reasons, sep="\n", file=sys.stderr)


def report_omitted(omitted: Sequence[Skipped], number: int) -> None:
    """Lists on stderr the results that a file could not take, of a number; raises DataError if it took none."""
    if omitted and len(omitted) == number:
        raise DataError(f"None of {number} results was written, first: {sentence(omitted[0].reason)}")
    if omitted:
        reasons = (f"  {sentence(one.reason)}" for one in omitted)
        print(f"{len(omitted)} of {number} results were not written:", *reasons, sep="\n", file=sys.stderr)
