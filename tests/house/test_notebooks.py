"""Notebooks run from the first cell to the last, in a folder of their own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    scope: dict[str, Any] = {}
    # Where the package's command is, as in a notebook of this environment.
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with contextlib.chdir(tmp_path):
        for cell in json.loads(path.read_text())["cells"]:
            # A reader's training is the same, only longer.
            source = re.sub(r"--epochs \d+", "--epochs 1", "".join(cell["source"]))
            if cell["cell_type"] != "code":
                continue
            if source.startswith("!"):
                ended = subprocess.run(
                    source.removeprefix("!"), shell=True, check=False, capture_output=True, text=True,
                    env={**os.environ, "PATH": places},
                )  # fmt: skip
                assert ended.returncode == 0, (source, ended.stderr[-2000:])
            else:
                exec(compile(source, str(path), "exec"), scope)
