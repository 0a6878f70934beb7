"""Options as text: names with dashes, numbers in their range, choices, several values, and what mistakes say."""

from __future__ import annotations

import pytest

from sparsevision.cli.names import split_options
from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.inference.options import checked_value, resolve_options
from sparsevision.types import Choice, Control, TextOption

RATIO = Control("keep_ratio", 0.3, 0.01, 1.0, "share of the tokens")
TOP = Control("top_k", 5, 1, 100, "best classes", whole=True)
WAY = Choice("selection", "learned", ("learned", "random"), "which tokens")
LABEL = TextOption("label", None, "a class")
KNOWN = (RATIO, TOP, WAY, LABEL)


def test_texts_become_values() -> None:
    given = {"keep-ratio": "0.5", "--top-k": "3", "selection": "random", "label": "0.5"}
    values = resolve_options(given, KNOWN)
    assert values == {"keep_ratio": 0.5, "top_k": 3, "selection": "random", "label": "0.5"}
    assert isinstance(values["top_k"], int)
    assert resolve_options({"keep_ratio": ["0.1", "1"]}, KNOWN) == {"keep_ratio": [0.1, 1.0]}
    assert resolve_options({}, KNOWN) == {}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("keep-ratio", "3", r"keep_ratio is 3.0; it must be from 0.01 to 1 \(share of the tokens\)"),
        ("keep-ratio", "nan", "keep_ratio is nan"),
        ("keep-ratio", "much", "--keep-ratio is 'much'; it must be a number"),
        ("keep-ratio", "", "--keep-ratio is given without a value"),
        ("keep-ratio", [], "--keep-ratio is given without a value"),
        ("keep-ratio", ["0.1", "2"], "keep_ratio is 2"),
        ("top-k", "1.5", "top_k is 1.5; it must be a whole number from 1 to 100"),
        ("top-k", "inf", "top_k is inf"),
        ("selection", "randon", "'random'"),
        ("keep-ration", "0.1", "'--keep-ratio'"),
        ("figre", "all", "'--figure'"),
    ],
)
def test_mistakes_are_named(name: str, text: str | list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        resolve_options({name: text}, KNOWN, others=("figure",))


def test_values_of_python_are_checked_alike() -> None:
    assert checked_value(RATIO, 1) == 1.0
    assert checked_value(TOP, 3.0) == 3
    for option, value in ((RATIO, True), (RATIO, "0.5"), (TOP, 2.5), (TOP, 0)):
        with pytest.raises(ConfigError):
            checked_value(option, value)
    with pytest.raises(UnknownNameError):
        checked_value(WAY, "none")


def test_words_are_divided_into_sources_and_options(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-odd.png").touch()
    words = ["a.png", "--keep-ratio", "0.5", "-", "--shift=-1", "-odd.png", "--level", "-2", "b.png", "--last"]
    sources, options = split_options(words)
    assert sources == ["a.png", "-", "-odd.png", "b.png"]
    assert options == {"keep-ratio": "0.5", "shift": "-1", "level": "-2", "last": ""}
