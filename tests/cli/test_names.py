"""Names of users and strangers on a terminal: one line, nothing invisible, every script as it is."""

from __future__ import annotations

import pytest

from sparsevision.cli.names import printable, report_skipped
from sparsevision.errors import DataError, UnknownNameError
from sparsevision.types import Skipped
from sparsevision.wording import count_of, some_of


@pytest.mark.parametrize("letter", "\u200b\ufeff\u00ad\u200e\u200f\u061c\u2060\u202e\x1b\u2028")
def test_what_is_invisible_or_turns_text_is_escaped(letter: str) -> None:
    assert printable(f"a{letter}b") == f"a{letter.encode('unicode_escape').decode()}b"


@pytest.mark.parametrize("text", ["क्षत्रिय", "می\u200cخواهم", "\U0001f468\u200d\U0001f469", "e\u0323\u0302", "שָּׁ", "ที่"])
def test_scripts_are_shown_as_they_are(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("mark", "\u0300\u20dd\u0489")
def test_marks_on_a_letter_are_bounded(mark: str) -> None:
    assert printable("z" + mark * 3000 + "y" + mark) == "z" + mark * 8 + "y" + mark


def test_a_name_that_is_like_none_is_offered_none_as_its_nearest() -> None:
    known = [f"model_{number}" for number in range(46)]
    assert "nearest are 'model_1'" in str(UnknownNameError("model", "modell_1", known))
    assert str(UnknownNameError("model", "yolov8n", known)).startswith(
        "Unknown model: 'yolov8n'; of 46 the first are 'm"
    )
    assert str(UnknownNameError("split", "x", ["train"])) == "Unknown split: 'x'; there are 'train'."


def test_where_nothing_could_be_read_the_first_reason_comes_first() -> None:
    with pytest.raises(DataError, match=r"read: a is empty\. \(2 more could not be read either\.\)"):
        report_skipped([Skipped(name, f"{name} is empty.") for name in "abc"], 0)


def test_one_thing_is_one_and_the_first_of_many_are_named() -> None:
    assert [count_of(number, "box", "boxes") for number in (0, 1, 1200)] == ["0 boxes", "1 box", "1,200 boxes"]
    assert count_of(2, "image") == "2 images"
    assert some_of("abcdefg", 2) == "a, b and 5 more"
