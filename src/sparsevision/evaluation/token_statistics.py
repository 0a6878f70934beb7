"""How widely visual tokens are read over a data set, and how much more on things than on the background.

The analyses of Section 4.4 of the Visual Transformers paper: the entropy of the tokens' attention beside that of an
even one, and the attention that a pixel of the foreground gets beside one of the background.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevision.data.dataset import Dataset
from sparsevision.data.subset import Subset
from sparsevision.errors import ConfigError
from sparsevision.evaluation.evaluate import Evaluation, nothing_read
from sparsevision.explain.token_maps import entropy
from sparsevision.types import Batch, Skipped, Trace

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class TokenStatistics:
    """The statistics of one module over a data set.

    `entropy` is that of the tokens' attention in nats, a mean over tokens and images, and `even` that of an even one.
    `foreground` is the attention of a pixel of the foreground over that of one of the background, less one; None where
    the data set has no foreground.
    """

    module: str
    entropy: float
    even: float
    foreground: float | None


@dataclass
class Measurement:
    """A row for each module, the number of images, and those that could not be read."""

    model: str
    data: str
    rows: list[TokenStatistics] = field(default_factory=list)
    images: int = 0
    skipped: list[Skipped] = field(default_factory=list)


class _Sums:
    """Sums of one module over images."""

    def __init__(self) -> None:
        self.entropy = self.even = self.inside = self.outside = self.foreground = self.background = 0.0

    def add(self, read: Tensor, foreground: Tensor | None) -> None:
        """Takes one image's maps (L, H, W), which sum to one, and which of its pixels are foreground (h, w)."""
        self.entropy += float(entropy(read.double().cpu().numpy()).mean())
        self.even += math.log(read[0].numel())
        if foreground is None:
            return
        shares = F.adaptive_avg_pool2d(foreground[None].double(), (read.shape[1], read.shape[2]))[0]
        attention = read.double().mean(dim=0)
        self.inside += float((attention * shares).sum())
        self.outside += float((attention * (1 - shares)).sum())
        self.foreground += float(shares.mean())
        self.background += float((1 - shares).mean())

    def statistics(self, module: str, images: int) -> TokenStatistics:
        there = self.foreground > 0 and self.background > 0 and self.outside > 0
        ratio = (self.inside / self.foreground) / (self.outside / self.background) - 1 if there else None
        return TokenStatistics(module=module, entropy=self.entropy / images, even=self.even / images, foreground=ratio)


@torch.no_grad()
def measure_tokens(
    model: str | Path, data: str, *, limit: int | None = None, device: str | None = None,
    progress: Progress = lambda done, of: None, opened: Callable[[Dataset], None] = lambda data: None,
) -> Measurement:  # fmt: skip
    """Runs a model over the split of a data set that `evaluate` scores, and sums up its tokens' maps.

    With a `limit` the first images alone are read. Raises ConfigError for a model without maps of tokens.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"The limit is {limit} images; it must be at least 1.")
    evaluation = Evaluation(model, data, device=device)
    if "token_maps" not in getattr(evaluation.model, "traces", ()):
        raise ConfigError(f"{str(model)!r} records no maps of tokens: name a model with visual tokens.")
    opened(evaluation.dataset)
    total = min(limit or len(evaluation.dataset), len(evaluation.dataset))
    evaluation.dataset = Subset(evaluation.dataset, range(total))
    network, sums = evaluation.model.eval(), dict[str, _Sums]()
    found = Measurement(str(model), data)
    for batch in evaluation.batches(None, 0, found.skipped):
        _add(network, evaluation.task, batch.to(evaluation.device), sums)
        found.images += len(batch)
        progress(found.images + len(found.skipped), total)
    if not found.images:
        raise nothing_read("measure", [one.reason for one in found.skipped])
    if not sums:
        raise ConfigError(f"{str(model)!r} is read by no tokens of a map: in this form it has none to measure.")
    found.rows = [each.statistics(module, found.images) for module, each in sums.items()]
    return found


def _add(network: Any, task: Any, batch: Batch, sums: dict[str, _Sums]) -> None:
    trace = Trace("token_maps")
    if len(batch):
        network(batch.images, trace=trace)
    foregrounds = task.foreground(batch)
    for module, maps in trace.token_maps.items():
        if maps.read is not None:
            for index, read in enumerate(maps.read):
                own = None if foregrounds is None else foregrounds[index].to(read.device)
                sums.setdefault(module, _Sums()).add(read.float(), own)
