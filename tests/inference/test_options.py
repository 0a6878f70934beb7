"""Options given as text or in Python: numbers within their range, values of a choice, and sentences for the rest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from sparsevision.cli.names import split_options
from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.inference.options import checked_value, resolve_options
from sparsevision.types import Choice, Control, TextOption

RATIO = Control("keep_ratio", 0.3, 0.01, 1.0, "share of tokens")
TOP = Control("top_k", 5, 1, 100, "classes", whole=True)
KIND = Choice("selection", "dam", ("dam", "random"), "how tokens are chosen")
LABEL = TextOption("label", None, "a class")
KNOWN = (RATIO, TOP, KIND, LABEL)


def test_text_becomes_values_in_the_order_given() -> None:
    given = {"top-k": "3", "keep_ratio": "0.5", "selection": "random", "--label": "7"}
    found = resolve_options(given, KNOWN)
    assert list(found.items()) == [("top_k", 3), ("keep_ratio", 0.5), ("selection", "random"), ("label", "7")]
    assert [type(value) for value in found.values()] == [int, float, str, str]
    assert resolve_options({"keep-ratio": ["0.1", "1"], "selection": ["dam"]}, KNOWN) == {
        "keep_ratio": [0.1, 1.0], "selection": ["dam"],
    }  # fmt: skip
    assert resolve_options({"top-k": "1e1"}, KNOWN) == {"top_k": 10}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"keep-ratio": "much"}, "'much'; it must be a number"),
        ({"keep-ratio": "2"}, "from 0.01 to 1"),
        ({"keep-ratio": "nan"}, "from 0.01 to 1"),
        ({"keep-ratio": ["0.5", "0"]}, "from 0.01 to 1"),
        ({"keep-ratio": ""}, "--keep-ratio is given without a value"),
        ({"keep-ratio": []}, "--keep-ratio is given without a value"),
        ({"top-k": "2.5"}, "whole number from 1 to 100"),
        ({"selection": "randon"}, "'random'"),
        ({"keep-ration": "0.5"}, "'--keep-ratio'"),
        ({"devise": "cpu"}, "'--device'"),
        ({"quantum": "1"}, "for this model is --keep-ratio, --top-k, --selection, --label"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_options(given, KNOWN, others=("device", "out"))
    assert said in str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.array(0.5), np.float32(0.5), torch.tensor(0.5), torch.tensor(0.5).half()])
def test_numbers_of_other_libraries_are_numbers(value: Any) -> None:
    assert checked_value(RATIO, value) == 0.5


@pytest.mark.parametrize(("value", "said"), [("0.5", "keep_ratio is '0.5'; it must be a number from"), (2, "is 2; it")])
def test_what_is_no_number_is_told_so(value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        checked_value(RATIO, value)


def test_options_of_the_command_stand_before_the_names_of_files() -> None:
    with pytest.raises(ConfigError, match="--batch-size stands behind --, where names of files stand"):
        resolve_options({"batch-size": "1"}, KNOWN, others=("batch-size", "out"))


@pytest.mark.parametrize("value", [True, "0.5", None, math.inf, 0, 1.01])
def test_a_control_takes_numbers_of_its_range_alone(value: Any) -> None:
    with pytest.raises(ConfigError, match="keep_ratio is"):
        checked_value(RATIO, value)


def test_values_in_python_have_the_kind_of_their_option() -> None:
    assert checked_value(RATIO, 1) == 1.0
    assert isinstance(checked_value(RATIO, 1), float)
    assert isinstance(checked_value(TOP, 3.0), int)
    assert checked_value(KIND, "dam") == "dam"
    with pytest.raises(UnknownNameError, match="'random'"):
        checked_value(KIND, "rand")
    with pytest.raises(ConfigError, match="whole number"):
        checked_value(TOP, 2.5)


def test_words_are_sources_or_options(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-odd.jpg").write_bytes(b"")
    words = [
        "a.jpg",
        "--top-k",
        "3",
        "-",
        "--keep-ratio=0.5",
        "-odd.jpg",
        "--threshold",
        "-1",
        "--page",
        "--label",
        "x y",
    ]
    sources, options = split_options(words)
    assert sources == ["a.jpg", "-", "-odd.jpg"]
    assert options == {"top-k": "3", "keep-ratio": "0.5", "threshold": "-1", "page": "", "label": "x y"}
