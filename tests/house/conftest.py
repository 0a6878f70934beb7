"""What a reader of the documents has on disk."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_detector import save_tiny_detector


@pytest.fixture(scope="session")
def reader(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's folder: pictures, a recipe, a trained classifier and a detector. Copy it before writing there."""
    from sparsevision import create_model
    from sparsevision.checkpoints import save_checkpoint
    from sparsevision.factory import preprocessing_of
    from sparsevision.training import read_recipe
    from sparsevision.types import ClassFacts

    folder = tmp_path_factory.mktemp("reader") / "files"
    shutil.copytree(photographs, folder)
    (folder / "my_recipe.toml").write_text(read_recipe("folder_nano").to_toml())
    name = "sparseformer_nano"
    model, preprocessing = create_model(name, num_classes=2), preprocessing_of(name)
    save_checkpoint(
        folder / "runs" / "mine" / "best", model, name=name, preprocessing=preprocessing, labels=("round", "square")
    )
    # It finds objects in anything, so that there is one to follow.
    save_tiny_detector(folder / "runs" / "cells" / "best", facts=ClassFacts(thresholds=(0.0, 0.0)))
    shutil.copy(folder / "cat.jpg", folder / "cells.jpg")
    return folder
