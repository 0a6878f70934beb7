"""Trained classifiers' weights into another model's backbone."""

from __future__ import annotations

from typing import Any

from torch import nn

from sparsevision.checkpoints.loading import fit_channels
from sparsevision.checkpoints.reading import read_checkpoint
from sparsevision.checkpoints.timm_models import PREFIX, check_timm_name, is_timm_model, make_bare
from sparsevision.errors import CheckpointError, ConfigError

PRETRAINED = "pretrained"


def fill_backbone(model: nn.Module, source: str) -> int:
    """Fills a model's backbone with a classifier's weights; what a backbone has no use for is omitted.

    For images of another number of channels the first weights are summed or repeated.

    Args:
        model: a model with a backbone (`backbone_tensors`).
        source: a file of weights in timm's names for the classifier; or "pretrained" for those that timm usually
            publishes of it, or "timm/NAME" for those of that name, as in "timm/resnet50.tv_in1k".

    Returns:
        The number of tensors that were filled.

    Raises:
        ConfigError: the model has no backbone.
        UnknownNameError: timm has no model of the name.
        CheckpointError: the file is missing or damaged, or a tensor of the backbone is missing in it or of another
            shape.
    """
    if not hasattr(model, "backbone_tensors"):
        raise ConfigError(f"{type(model).__name__} has no backbone to fill: omit model.backbone.")
    named: Any = model
    if source == PRETRAINED or is_timm_model(source):
        name = named.backbone_name if source == PRETRAINED else source.removeprefix(PREFIX)
        check_timm_name(PREFIX + name)
        state = make_bare(name, pretrained=True).state_dict()
    else:
        state = dict(read_checkpoint(source).state)
    own, wanted = model.state_dict(), named.backbone_tensors()
    needed = [theirs for theirs in wanted.values() if not theirs.endswith("num_batches_tracked")]
    if missing := [theirs for theirs in needed if theirs not in state]:
        raise CheckpointError(
            f"{source!r} holds no {missing[0]!r} ({len(missing)} of the backbone's {len(wanted)} tensors are missing): "
            "give the weights of the backbone that the model has."
        )
    taken = {name: state[theirs] for name, theirs in wanted.items() if theirs in state}
    fit_channels(model, own, taken)
    for name, tensor in taken.items():
        if tensor.shape != own[name].shape:
            raise CheckpointError(
                f"{wanted[name]!r} in {source!r} is {tuple(tensor.shape)}, and the backbone's is "
                f"{tuple(own[name].shape)}: give the weights of the backbone that the model has."
            )
    model.load_state_dict({**own, **taken})
    return len(taken)
