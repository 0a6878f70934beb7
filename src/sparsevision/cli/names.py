"""Names that users give: how they are shown, which are options misspelt, and which one a refusal is about."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unicodedata import category

from sparsevision.errors import UnknownNameError

# Control characters, halves of characters, and what separates lines or paragraphs.
_UNSEEN = frozenset({"Cc", "Cs", "Zl", "Zp"})


def printable(text: str) -> str:
    """Returns text as one line that any terminal can show: a file's name may hold line ends, and bytes of no text."""
    shown = (letter.encode("unicode_escape").decode() if category(letter) in _UNSEEN else letter for letter in text)
    return "".join(shown)


def refuse_options(pictures: Sequence[str], options: Sequence[str]) -> None:
    """Raises UnknownNameError for a word among pictures that begins with a dash and is no file."""
    for word in pictures:
        if word.startswith("-") and word != "-" and not os.path.lexists(word):
            raise UnknownNameError("option", word, options, advice="A file of that name: write ./ before it.")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names a path in the system's refusals to write that name none, as when the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None and not isinstance(error, BrokenPipeError):
            error.filename = str(path)
        raise
