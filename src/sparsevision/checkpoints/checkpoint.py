"""Content of a file of weights: tensors under our names, and the model's description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from sparsevision.checkpoints.layouts import OURS
from sparsevision.types import ClassMetadata, Preprocessing

FORMAT_VERSION = 1
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
# What a person may give where weights are needed.
WANTED = "give a .safetensors or .pth file, or the folder of a checkpoint or of a run"
METADATA_KEY = "sparsevision"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights in memory.

    Attributes:
        layout: what the file's own names were.
        state: tensors by our names.
        model_name, config, preprocessing, labels, class_metadata: described in our own format; None in other files.
        origin: where it came from, for messages.
        original_names: our name -> the name in the file, for every tensor.
    """

    layout: str
    state: Mapping[str, Tensor]
    model_name: str | None = None
    config: Mapping[str, Any] | None = None
    preprocessing: Preprocessing | None = None
    labels: tuple[str, ...] | None = None
    origin: str = "the state dict"
    original_names: Mapping[str, str] = field(default_factory=dict)
    class_metadata: ClassMetadata | None = None


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """Report of loading, tensor by tensor.

    `renamed` are (name in the file, our name); `missing` were absent and tolerated (zeros); `unexpected` were in the
    file and had no use; `fresh` kept the model's initialisation because that was asked for; `adapted` were summed or
    repeated over the image's channels. `classes` are how many outputs came from the file's class of the same name, and
    of how many, where names were compared.
    """

    loaded: int = 0
    layout: str = OURS
    origin: str = ""
    renamed: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    adapted: list[str] = field(default_factory=list)
    classes: tuple[int, int] | None = None

    def __str__(self) -> str:
        lines = [f"{self.loaded} tensors from {self.origin} (layout {self.layout}, {len(self.renamed)} renamed)"]
        kinds = ("missing", "unexpected", "fresh", "adapted")
        if self.classes is not None:
            lines.append("  outputs: {} of {} by the names of their classes".format(*self.classes))
        lines += [f"  {kind}: {', '.join(names)}" for kind in kinds if (names := getattr(self, kind))]
        return "\n".join(lines)
