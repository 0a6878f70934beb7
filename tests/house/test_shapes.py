"""The shapes that stand in the types are the shapes that run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_layers_and_models_keep_to_their_annotated_shapes(repository: Path) -> None:
    places = [
        place
        for place in ("tests/kernels", "tests/packing", "tests/models", "tests/house/test_models.py")
        if (repository / place).exists()
    ]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--check-shapes",
        "-q",
        "-m",
        "not slow",
        # What runs a model anew with the shapes of another test adds nothing.
        "-k",
        "not saved_and_loaded and not same_numbers and not same_answer and not tracing_changes and not batch",
        "-p",
        "no:cacheprovider",
        *places,
    ]
    ended = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-4000:]
