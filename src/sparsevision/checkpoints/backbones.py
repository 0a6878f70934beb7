"""Trained classifiers' weights into another model's backbone."""

from __future__ import annotations

from typing import Any

from torch import nn

from sparsevision.checkpoints.downloads import released_weights
from sparsevision.checkpoints.loading import fit_channels
from sparsevision.checkpoints.reading import read_checkpoint
from sparsevision.checkpoints.timm_models import PREFIX, check_timm_name, is_timm_model, make_bare
from sparsevision.errors import CheckpointError, ConfigError
from sparsevision.models.registry import is_registered, variant_named

PRETRAINED = "pretrained"


def fill_backbone(model: nn.Module, source: str) -> int:
    """Fills a model's backbone with a classifier's weights; what a backbone has no use for is omitted.

    For images of another number of channels the first weights are summed or repeated. Tables of tokens
    (`token_tables`) of another length than the weights have keep their initialisation.

    Args:
        model: a model with a backbone (`backbone_tensors`).
        source: a file of weights of the classifier, in timm's names for a backbone of timm's; or "pretrained" for its
            usual published ones, or the name of a model whose published weights are taken: one of this package, or
            "timm/NAME", as in "timm/resnet50.tv_in1k".

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
    model_name = named.backbone_name if source == PRETRAINED else source
    if source == PRETRAINED and not is_registered(model_name):
        model_name = PREFIX + model_name
    state = _weights(model_name)
    if hasattr(named, "converts") and named.converts(state):
        state = named.convert(state, named.config)
    own, wanted = model.state_dict(), named.backbone_tensors()
    needed = [theirs for theirs in wanted.values() if not theirs.endswith("num_batches_tracked")]
    if missing := [theirs for theirs in needed if theirs not in state]:
        raise CheckpointError(
            f"{source!r} holds no {missing[0]!r} ({len(missing)} of the backbone's {len(wanted)} tensors are missing): "
            "give the weights of the backbone that the model has."
        )
    taken = {name: state[theirs] for name, theirs in wanted.items() if theirs in state}
    for name in [name for name in taken if name.endswith(getattr(model, "token_tables", ()))]:
        if taken[name].shape != own[name].shape:
            del taken[name]
    fit_channels(model, own, taken)
    for name, tensor in taken.items():
        if tensor.shape != own[name].shape:
            raise CheckpointError(
                f"{wanted[name]!r} in {source!r} is {tuple(tensor.shape)}, and the backbone's is "
                f"{tuple(own[name].shape)}: give the weights of the backbone that the model has."
            )
    model.load_state_dict({**own, **taken})
    return len(taken)


def _weights(source: str) -> dict[str, Any]:
    """Returns the tensors of a file, or of the published weights of a model that is named."""
    if is_registered(source):
        return dict(read_checkpoint(released_weights(variant_named(source))).state)
    if is_timm_model(source):
        check_timm_name(source)
        return make_bare(source.removeprefix(PREFIX), pretrained=True).state_dict()
    return dict(read_checkpoint(source).state)
