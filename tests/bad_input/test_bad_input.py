"""Runs the table of bad input through the command line: refused in one sentence, skipped and counted, or read."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import warnings

import pytest
from bench import Bench, photograph
from PIL import Image
from table import TABLE

from sparsevision.cli import main

pytestmark = pytest.mark.slow  # whole commands, by the hundred


@pytest.mark.parametrize("name", TABLE)
def test_bad_input(
    name: str, bench: Bench, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    row = TABLE[name]
    bad = row.make(bench)
    arguments = [filled(word, bench, bad) for word in row.command.split()]
    capfd.readouterr()
    status = run(arguments)
    bench.left.close()
    out, err = capfd.readouterr()
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert not (bench.place / "sprung").exists(), "code in a pickle was executed"
    assert "Traceback" not in err
    CHECKS[row.outcome.kind](status, out, err, row.outcome.words)


def filled(word: str, bench: Bench, bad: object) -> str:
    """Puts paths where a command's word has braces; only what is named is made."""
    names = re.findall(r"(?<!{){(\w+)}", word)
    return word.format(**{name: bad if name == "bad" else getattr(bench, name) for name in names})


def run(arguments: list[str]) -> int:
    """Runs a command in this process, with all that a process of its own would print printed."""
    sys.stdout.reconfigure(errors="strict")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(threading, "excepthook", threading.__excepthook__)
        patch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
        warnings.resetwarnings()
        for unseen in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", unseen)
        patch.setattr(warnings, "showwarning", _show)
        return main(arguments)


def _show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
    print(warnings.formatwarning(message, category, filename, lineno), file=sys.stderr)


def is_progress(line: str) -> bool:
    """Says whether a line on stderr belongs to any run: its recipe and data, how long it takes, how an epoch went."""
    told = ("Recipe: ", "Training on ", "Scoring ", "Resuming ", "The centre crop never shows ", "epoch ")
    return line.startswith(told) or re.search(" steps? takes? about ", line) is not None  # where a machine is slow


def check_refused(status: int, out: str, err: str, words: tuple[str, ...]) -> None:
    lines = [line for line in err.splitlines() if not is_progress(line)]
    assert len(lines) == 1, err
    (sentence,) = lines
    assert status == 2, sentence
    assert sentence.startswith("sparsevision: ")
    assert sentence.endswith((".", "?"))
    assert len(sentence) < 700
    assert [word for word in words if word not in sentence] == [], sentence


def check_skipped(status: int, out: str, err: str, words: tuple[str, ...]) -> None:
    assert status == 0, err
    assert [word for word in words if word not in err] == [], err
    assert re.search(
        r"\b1 of \d+ could not be used|^samples that could not be read and were omitted: 1$", out + err, re.MULTILINE
    )
    assert all(line.startswith(("  ", "skipped ", "1 of ")) or is_progress(line) for line in err.splitlines()), err


def check_noted(status: int, out: str, err: str, words: tuple[str, ...]) -> None:
    assert status == 0, err
    lines = [line for line in err.splitlines() if not is_progress(line)]
    assert all(any(word in line for line in lines) for word in words), err
    assert len(lines) == len(words), err


def check_read(status: int, out: str, err: str, words: tuple[str, ...]) -> None:
    assert [line for line in err.splitlines() if not is_progress(line)] == []
    assert status == 0
    assert [word for word in words if word not in out] == [], out


def check_read_alike(status: int, out: str, err: str, words: tuple[str, ...]) -> None:
    check_read(status, out, err, words)
    odd, plain = scores(out)
    assert odd == pytest.approx(plain, abs=TOLERANCE)


def scores(lines: str) -> list[dict[str, float]]:
    """Reads what `predict --json` says of each image."""
    return [{one["label"]: one["score"] for one in json.loads(line)["classes"]} for line in lines.splitlines()]


CHECKS = {
    "refused": check_refused, "skipped": check_skipped, "noted": check_noted, "read": check_read,
    "read alike": check_read_alike,
}  # fmt: skip
TOLERANCE = 0.001


def test_the_table_is_as_long_as_was_promised() -> None:
    assert len(TABLE) >= 40
    assert len({(row.wrong, row.command) for row in TABLE.values()}) == len(TABLE)


def test_the_model_tells_the_photograph_from_one_read_wrongly(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    lying = photograph().transpose(Image.Transpose.ROTATE_90)
    without_red = Image.merge("RGB", [Image.new("L", (48, 32)), *photograph().split()[1:]])
    wrong = [bench.encoded(f"{number}.png", image) for number, image in enumerate((lying, without_red))]
    assert main(["predict", *map(str, [bench.image, *wrong]), "--model", str(bench.model), "--json"]) == 0
    right, *others = scores(capsys.readouterr().out)
    assert all(other != pytest.approx(right, abs=5 * TOLERANCE) for other in others)
