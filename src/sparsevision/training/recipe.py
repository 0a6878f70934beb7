"""Recipes: one TOML file that says everything a run needs, checked before anything is computed.

A recipe is read from the package by name (`caltech101_nano`) or from a path, may be overridden field by field
(`optimiser.lr=1e-3`), and is written into the run folder as it was resolved.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from sparsevision.errors import ConfigError, UnknownNameError


class Section(BaseModel):
    """One table of a recipe: unknown keys are refused, values never change after they were checked."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _none_is_spelled(cls, values: Any) -> Any:
        # TOML has no null: a field that may be absent is switched off by the word "none".
        if not isinstance(values, dict):
            return values
        return {key: None if value == "none" and cls._may_be_none(key) else value for key, value in values.items()}

    @classmethod
    def _may_be_none(cls, key: str) -> bool:
        return key in cls.model_fields and type(None) in get_args(cls.model_fields[key].annotation)


class ModelSection(Section):
    """Which network, with which weights it starts.

    `backbone` fills the backbone alone of a model that has one, with a file of a classifier's weights in timm's names,
    or with those that timm publishes: as "pretrained" its usual ones, as "timm/NAME" those of that name.
    """

    name: str = "sparseformer_nano"
    pretrained: bool = False
    checkpoint: str | None = None
    backbone: str | None = None
    fresh_tokens: bool = False
    freeze_batch_norm: bool = False
    config: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.pretrained and self.checkpoint:
            raise ValueError("pretrained and checkpoint were both given: choose one of the two")
        return self


class TransformSection(Section):
    """What happens to a picture in training, in the order of the fields; see `data.transforms.TransformSettings`."""

    crop_scale: tuple[PositiveFloat, PositiveFloat] = (0.08, 1.0)
    crop_ratio: tuple[PositiveFloat, PositiveFloat] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic", "random"] = "bicubic"
    flip: float = Field(default=0.5, ge=0.0, le=1.0)
    rand_augment: str | None = None
    auto_augment: Literal["original", "v0"] | None = None
    color_jitter: NonNegativeFloat = 0.0
    erasing: float = Field(default=0.0, ge=0.0, le=1.0)
    erasing_mode: Literal["pixel", "constant"] = "pixel"


class DetectionSection(Section):
    """What happens to a picture with boxes in training, in the order of the fields; see `data.detection`."""

    short_sides: tuple[PositiveInt, ...] = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    longest: PositiveInt = 1333
    flip: float = Field(default=0.5, ge=0.0, le=1.0)
    crop: float = Field(default=0.5, ge=0.0, le=1.0)
    crop_from: tuple[PositiveInt, ...] = (400, 500, 600)
    crop_sides: tuple[PositiveInt, PositiveInt] = (384, 600)
    color_jitter: NonNegativeFloat = 0.0


class EvaluationSection(Section):
    """How a picture meets the model outside training; `size` None is the training size. See `types.Preprocessing`.

    With fit "short", `size` is the short side, and `longest` bounds the long one.
    """

    size: PositiveInt | None = None
    longest: PositiveInt = 1333
    fit: Literal["crop", "stretch", "whole", "short"] = "crop"
    crop_fraction: float = Field(default=0.875, gt=0.0, le=1.0)
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    batch: PositiveInt | None = None


class DataSection(Section):
    """What is learned from. `batch` counts pictures per optimiser step, over all devices and accumulated parts.

    With `held_out` that share of every class of train is not learned from and is scored instead of val, so that
    settings can be chosen without reading val. `split_seed` draws what is held out, and val where the data set has
    none. `decode_side` lets large JPEGs be decoded smaller for training. `shuffle` false keeps the data set's order,
    for one that gets harder in one epoch, as placed digits do; what `held_out` takes from those is as hard as they are.
    """

    spec: str | None = None
    size: PositiveInt = 224
    batch: PositiveInt = 128
    repeats: PositiveInt = 1
    shuffle: bool = True
    mixup: NonNegativeFloat = 0.0
    cutmix: NonNegativeFloat = 0.0
    mix_probability: float = Field(default=1.0, ge=0.0, le=1.0)
    mix_switch: float = Field(default=0.5, ge=0.0, le=1.0)
    decode_side: PositiveInt | None = None
    cache_mebibytes: NonNegativeInt = 0
    held_out: float = Field(default=0.0, ge=0.0, lt=1.0)
    split_seed: int = 0
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[PositiveFloat, ...] = (0.229, 0.224, 0.225)
    train: TransformSection = TransformSection()
    detection: DetectionSection = DetectionSection()
    evaluation: EvaluationSection = EvaluationSection()

    @model_validator(mode="after")
    def _decodes_enough(self) -> Self:
        if self.decode_side is not None and self.decode_side < self.size:
            raise ValueError(f"data.decode_side ({self.decode_side}) must be at least data.size ({self.size}), or none")
        return self

    @model_validator(mode="after")
    def _shows_everything(self) -> Self:
        if self.repeats > 1 and not self.shuffle:
            raise ValueError("data.repeats above 1 with data.shuffle = false would show the first pictures only")
        return self

    @property
    def mixes(self) -> bool:
        """Whether pictures of a batch are mixed at all."""
        return self.mix_probability > 0 and (self.mixup > 0 or self.cutmix > 0)


