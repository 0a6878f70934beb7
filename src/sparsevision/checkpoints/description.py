"""The JSON that our own format keeps beside the tensors: which model, its input, its labels."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sparsevision.checkpoints.checkpoint import FORMAT_VERSION
from sparsevision.errors import CheckpointError
from sparsevision.types import ClassMetadata, Preprocessing

# Far beyond any model, and small enough that nothing built from a damaged file fills the memory.
_LARGEST_NUMBER = 1_000_000
_LARGEST_SIDE, _LARGEST_AREA = 4096, 1 << 23  # pixels of what a model sees
_MOST, _LONGEST_CLIP = 1024, 3600.0  # frames, clips, crops; seconds


# What timm reads in the same file, so that it can open the folder by timm.create_model("local-dir:FOLDER").
_TIMMS = ("architecture", "num_classes", "num_features", "pretrained_cfg", "label_names", "model_args")


class Description(BaseModel):
    """Description of a model in our format; unknown keys at the top are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    format_version: int
    model: Annotated[str, Field(min_length=1)]
    config: dict[str, Any]
    preprocessing: Preprocessing
    labels: tuple[str, ...] | None = None
    class_metadata: Annotated[ClassMetadata | None, Field(alias="facts")] = None


def format_description(
    model: str, config: Mapping[str, Any], preprocessing: Preprocessing, labels: Sequence[str] | None,
    class_metadata: ClassMetadata | None = None, for_timm: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """Writes the JSON of a checkpoint; `for_timm` are timm's own keys, which are not read here."""
    content = {
        "format_version": FORMAT_VERSION, "model": model, "config": dict(config),
        "preprocessing": asdict(preprocessing), "labels": None if labels is None else list(labels),
    }  # fmt: skip
    if class_metadata not in (None, ClassMetadata()):
        content["facts"] = {name: value for name, value in asdict(class_metadata).items() if value is not None}
    content |= {key: value for key, value in (for_timm or {}).items() if key in _TIMMS}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def parse_description(text: str, origin: str) -> Description:
    """Reads the JSON of a checkpoint; raises CheckpointError if it is damaged, of another version, or invalid."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"The description of the model in {origin!r} is not intact JSON.") from error
    if not isinstance(content, dict) or "format_version" not in content:
        raise CheckpointError(
            f"The JSON in {origin!r} does not describe a sparsevision model: it has no 'format_version'."
        )
    if content["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{origin!r} has format version {str(content['format_version'])[:40]}, and this sparsevision reads version "
            f"{FORMAT_VERSION}: update the package, or save the model again with it."
        )
    try:
        description = Description.model_validate({key: content[key] for key in content if key not in _TIMMS})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:80]
        raise CheckpointError(
            f"The description of the model in {origin!r} is wrong at {where!r}: {first['msg']}."
        ) from error
    _check_classes(description, origin)
    _check_numbers(description.config, origin)
    _check_preprocessing(description.preprocessing, origin)
    return description


def _check_classes(description: Description, origin: str) -> None:
    labels, metadata = description.labels, description.class_metadata or ClassMetadata()
    counts = (
        ("labels", labels, description.config.get("num_classes"), "outputs"),
        ("category_ids", metadata.category_ids, len(labels or ()), "labels"),
        ("thresholds", metadata.thresholds, len(labels or ()), "labels"),
        ("f1", metadata.f1, len(labels or ()), "labels"),
    )
    for name, values, count, counted in counts:
        if values is not None and len(values) != count:
            given = f"{len(values)} {name} for {str(count)[:40]} {counted}"
            raise CheckpointError(f"{origin!r} has {given}: they must be as many.")
    for name in ("thresholds", "f1"):
        if not all(value is None or 0 <= value <= 1 for value in getattr(metadata, name) or ()):
            raise CheckpointError(f"{origin!r} has {name} that are not scores: each must be from 0 to 1.")


def _check_numbers(config: Mapping[str, Any], origin: str) -> None:
    for name, value in config.items():
        if isinstance(value, int | float) and not abs(value) <= _LARGEST_NUMBER:
            raise CheckpointError(f"{name[:80]!r} is {str(value)[:40]} in {origin!r}, which no model has.")


def _check_preprocessing(preprocessing: Preprocessing, origin: str) -> None:
    sides, channels = preprocessing.size, (*preprocessing.mean, *preprocessing.std)
    fits = (
        0 < preprocessing.crop_fraction <= 1
        and all(1 <= side <= _LARGEST_SIDE * preprocessing.crop_fraction for side in sides)
        and sides[0] * sides[1] <= _LARGEST_AREA
        and all(math.isfinite(value) for value in channels)
        and all(value > 0 for value in preprocessing.std)
        and len(preprocessing.mean) == len(preprocessing.std) > 0
        and 1 <= preprocessing.multiple <= _LARGEST_SIDE
    )
    _check_clips(preprocessing, origin)
    if not fits:
        raise CheckpointError(
            f"The preprocessing in {origin!r} is invalid: sizes must be 1 to 4096 and 8 million pixels at most, "
            "crop_fraction above 0 and at most 1 (size / crop_fraction at most 4096, too), means finite, as many "
            "deviations as means, and all of them positive."
        )


def _check_clips(preprocessing: Preprocessing, origin: str) -> None:
    frames, stride, seconds = preprocessing.frames, preprocessing.frame_stride, preprocessing.clip_seconds
    counts = [count for count in (frames, stride, preprocessing.clips, preprocessing.crops) if count is not None]
    fits = (
        all(isinstance(count, int) and 1 <= count <= _MOST for count in counts)
        and (seconds is None or (isinstance(seconds, int | float) and 0 < seconds <= _LONGEST_CLIP))
        and not (stride and seconds)
        and (frames is not None or (stride is None and seconds is None))
    )
    if not fits:
        raise CheckpointError(
            f"The preprocessing in {origin!r} is invalid: frames, frame_stride, clips and crops must be whole "
            f"numbers from 1 to {_MOST}, clip_seconds above 0 and at most {_LONGEST_CLIP:g}, and frame_stride and "
            "clip_seconds not be given both."
        )
