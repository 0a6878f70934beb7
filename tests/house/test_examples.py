"""The examples run as their heads say."""

from __future__ import annotations

import contextlib
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from sparsevision import cli

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(
    example: Path, reader: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = re.findall(r"^\$ sparsevision (.*)$", example.read_text(), re.MULTILINE)
    command = re.search(r"^\$ python examples/(.*)$", example.read_text(), re.MULTILINE)
    assert command, "the head says no command"
    name, *arguments = shlex.split(command[1])
    assert name == example.name
    shutil.copytree(reader, tmp_path / "reader")
    monkeypatch.setattr(sys, "argv", [str(example), *arguments])
    with contextlib.chdir(tmp_path / "reader"):
        for line in before:
            assert cli.main(shlex.split(line)) == 0
        runpy.run_path(str(example), run_name="__main__")
        assert capsys.readouterr().out
        assert all(Path(argument).exists() for argument in arguments)
