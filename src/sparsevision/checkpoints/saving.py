"""Our own format: one folder with config.json and model.safetensors, or one safetensors file that holds both."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from sparsevision.checkpoints.checkpoint import CONFIG_FILE, METADATA_KEY, WEIGHTS_FILE
from sparsevision.checkpoints.description import format_description
from sparsevision.checkpoints.identity import config_of, unwrapped
from sparsevision.checkpoints.timm_models import timm_description
from sparsevision.errors import CheckpointError
from sparsevision.files import replacing
from sparsevision.models.registry import without_tag
from sparsevision.packing import is_packed
from sparsevision.types import ClassMetadata, Preprocessing


def save_checkpoint(
    target: str | os.PathLike[str], model: nn.Module, *, name: str, preprocessing: Preprocessing,
    labels: Sequence[str] | None, class_metadata: ClassMetadata | None = None, dtype: torch.dtype | None = None,
) -> Path:  # fmt: skip
    """Writes a model with everything needed to use it, so that a kill at any moment leaves whole files.

    Args:
        target: a folder, or a path that ends in .safetensors for a single file.
        model: the model; wrappers of data parallelism and torch.compile are taken off.
        name: what `create_model` calls the model; a tag of published weights, which these are not, is taken off.
        preprocessing: from images to the model's input.
        labels: the outputs' names, as many as the model has outputs; None where outputs have no names (embeddings).
        class_metadata: about the labels besides their names, one number a label.
        dtype: of the stored floating-point tensors, e.g. torch.float16 for files to ship; None keeps the model's.

    Returns:
        The path written to.

    Raises:
        CheckpointError: the weights are packed, labels and outputs disagree, a weight does not fit `dtype`, or the disk
            refuses.
    """
    model = unwrapped(model)
    if is_packed(model):
        raise CheckpointError(
            "The model's weights are packed for predicting and cannot be saved: open the model anew, by open_model or "
            "create_model, and save that one."
        )
    outputs = getattr(model, "num_classes", None)
    if labels is not None and outputs is not None and len(labels) != outputs:
        raise CheckpointError(
            f"The model has {outputs} outputs and was given {len(labels)} labels: they must be as many."
        )
    name = without_tag(name)
    for_timm = timm_description(name, model, preprocessing, labels)
    text = format_description(name, config_of(model), preprocessing, labels, class_metadata, for_timm)
    state = {key: _stored(key, tensor, dtype) for key, tensor in model.state_dict().items()}
    path = Path(target).expanduser()
    alone = path.suffix == ".safetensors"
    try:
        with replacing(path if alone else path / WEIGHTS_FILE) as part:
            save_file(state, part, {METADATA_KEY: text, "format": "pt"})
        if not alone:
            with replacing(path / CONFIG_FILE) as part:
                part.write_text(text, encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"The checkpoint {str(path)!r} could not be written: {error}.") from error
    return path


def _stored(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    # A copy for each: safetensors refuses tensors that share memory.
    stored = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    if dtype is None or not stored.is_floating_point():
        return stored
    converted = stored.to(dtype)
    if not bool(torch.isfinite(converted).all()) and bool(torch.isfinite(stored).all()):
        raise CheckpointError(f"{name!r} has values that {dtype} cannot hold: save the checkpoint in another dtype.")
    return converted