class OptimiserSection(Section):
    """How weights move. With `lr_for_batch` the rate is lr * data.batch / lr_for_batch, else it is lr as it stands.

    With lr_scaling "sqrt" it is the square root of that quotient by which lr is multiplied.

    SparseFormer's clamp of the points' gradients bounds a picture's share of the batch's mean, which in a small batch
    is large. `clamp_for_batch` is the batch for which the released bound is meant: it is multiplied by
    clamp_for_batch / data.batch. Models with other numerics than "v1" have no clamp.

    With `decay_norms` everything decays, also what the model spares: norms, biases, embeddings. Plain SGD did so.
    """

    name: str = "adamw"
    lr: PositiveFloat = 1e-3
    lr_for_batch: PositiveInt | None = None
    lr_scaling: Literal["linear", "sqrt"] = "linear"
    head_lr_factor: PositiveFloat = 1.0
    betas: tuple[float, float] | None = (0.9, 0.999)
    eps: PositiveFloat | None = 1e-8
    momentum: float | None = None
    weight_decay: NonNegativeFloat = 0.05
    decay_norms: bool = False
    layer_decay: float | None = Field(default=None, gt=0.0, le=1.0)
    clip: PositiveFloat | None = 5.0
    clamp_for_batch: PositiveInt | None = None


class ScheduleSection(Section):
    """The rate of each step, after a linear warm-up. `warmup_start` and `floor` are fractions of the peak rate.

    form "shifted": a cosine that begins at its top when the warm-up ends. form "released": SparseFormer's code, where
    the cosine's clock runs from step 0, and the scheduler lags one step (steps 0 and 1 share the start value). form
    "steps": the peak rate, multiplied by `drop` after each of the epochs in `drop_after`; it knows no floor, nor does
    "exponential", where the rate is multiplied by `drop` after every epoch behind the warm-up.
    """

    epochs: PositiveInt = 30
    warmup_epochs: NonNegativeFloat = 0.0
    warmup_start: float = Field(default=0.001, ge=0.0, le=1.0)
    floor: float = Field(default=0.01, ge=0.0, le=1.0)
    form: Literal["shifted", "released", "steps", "exponential"] = "shifted"
    drop_after: tuple[PositiveInt, ...] = ()
    drop: float = Field(default=0.1, gt=0.0, lt=1.0)

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs:g}) must be less than epochs ({self.epochs})")
        return self

    @model_validator(mode="after")
    def _drops_fit(self) -> Self:
        if bool(self.drop_after) != (self.form == "steps"):
            raise ValueError("drop_after names the epochs of form = 'steps', and of no other form")
        if any(later <= earlier for earlier, later in pairwise((*self.drop_after, self.epochs))):
            raise ValueError(f"drop_after ({list(self.drop_after)}) must rise, and stay below epochs ({self.epochs})")
        return self


class LossSection(Section):
    """Cross entropy's options; `class_weights` "balanced" weighs each class by the inverse of its share."""

    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    class_weights: Literal["none", "balanced"] | tuple[NonNegativeFloat, ...] = "none"


class DistillationSection(Section):
    """A teacher whose answers to the same augmented pictures are learned too.

    `teacher` is a run folder, a checkpoint folder, or a model's name (`timm/NAME`), then with `checkpoint`. `logits`
    and `features` are the weights of the two terms, `labels` that of the task's own loss.
    """

    teacher: str | None = None
    checkpoint: str | None = None
    config: dict[str, Any] = {}
    size: PositiveInt | None = None
    labels: NonNegativeFloat = 1.0
    logits: NonNegativeFloat = 1.0
    temperature: PositiveFloat = 2.0
    features: NonNegativeFloat = 0.0
    feature_loss: Literal["cosine", "mse"] = "cosine"
    bf16: bool = False
    compile: bool = False


class EmaSection(Section):
    """The average of the weights that is evaluated besides the raw model; decay 0 keeps none."""

    decay: float = Field(default=0.9999, ge=0.0, lt=1.0)
    warmup: bool = False


class RunSection(Section):
    """How the run is carried out; nothing here but `seed` and `precision` is meant to change its numbers.

    `sync_batch_norm` takes the statistics of batch norms over all devices of a step; a single device needs nothing.
    """

    seed: int = Field(default=0, ge=-(2**62), lt=2**62)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    sync_batch_norm: bool = False
    gradient_checkpointing: bool = False
    compile: bool = False
    accumulation: PositiveInt = 1
    workers: NonNegativeInt = 2
    log_every: PositiveInt = 50
    checkpoint_every: PositiveInt | None = None
    evaluate_every: PositiveInt = 1
    time_budget_minutes: PositiveFloat | None = None


