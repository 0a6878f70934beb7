"""Notebooks run from the first cell to the last, in a folder of their own."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from sparsevision import cli

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    scope: dict[str, Any] = {}
    with contextlib.chdir(tmp_path):
        for cell in json.loads(path.read_text())["cells"]:
            # A reader's training is the same, only longer.
            source = re.sub(r"--epochs \d+", "--epochs 1", "".join(cell["source"]))
            if cell["cell_type"] != "code":
                continue
            if source.startswith("!sparsevision "):
                assert cli.main(shlex.split(source)[1:]) == 0, source
            else:
                exec(compile(source, str(path), "exec"), scope)
