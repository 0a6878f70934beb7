"""The weights that the package brings are small, described, and load strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsevision import create_model

FOLDER = Path(__file__).resolve().parents[2] / "src" / "sparsevision" / "weights"
SHIPPED = sorted(FOLDER.glob("*.safetensors"))


def test_they_are_small() -> None:
    sizes = [path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()]
    assert max(sizes) <= 20_000_000
    assert sum(sizes) <= 38_000_000


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_they_load_and_have_a_card(path: Path) -> None:
    model = create_model(path.stem, pretrained=True)
    assert len(model.identity.labels) == model.num_classes
    assert list(FOLDER.glob(f"{path.stem}*.md"))
