"""Meters of a training loop: the finiteness of the loss, and the means of its terms."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sparsevision.errors import NonFiniteLossError
from sparsevision.types import Batch


class FiniteWatch:
    """Raises NonFiniteLossError naming the files of the first batch whose loss is NaN or infinite.

    On a GPU the answer is copied while training goes on and read when it has arrived, so nothing waits for it;
    `settle` waits, and is called before anything is written that a broken run must not leave behind.
    """

    def __init__(self) -> None:
        self.pending: deque[tuple[Tensor, Any, list[str]]] = deque()

    def watch(self, loss: Tensor, names: list[str]) -> None:
        """Records the loss of a batch, and checks those whose values have arrived."""
        finite = torch.isfinite(loss.detach())
        if finite.is_cuda:
            host = torch.empty((), dtype=torch.bool, pin_memory=True)
            host.copy_(finite, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
            self.pending.append((host, arrived, names))
        else:
            self.pending.append((finite, None, names))
        while self.pending and (self.pending[0][1] is None or self.pending[0][1].query()):
            self._judge()

    def settle(self) -> None:
        """Waits for all values that are still under way, and judges them."""
        while self.pending:
            if self.pending[0][1] is not None:
                self.pending[0][1].synchronize()
            self._judge()

    def _judge(self) -> None:
        finite, _, names = self.pending.popleft()
        if not bool(finite):
            raise NonFiniteLossError(
                f"The loss became NaN or infinite on the batch of {_listed(names)}. Look at these images, lower "
                f"optimiser.lr, or use run.precision=fp32; the state in last/ is from before."
            )


def _listed(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


class Meter:
    """Sums the losses between two lines of the log, without waiting for the device."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Starts a new line."""
        self.sums: dict[str, Tensor] = {}
        self.steps = 0
        self.images = 0
        self.started = time.monotonic()

    def add(self, loss: Tensor, terms: dict[str, Tensor], batch: Batch) -> None:
        """Adds one batch's parts of a step's loss."""
        for name, value in {"loss": loss, **(terms if len(terms) > 1 else {})}.items():
            value = value.detach().float()
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.images += len(batch)

    def means(self, reduce: Any) -> dict[str, float]:
        """Returns the mean of each term over the steps (summed over processes by `reduce`)."""
        if not self.sums:
            return {}
        total = reduce(torch.stack(list(self.sums.values()))).tolist()
        return {name: value / max(self.steps, 1) for name, value in zip(self.sums, total, strict=True)}
