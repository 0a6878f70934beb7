"""Whether an exported file gives the same answers as PyTorch, on images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sparsevision.export.graph import flat_output
from sparsevision.inference import Predictor

# The largest differences of outputs in fp32: of boxes in sides of the image, of logits as they are.
MOST: Mapping[str, float] = {"boxes": 1e-4}
MOST_OTHERWISE = 1e-3
LEAST_AGREEMENT = 1.0


@dataclass
class Agreement:
    """The `images` that were compared, the largest difference of each output, and the share of answers that agree."""

    images: int = 0
    differences: dict[str, float] = field(default_factory=dict)
    agreements: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """The mean agreement of results."""
        return sum(self.agreements) / max(len(self.agreements), 1)

    @property
    def passes(self) -> bool:
        """Whether outputs in fp32 differ by rounding alone, and every result is the same."""
        close = all(value <= MOST.get(name, MOST_OTHERWISE) for name, value in self.differences.items())
        return close and self.share >= LEAST_AGREEMENT

    def __str__(self) -> str:
        largest = ", ".join(f"{name} {value:.1e}" for name, value in self.differences.items())
        return f"{self.images} images, largest differences: {largest}; {self.share:.2%} of results agree"


def compare(
    reference: Predictor, run: Callable[[Tensor], Any], images: Iterable[Any], *, controls: Mapping[str, Any]
) -> Agreement:
    """Runs images through a PyTorch model and through `run`, the same network of an exported file."""
    found = Agreement()
    read = reference.task.reader()
    for position, image in enumerate(images):
        batch = reference.batch([reference.reader(image, position)])
        with torch.no_grad():
            outputs = [reference.model(batch.images, **controls), run(batch.images)]
        wanted, got = (flat_output(output)[0] for output in outputs)
        for name, tensor in wanted.items():
            largest = float((tensor - got[name]).nan_to_num().abs().max())  # masked rows are infinite in both
            found.differences[name] = max(found.differences.get(name, 0.0), largest)
        one, other = (read(reference.task.merge(output, batch), batch)[0] for output in outputs)
        found.agreements.append(one.agreement(other))
        found.images += 1
    return found
