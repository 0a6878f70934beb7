"""Sections of a recipe: validated tables of options, each with its default in one place."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, PositiveFloat, model_validator

from sparsevision.types import Preprocessing


class Section(BaseModel):
    """One table of a recipe: unknown keys are refused, and values never change once they are checked."""

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


class EvaluationSettings(Section):
    """The view of an image outside training; see `types.Preprocessing`."""

    interpolation: Literal["bilinear", "bicubic"] = "bicubic"


class TransformSettings(Section):
    """Transforms of a training image, in the order of the fields, and its view outside training.

    `mean` and `std` of one channel make images grey.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[PositiveFloat, ...] = (0.229, 0.224, 0.225)

    def preprocessing(self) -> Preprocessing:
        """Returns the view of an image outside training; saved with the weights."""
        raise TypeError(f"{type(self).__name__} must define preprocessing()")


class TaskSettings(Section):
    """The tables of a recipe that belong to its task: a task's own kind refuses the options of other tasks."""

    transforms: TransformSettings = TransformSettings()
    loss: Section = Section()
