"""Base of the classifiers: from tokens to logits, timm's verbs that they share, and gradient checkpointing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.types import Control, Response, Trace

Images = Float[Tensor, "batch in_chans height width"] | Float[Tensor, "batch in_chans frames height width"]


class Classifier(nn.Module):
    """A network of units that are run one after another on images, into tokens (B, N, d) that are pooled.

    `forward_features` returns the tokens; the first of `class_heads` is the classifier.
    """

    controls: ClassVar[dict[str, Control]] = {}
    class_heads: ClassVar[tuple[str, ...]] = ("head.fc",)
    poolings: ClassVar[tuple[str, ...]] = ("avg", "")
    outputs: Any = "classes"
    grad_checkpointing = False

    def __init__(self, config: Any, num_features: int) -> None:
        super().__init__()
        self.config, self.num_classes, self.in_chans = config, config.num_classes, config.in_chans
        self.num_features = self.embed_dim = self.head_hidden_size = num_features
        self.default_cfg: dict[str, Any] = {}
        self.pool = self.poolings[0]
        self.dropout = nn.Dropout(getattr(config, "dropout", 0.0))

    def forward(
        self, images: Images, *, sizes: Tensor | None = None, trace: Trace | None = None
    ) -> Float[Tensor, batch * classes]:
        """Classifies normalised images; `sizes` (B, 2) are valid heights and widths, where a batch is padded."""
        tokens = self.forward_features(images, sizes=sizes, trace=trace)
        if trace is not None and trace.wants("response"):
            trace.record("head", Response(self.get_classifier()(self._normed(tokens))))
        return self.forward_head(tokens)

    def forward_features(self, images: Images, *, sizes: Tensor | None = None, trace: Trace | None = None) -> Tensor:
        """Returns the tokens (B, N, d) that are pooled."""
        raise NotImplementedError

    def forward_head(self, tokens: Float[Tensor, "batch tokens width"], pre_logits: bool = False) -> Tensor:
        """Returns logits (B, K), or with `pre_logits` the features (B, d) in front of the classifier."""
        pooled = tokens.mean(dim=1) if self.pool == "avg" else tokens[:, 0] if self.pool == "token" else tokens
        features = self._normed(pooled)
        return features if pre_logits else self.get_classifier()(self.dropout(features))

    def _normed(self, tokens: Tensor) -> Tensor:
        return tokens

    def _run(self, unit: nn.Module, *inputs: Any) -> Any:
        if self.grad_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(unit, *inputs, use_reentrant=False, context_fn=partial(_contexts, unit))
        return unit(*inputs)

    # timm's verbs, which other tools call

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recomputes each unit's activations in the backward pass instead of keeping them."""
        self.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names the parameters that do not decay, besides norms and biases."""
        return set()

    def get_classifier(self) -> nn.Module:
        """Returns the last linear layer."""
        return self.get_submodule(self.class_heads[0])

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Gives the head fresh outputs (0: none, the features come out), and optionally another pooling."""
        if global_pool is not None:
            if global_pool not in self.poolings:
                raise UnknownNameError("pooling", str(global_pool), self.poolings)
            self.pool = global_pool
        self.config, self.num_classes = replace(self.config, num_classes=num_classes), num_classes
        head: nn.Module = nn.Identity()
        if num_classes:
            like, bias = next(self.parameters()), self.outputs == "classes"
            head = nn.Linear(self.num_features, num_classes, bias=bias, device=like.device, dtype=like.dtype)
        self.set_submodule(self.class_heads[0], head.train(self.training))


def check_images(images: Tensor, channels: int) -> None:
    """Raises ConfigError unless images are a tensor of shape (batch, channels, height, width)."""
    if not isinstance(images, Tensor):
        raise ConfigError(
            f"The model takes a tensor of images and was given a {type(images).__name__}. torch.fx cannot trace it: "
            "use torch.export.export, and for features inside forward_features, forward_intermediates or a Trace."
        )
    if images.ndim != 4 or images.shape[1] != channels:
        raise ConfigError(
            f"The model takes images of shape (batch, {channels}, height, width); it was given {tuple(images.shape)}."
        )


def _contexts(unit: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _statistics_kept(unit)


@contextmanager
def _statistics_kept(unit: nn.Module) -> Iterator[None]:
    """Has batch norms count into copies, so that recomputing activations does not count a batch a second time."""
    norms = [part for part in unit.modules() if isinstance(part, _BatchNorm)]
    kept = [(norm, name, value) for norm in norms for name, value in norm.named_buffers(recurse=False)]
    for norm, name, value in kept:
        setattr(norm, name, value.clone())
    try:
        yield
    finally:
        for norm, name, value in kept:
            setattr(norm, name, value)


def unit_indices(count: int, indices: int | Sequence[int] | None) -> list[int]:
    """Reads timm's ways to choose blocks: all, the last n, or a list in which negative numbers count from the end."""
    chosen = range(count - indices, count) if isinstance(indices, int) else range(count) if indices is None else indices
    wanted = [index + count if index < 0 and not isinstance(indices, int) else index for index in chosen]
    if not wanted or not all(0 <= index < count for index in wanted):
        raise ConfigError(f"indices is {indices!r}; the model has {count} units, numbered from 0.")
    return wanted
