"""The network of a recipe with its starting weights, and its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from sparsevision.checkpoints.backbones import fill_backbone
from sparsevision.errors import ConfigError
from sparsevision.factory import create_model, identity_of, load_model
from sparsevision.training.distillation import Teacher
from sparsevision.training.recipe import Recipe
from sparsevision.training.sections import DistillationSection


def make_model(recipe: Recipe, classes: Sequence[str]) -> nn.Module:
    """Makes the network of a recipe with as many outputs as there are classes, with its starting weights."""
    section = recipe.model
    model = create_model(
        section.name, pretrained=section.pretrained, checkpoint=section.checkpoint, labels=classes,
        fresh_tokens=section.fresh_tokens, **section.config,
    )  # fmt: skip
    if section.backbone is not None:
        fill_backbone(model, section.backbone)
    return model


def make_teacher(recipe: Recipe, classes: Sequence[str]) -> Teacher | None:
    """Makes the teacher of a recipe, None where there is none.

    Raises ConfigError where its logits are wanted and its classes are not the data set's.
    """
    section = recipe.distillation
    if section.teacher is None:
        return None
    model = _teacher_model(section)
    identity = identity_of(model)
    assert identity is not None  # create_model and load_model give every model one
    outputs = getattr(model, "num_classes", None)
    other_names = identity.labels is not None and tuple(identity.labels) != tuple(classes)
    if section.logits > 0 and (other_names or outputs != len(classes)):
        raise ConfigError(
            f"The teacher {section.teacher!r} was trained on other classes than the data set has: train it on them, or "
            f"set distillation.logits=0 to learn from its features alone."
        )
    return Teacher(model, identity.preprocessing, section, recipe.preprocessing)


def _teacher_model(section: DistillationSection) -> nn.Module:
    assert section.teacher is not None
    path = Path(section.teacher)
    if path.exists():
        return load_model(path)
    if len(path.parts) > 1 and path.parts[0] != "timm":
        raise ConfigError(
            f"The teacher {section.teacher!r} is neither here nor a model's name: give a run folder, a checkpoint, or "
            f"a name that `sparsevision models` lists."
        )
    return create_model(
        section.teacher, pretrained=section.checkpoint is None, checkpoint=section.checkpoint, **section.config
    )
