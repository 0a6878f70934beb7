"""State dicts of released models, made from the recorded names and shapes; and models small enough to save at will."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparsevision.factory import create_model

RECORD = Path(__file__).parents[1] / "golden" / "sparseformer" / "variants" / "state_dicts.json.gz"
SMALL = {"num_tokens": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 64, "cortex_width": 64}


@pytest.fixture(scope="session")
def shapes() -> dict[str, dict[str, list[int]]]:
    """{"v1/tiny": {name: shape}}, as the released codes have them."""
    with gzip.open(RECORD) as file:
        return {key: value["tensors"] for key, value in json.load(file).items()}


@pytest.fixture
def released(shapes: dict[str, dict[str, list[int]]]) -> Callable[[str], dict[str, Tensor]]:
    """A released state dict without values."""
    return lambda key: {name: torch.empty(shape, device="meta") for name, shape in shapes[key].items()}


@pytest.fixture
def small() -> Callable[..., nn.Module]:
    """A nano cut down to a few kilobytes; its fields can be overridden."""

    def make(**config: Any) -> nn.Module:
        torch.manual_seed(0)
        return create_model("sparseformer_nano", **{**SMALL, "cortex_depth": 2, "num_classes": 3, **config}).eval()

    return make
