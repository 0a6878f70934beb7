"""The families of networks, one entry a folder, and the models that their folders name.

Paths are dotted and imported late, so that a listing imports no network, and a network no other family's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    authors publish it; a fetched file must have it. `preprocessing` is theirs where it is not the variant's.
    """

    location: str
    source: str
    reported: float | None = None
    sha256: str | None = None
    preprocessing: Preprocessing | None = None


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A model as its family's folder describes it.

    `weights` are those that are published for it, by tag: in "sparseformer_nano.caltech101" the tag is "caltech101". A
    name without a tag means the first. `int8` are the formats of an export in which eight bits were shown to pay: at
    least 1.3 times as fast for at most one point of the score.
    """

    config: Any
    preprocessing: Preprocessing
    paper: str
    weights: Mapping[str, Weights] = field(default_factory=dict)
    int8: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NamedVariant:
    """A model with its registered name, its family, and one of its weights.

    `tags` are those of all weights that there are for it, and `tag` is that of `weights`.
    """

    name: str
    family: Family
    config: Any
    preprocessing: Preprocessing
    paper: str
    int8: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tag: str | None = None
    weights: Weights | None = None

    @property
    def tagged_names(self) -> tuple[str, ...]:
        """The name with each tag that there is."""
        return tuple(f"{self.name}.{tag}" for tag in self.tags)

    @property
    def tagged_name(self) -> str:
        """The name with the tag, where there is one."""
        return self.name if self.tag is None else f"{self.name}.{self.tag}"


def variants() -> Mapping[str, NamedVariant]:
    """Returns every model of the table by name."""
    return _variants_of(tuple(FAMILIES.values()))


@cache
def _variants_of(families: tuple[Family, ...]) -> Mapping[str, NamedVariant]:
    return {
        name: _tagged(name, family, variant, next(iter(variant.weights), None))
        for family in families
        for name, variant in import_module(family.variants).VARIANTS.items()
    }


def _tagged(name: str, family: Family, variant: Variant, tag: str | None) -> NamedVariant:
    weights = None if tag is None else variant.weights[tag]
    rest = {**vars(variant), "weights": weights}
    if weights is not None and weights.preprocessing is not None:
        rest["preprocessing"] = weights.preprocessing
    return NamedVariant(name=name, family=family, tags=(*variant.weights,), tag=tag, **rest)


def is_registered(name: str) -> bool:
    """Returns whether a name is that of a model here, with or without a tag of its weights."""
    bare, dot, tag = name.partition(".")
    return bare in variants() and (not dot or tag in variants()[bare].tags)


def without_tag(name: str) -> str:
    """Returns the name of a model here without the tag of its weights, and any other name as it is."""
    return name.partition(".")[0] if is_registered(name) else name


def variant_named(name: str) -> NamedVariant:
    """Returns a registered model, with the weights of the name's tag or the first ones.

    Raises UnknownNameError with the nearest names where there is no such model, or no such weights of it.
    """
    known = variants()
    bare, dot, tag = name.partition(".")
    if bare not in known:
        raise UnknownNameError("model", name, known, advice="See `sparsevision models`; timm's models are 'timm/NAME'.")
    found = known[bare]
    if not dot or tag == found.tag:
        return found
    if tag not in found.tags:
        raise UnknownNameError("model with a tag", name, found.tagged_names or (bare,))
    described: Variant = import_module(found.family.variants).VARIANTS[bare]
    return _tagged(bare, found.family, described, tag)
