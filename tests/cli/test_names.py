"""Names of users and strangers on a terminal: one line, nothing invisible, every script as it is."""

from __future__ import annotations

import pytest

from sparsevision.cli.names import printable


@pytest.mark.parametrize("letter", "\u200b\ufeff\u00ad\u200e\u200f\u061c\u2060\u202e\x1b\u2028")
def test_what_is_invisible_or_turns_text_is_escaped(letter: str) -> None:
    assert printable(f"a{letter}b") == f"a{letter.encode('unicode_escape').decode()}b"


@pytest.mark.parametrize("text", ["क्षत्रिय", "می\u200cخواهم", "\U0001f468\u200d\U0001f469", "e\u0323\u0302", "שָּׁ", "ที่"])
def test_scripts_are_shown_as_they_are(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("mark", "\u0300\u20dd\u0489")
def test_marks_on_a_letter_are_bounded(mark: str) -> None:
    assert printable("z" + mark * 3000 + "y" + mark) == "z" + mark * 8 + "y" + mark
