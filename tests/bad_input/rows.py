"""What a row of the table of bad input says, and the commands that rows share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench import Bench


@dataclass(frozen=True)
class Outcome:
    """`words` are said by the sentence (refused), on stderr (skipped, noted) or on stdout (read)."""

    kind: Literal["refused", "skipped", "noted", "read", "read alike"]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    id: str
    wrong: str
    command: str
    make: Callable[[Bench], object]
    outcome: Outcome


def refused(*words: str) -> Outcome:
    """Status 2, and one line on stderr with these words in it."""
    return Outcome("refused", words)


def skipped(*words: str) -> Outcome:
    """The work goes on; at the end it is counted and named."""
    return Outcome("skipped", words)


def noted(*words: str) -> Outcome:
    """It is used, and a line on stderr says how."""
    return Outcome("noted", words)


def read(*words: str) -> Outcome:
    """Nothing is wrong with it after all."""
    return Outcome("read", words)


ALIKE = Outcome("read alike", ())  # read, and the model says of it what it says of the good image


def nothing(bench: Bench) -> None:
    """For what is wrong with the command alone."""


PREDICT = "predict {bad} {image} --model {model} --json --top-k 3"
EXPLAIN = "explain {image} --model {model} --out {out}"
EVALUATE = "evaluate {model} --data {bad}"
TRAIN = "train --data {bad} --recipe {recipe} --out {out}"
RECIPE = "train --data {data} --recipe {bad} --out {out}"
SET = "train --data {data} --recipe {recipe} --out {out} --set"
LOAD = "predict {image} --model {bad}"
TEACH = "train --data {data} --recipe {recipe} --out {out} --set distillation.teacher={bad}"
RESUME = "train --out {bad} --resume"
SCORE = "evaluate {model} --data {data}"
MEASURE = "benchmark --models sparseformer_nano --rounds 1 --batches 1"
