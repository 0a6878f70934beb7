"""Shapes of a VT-ResNet's tensors, and the configuration that they determine. No weights were ever published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sparsevision.models.layouts import Layout, ShapeReader
from sparsevision.models.visual_transformer.config import STAGES

OWN_TENSORS = ("vt.0.transformer.ff1.weight", "vt.0.transformer.linear.weight")
LABEL_SETS: Mapping[int, str] = {}
LAYOUTS: tuple[Layout, ...] = ()


def infer_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Returns the configuration's fields that names and shapes determine.

    Heads, the iterations of k-means, whether tokens are renewed wholly or by half, and how many tokens are pooled or
    clustered leave no trace.
    """
    read = ShapeReader(state)
    read.note("width", "conv1.weight", 0)
    read.note("in_chans", "conv1.weight", 1)
    read.note("num_classes", "fc.weight", 0)
    for linear in ("ff1", "linear"):
        read.note("token_width", f"vt.0.transformer.{linear}.weight", 0)
    for tokens in ("tokenizer.coef.weight", "transformer.adjacency"):
        read.note("num_tokens", f"vt.0.{tokens}", 0)
    read.note("feature_width", "vt.0.projector.query.weight", 0)
    found = read.fields
    if modules := read.count("vt."):
        found["num_modules"] = modules
    expansion = 4 if "layer3.0.conv3.weight" in state else 1
    for depth, (repeats, its_expansion) in STAGES.items():
        if (repeats[2], its_expansion) == (read.count("layer3."), expansion):
            found["depth"] = depth
    return found