class Recipe(Section):
    """Everything that a run needs; see the sections."""

    task: Literal["classification", "detection"] = "classification"
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    optimiser: OptimiserSection = OptimiserSection()
    schedule: ScheduleSection = ScheduleSection()
    loss: LossSection = LossSection()
    distillation: DistillationSection = DistillationSection()
    ema: EmaSection = EmaSection()
    run: RunSection = RunSection()

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        if self.data.batch % self.run.accumulation:
            raise ValueError(
                f"data.batch ({self.data.batch}) must be a multiple of run.accumulation ({self.run.accumulation})"
            )
        return self

    @model_validator(mode="after")
    def _task_fits(self) -> Self:
        if self.task == "detection":
            if self.distillation.teacher is not None:
                raise ValueError("distillation.teacher teaches classifiers: leave it out with task = 'detection'")
            if self.data.evaluation.fit == "crop":
                raise ValueError("data.evaluation.fit must be 'short', 'whole' or 'stretch' with task = 'detection'")
        return self

    @property
    def peak_lr(self) -> float:
        """The highest learning rate, after it was scaled with the batch."""
        reference = self.optimiser.lr_for_batch
        if reference is None:
            return self.optimiser.lr
        share = self.data.batch / reference
        return self.optimiser.lr * (math.sqrt(share) if self.optimiser.lr_scaling == "sqrt" else share)

    def with_values(self, values: Mapping[str, Any]) -> Recipe:
        """Returns a copy in which dotted fields have other values, checked like the rest."""
        tree = self.model_dump()
        for dotted, value in values.items():
            _place(tree, dotted, value)
        return _checked(tree, "overridden recipe")

    def with_overrides(self, overrides: Iterable[str]) -> Recipe:
        """Returns a copy with overrides as a command line has them, "optimiser.lr=1e-3"."""
        return self.with_values(dict(_split_override(override) for override in overrides))

    def to_toml(self) -> str:
        """Writes the recipe as TOML that `read_recipe` reads back as an equal recipe."""
        return "\n".join(_toml_lines(self.model_dump(mode="json"))).strip() + "\n"


def recipe_names() -> list[str]:
    """Lists the recipes that the package brings, sorted."""
    folder = resources.files("sparsevision") / "recipes"
    return sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml"))


def read_recipe(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Reads a recipe by its name in the package or its path, with overrides such as "optimiser.lr=1e-3".

    Raises ConfigError (one sentence) for a file that is missing or no TOML, an unknown key (with the nearest one) and
    a value out of its range.
    """
    origin, text = _recipe_text(name_or_path)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin} is no valid TOML: {error}.") from None
    for override in overrides:
        _place(tree, *_split_override(override))
    return _checked(tree, origin)


def _split_override(override: str) -> tuple[str, Any]:
    dotted, equals, value = override.partition("=")
    if not equals or not dotted.strip():
        raise ConfigError(f"{override!r} is no override; write it as section.field=value, as in optimiser.lr=1e-3.")
    return dotted.strip(), _value(value.strip())


def _recipe_text(name_or_path: str | Path) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix == ".toml" or len(path.parts) > 1:
        try:
            return f"recipe {str(path)!r}", path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"The recipe {str(path)!r} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise ConfigError(f"The recipe {str(path)!r} is no text file.") from None
    if str(name_or_path) not in recipe_names():
        raise UnknownNameError("recipe", str(name_or_path), recipe_names(), advice="A path must end in '.toml'.")
    file = resources.files("sparsevision") / "recipes" / f"{name_or_path}.toml"
    return f"recipe {str(name_or_path)!r}", file.read_text(encoding="utf-8")


def _value(text: str) -> Any:
    """Reads an override's value as TOML would; what is no TOML value is taken as a string, so quotes are optional."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _place(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, field = dotted.split(".")
    here = tree
    for section in sections:
        here = here.setdefault(section, {})
        if not isinstance(here, dict):
            raise ConfigError(f"{dotted!r} names a field inside {section!r}, which has none.")
    here[field] = value


def _checked(tree: Mapping[str, Any], origin: str) -> Recipe:
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise _as_config_error(error, origin) from None


def _as_config_error(error: ValidationError, origin: str) -> ConfigError:
    """Turns pydantic's report into one sentence about its first finding."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return UnknownNameError(f"field of the {origin}", place, _all_fields(Recipe))
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    given = "" if isinstance(first["input"], dict | BaseModel) else f" (given: {first['input']!r})"
    return ConfigError(f"In the {origin}, {place or 'the whole'} does not fit: {reason}{given}.")


def _all_fields(section: type[BaseModel], prefix: str = "") -> list[str]:
    names = []
    for name, field in section.model_fields.items():
        names.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += _all_fields(field.annotation, f"{prefix}{name}.")
    return names


def _toml_lines(table: Mapping[str, Any], path: str = "") -> list[str]:
    lines = [f"{_toml_key(key)} = {_toml(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += ["", f"[{path}{_toml_key(key)}]", *_toml_lines(value, f"{path}{_toml_key(key)}.")]
    return lines


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _toml(value: Any) -> str:
    if value is None:
        return '"none"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml_key(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str | bool):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)
