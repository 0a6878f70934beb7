"""The families of networks, one entry a folder, and the models that their folders name.

Paths are dotted and imported late, so that a listing imports no network, and a network no other family's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from torch import nn

from sparsevision.errors import UnknownNameError
from sparsevision.types import Preprocessing


@dataclass(frozen=True, kw_only=True)
class Family:
    """One folder of networks.

    Attributes:
        name: of the folder, or of a part of it that is a network of its own.
        task: the registered task that the networks are for.
        module, class_name: of the network, which is built from a configuration.
        variants: module with `VARIANTS`, the named models.
        state_dict: module with `OWN_TENSORS`, names that only this family's tensors have here; `infer_config`, fields
            of the configuration from shapes; `LAYOUTS`, of released files; `LABEL_SETS`, the public label set of a
            released head by its number of outputs. None: files of our own format alone.
        published: module with `COSTS`, the published costs; None where nothing was published.
        answers_timm: whether the networks have timm's verbs.
        pipeline_tag, tags: of model cards on the Hub.
    """

    name: str
    task: str
    module: str = ""
    class_name: str = ""
    variants: str = ""
    state_dict: str | None = None
    published: str | None = None
    answers_timm: bool = False
    pipeline_tag: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def model_class(self) -> type[nn.Module]:
        """The network's class."""
        found: type[nn.Module] = getattr(import_module(self.module), self.class_name)
        return found


def _folder(name: str, class_name: str, **rest: Any) -> Family:
    """Describes a folder whose files have the usual names."""
    folder = f"sparsevision.models.{name}"
    return Family(
        name=name, module=f"{folder}.network", class_name=class_name, variants=f"{folder}.variants",
        state_dict=f"{folder}.state_dict", published=f"{folder}.published", **rest,
    )  # fmt: skip


def _part(folder: str, part: str, class_name: str, **rest: Any) -> Family:
    """Describes a network of another task in the folder of its family; there are files of our own format alone."""
    path = f"sparsevision.models.{folder}.{part}"
    return Family(
        name=f"{folder}_{part}", module=path, class_name=class_name, variants=f"{path}_variants",
        published=f"{path}_published", **rest,
    )  # fmt: skip


_IMAGES: dict[str, Any] = {"task": "classification", "answers_timm": True, "pipeline_tag": "image-classification"}
_BOXES: dict[str, Any] = {"task": "detection", "pipeline_tag": "object-detection"}
_MASKS: dict[str, Any] = {"task": "segmentation", "pipeline_tag": "image-segmentation"}
_CLIPS: dict[str, Any] = {"task": "video_classification", "pipeline_tag": "video-classification"}
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        _folder("sparseformer", "SparseFormer", **_IMAGES, tags=("sparseformer", "pytorch")),
        _folder("sparse_detr", "SparseDETR", **_BOXES, tags=("sparse-detr", "pytorch")),
        _folder("visual_transformer", "VTResNet", **_IMAGES, tags=("visual-transformers", "pytorch")),
        _part("visual_transformer", "fpn", "FPNSegmenter", **_MASKS, tags=("visual-transformers", "pytorch")),
        _part("sparseformer", "segmenter", "SparseFormerSegmenter", **_MASKS, tags=("sparseformer", "pytorch")),
        _part("sparseformer", "detector", "SparseFormerDetector", **_BOXES, tags=("sparseformer", "pytorch")),
        _part("sparseformer", "video", "VideoSparseFormer", **_CLIPS, tags=("sparseformer", "pytorch")),
    )
}
# The models behind "timm/NAME", which have no folder here.
TIMM = Family(name="timm", **_IMAGES)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Published weights of a variant: where the file lies, and the accuracy that its authors report, in percent.

    `location` is an address, or a file name inside the package's weights folder. `reported` is the top-1 accuracy of a
    classifier and the average precision (AP) of a detector. `sha256` is the file's, in hexadecimal digits, where its
    authors publish it; a fetched file must have it.
    """

    location: str
    source: str
    reported: float | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A model as its family's folder describes it.

    `int8` are the formats of an export in which eight bits were shown to pay: at least 1.3 times as fast for at most
    one point of the score.
    """

    config: Any
    preprocessing: Preprocessing
    paper: str
    weights: Weights | None = None
    int8: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NamedVariant(Variant):
    """A model with its registered name and its family."""

    name: str
    family: Family


def variants() -> Mapping[str, NamedVariant]:
    """Returns every model of the table by name."""
    return _variants_of(tuple(FAMILIES.values()))


@cache
def _variants_of(families: tuple[Family, ...]) -> Mapping[str, NamedVariant]:
    return {
        name: NamedVariant(**vars(variant), name=name, family=family)
        for family in families
        for name, variant in import_module(family.variants).VARIANTS.items()
    }


def variant_named(name: str) -> NamedVariant:
    """Returns a registered model; raises UnknownNameError with the nearest names where there is none."""
    known = variants()
    if name not in known:
        raise UnknownNameError("model", name, known, advice="See `sparsevision models`; timm's models are 'timm/NAME'.")
    return known[name]
