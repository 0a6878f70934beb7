"""The weights that a run starts from, and the teacher it listens to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from sparsevision.checkpoints import read_checkpoint
from sparsevision.errors import ConfigError
from sparsevision.factory import create_model, preprocessing_of
from sparsevision.training.distillation import Teacher
from sparsevision.training.feed import evaluation_preprocessing
from sparsevision.training.recipe import Recipe


def make_model(recipe: Recipe, classes: Sequence[str]) -> nn.Module:
    """Makes the network of a recipe with as many outputs as there are classes, with its starting weights."""
    section = recipe.model
    options: dict[str, Any] = dict(section.config)
    if section.fresh_tokens:
        options["fresh_tokens"] = True
    return create_model(
        section.name, pretrained=section.pretrained, checkpoint=section.checkpoint, num_classes=len(classes), **options
    )


def make_teacher(recipe: Recipe, classes: Sequence[str]) -> Teacher | None:
    """Makes the teacher of a recipe, None where there is none.

    Raises ConfigError where its logits are wanted and its classes are not the data set's.
    """
    section = recipe.distillation
    if section.teacher is None:
        return None
    student = evaluation_preprocessing(recipe.data)
    path = Path(section.teacher)
    if not path.exists() and section.teacher.startswith("timm/"):
        model = create_model(
            section.teacher, checkpoint=section.checkpoint, pretrained=section.checkpoint is None,
            num_classes=len(classes), **section.config,
        )
        return Teacher(model, preprocessing_of(section.teacher), section, student)
    checkpoint = read_checkpoint(path / "best" if (path / "best").is_dir() else path)
    if checkpoint.model_name is None or checkpoint.preprocessing is None:
        raise ConfigError(
            f"The teacher {section.teacher!r} does not say which model it is: give a run folder or a checkpoint folder."
        )
    if section.logits > 0 and checkpoint.labels != tuple(classes):
        raise ConfigError(
            f"The teacher {section.teacher!r} was trained on other classes than the data set has: "
            f"set distillation.logits=0 to learn from its features alone."
        )
    config = dict(checkpoint.config or {})
    model = create_model(checkpoint.model_name, checkpoint=dict(checkpoint.state), **config)
    return Teacher(model, checkpoint.preprocessing, section, student)
