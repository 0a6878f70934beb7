"""Recipes: one TOML file with everything that a run needs, checked before anything is computed.

A recipe is read from the package by name (`caltech101_nano`) or from a path, may be overridden field by field
(`optimiser.lr=1e-3`), and is written into the run folder as it was resolved. The tables [transforms] and [loss] are
those of the recipe's task (`Task.Settings`): an option that a task does not have is refused.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self

import tomlkit
from pydantic import BaseModel, ValidationError, create_model, model_validator

from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.tasks import Task, task_named
from sparsevision.tasks.registry import DEFAULT_TASK
from sparsevision.tasks.settings import Section, TaskSettings, TransformSettings
from sparsevision.training.sections import (
    DataSection,
    DistillationSection,
    EmaSection,
    ModelSection,
    OptimiserSection,
    RunSection,
    ScheduleSection,
)
from sparsevision.types import Preprocessing


class Recipe(Section):
    """Everything that a run needs; see the sections. `recipe_class(task)` has the task's own tables."""

    task: str = DEFAULT_TASK
    model: ModelSection = ModelSection()
    data: DataSection = DataSection()
    transforms: TransformSettings = TransformSettings()
    loss: Section = Section()
    optimiser: OptimiserSection = OptimiserSection()
    schedule: ScheduleSection = ScheduleSection()
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
    def _decodes_enough(self) -> Self:
        side, needed = self.data.decode_side, getattr(self.transforms, "size", 0)
        if side is not None and side < needed:
            raise ValueError(f"data.decode_side ({side}) must be at least transforms.size ({needed}), or none")
        return self

    @model_validator(mode="after")
    def _teacher_fits(self) -> Self:
        if self.distillation.teacher is not None and not self.task_class.returns_logits:
            raise ValueError(f"distillation.teacher teaches classifiers: omit it with task = {self.task!r}")
        return self

    @property
    def task_class(self) -> type[Task]:
        """The class of the recipe's task."""
        return task_named(self.task)

    @property
    def settings(self) -> TaskSettings:
        """The task's own tables."""
        return self.task_class.Settings(transforms=self.transforms, loss=self.loss)

    @property
    def preprocessing(self) -> Preprocessing:
        """The view of an image outside training; saved with the weights."""
        return self.transforms.preprocessing()

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
        return tomlkit.dumps(_without_none(self.model_dump(mode="json")))


@cache
def _class_of(task: type[Task]) -> type[Recipe]:
    fields: dict[str, Any] = {
        name: (field.annotation, field.default) for name, field in task.Settings.model_fields.items()
    }
    made: type[Recipe] = create_model("Recipe", __base__=Recipe, **fields)
    return made


def recipe_class(task: str = DEFAULT_TASK) -> type[Recipe]:
    """Returns the recipe's class for a task; raises UnknownNameError where nothing is registered under the name."""
    return _class_of(task_named(task))


def _field_names(section: type[BaseModel], prefix: str = "") -> list[str]:
    """Lists the dotted names of all fields of a section."""
    names = []
    for name, field in section.model_fields.items():
        names.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += _field_names(field.annotation, f"{prefix}{name}.")
    return names


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
        raise ConfigError(f"{origin} is not valid TOML: {error}.") from None
    for override in overrides:
        _place(tree, *_split_override(override))
    return _checked(tree, origin)


def _split_override(override: str) -> tuple[str, Any]:
    dotted, equals, value = override.partition("=")
    if not equals or not dotted.strip():
        raise ConfigError(f"{override!r} is not an override; write it as section.field=value, as in optimiser.lr=1e-3.")
    return dotted.strip(), _value(value.strip())


def _recipe_text(name_or_path: str | Path) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix == ".toml" or len(path.parts) > 1:
        try:
            return f"recipe {str(path)!r}", path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"The recipe {str(path)!r} cannot be read: {error.strerror}.") from None
        except UnicodeDecodeError:
            raise ConfigError(f"The recipe {str(path)!r} is not a text file.") from None
    if str(name_or_path) not in recipe_names():
        raise UnknownNameError("recipe", str(name_or_path), recipe_names(), advice="A path must end in '.toml'.")
    file = resources.files("sparsevision") / "recipes" / f"{name_or_path}.toml"
    return f"recipe {str(name_or_path)!r}", file.read_text(encoding="utf-8")


def _value(text: str) -> Any:
    """Reads an override's value as TOML would; anything else is taken as a string, so quotes are optional."""
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
    """Returns the recipe of a tree of tables; raises ConfigError, one sentence, for its first fault."""
    task = tree.get("task", DEFAULT_TASK)
    if not isinstance(task, str):
        raise ConfigError(f"In the {origin}, task is {task!r}; it must be the name of a task.")
    kind = recipe_class(task)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise _as_config_error(error, origin, task) from None


def _as_config_error(error: ValidationError, origin: str, task: str) -> ConfigError:
    """Turns pydantic's report into one sentence about its first finding."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _field_names(recipe_class(task))
        same = [name for name in known if name.endswith("." + place.rpartition(".")[2])]
        advice = f"By the same word there is {' and '.join(same)}." if same else ""
        return UnknownNameError(f"field of the {origin} (task {task!r})", place, known, advice=advice)
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    given = "" if isinstance(first["input"], dict | BaseModel) else f" (given: {first['input']!r})"
    return ConfigError(f"In the {origin} (task {task!r}), {place or 'the whole'} does not fit: {reason}{given}.")


def _without_none(value: Any) -> Any:
    """Spells None as TOML can have it, as the word "none"."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items()}
    return "none" if value is None else value
