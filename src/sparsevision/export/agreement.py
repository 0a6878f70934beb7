"""Whether an exported file gives the same answers as PyTorch, on images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sparsevision.errors import import_extra
from sparsevision.export.graph import flat_output
from sparsevision.inference import Predictor
from sparsevision.wording import count_of

# The largest differences of outputs in fp32: of boxes in sides of the image, of logits as they are.
MOST: Mapping[str, float] = {"boxes": 1e-4}
MOST_OTHERWISE = 1e-3
# The smallest share of results that agree, by precision; of fewer bits than 32 the outputs differ as they will. In fp32
# one label of the images that are compared is too many, but of millions of pixels a few are nearly tied.
LEAST_AGREEMENT: Mapping[str, float] = {"fp32": 0.9999, "fp16": 0.98, "int8": 0.9}
# The last of the ranked proposals that become queries, nearly equal, may change places with those that do not.
MOST_EXCHANGED = 0.02
# Queries attend to one another: where one is exchanged the others move too, and what rounding does is not seen there.
LEAST_KEPT = 0.5
_SAME_ROW = 1e-2
_EXACT = "donot_use_mm_for_euclid_dist"  # products of matrices leave half of the digits


@dataclass
class Agreement:
    """The `images` that were compared, the largest difference of each output, and the share of answers that agree.

    Rows of boxes and scores may come in any order: each is compared with one of the other output's, by the assignment
    of the least distance, and `exchanged` of the `rows` have no partner alike. Of images with such rows, which are
    `images` less those `kept`, answers are compared, outputs are not.
    """

    precision: str = "fp32"
    images: int = 0
    kept: int = 0
    differences: dict[str, float] = field(default_factory=dict)
    agreements: list[float] = field(default_factory=list)
    rows: int = 0
    exchanged: int = 0

    @property
    def share(self) -> float:
        """The mean agreement of results."""
        return sum(self.agreements) / max(len(self.agreements), 1)

    @property
    def passes(self) -> bool:
        """Whether enough results are the same, and outputs in fp32 differ by rounding alone."""
        if self.share < LEAST_AGREEMENT[self.precision]:
            return False
        close = all(value <= MOST.get(name, MOST_OTHERWISE) for name, value in self.differences.items())
        few = self.exchanged <= MOST_EXCHANGED * self.rows and self.kept >= LEAST_KEPT * self.images
        return self.precision != "fp32" or (close and few)

    def __str__(self) -> str:
        largest = ", ".join(f"{name} {value:.1e}" for name, value in self.differences.items()) or "not known"
        few = ""
        if self.exchanged:
            where = f"in {count_of(self.images - self.kept, 'image')}, which the differences leave out"
            few = f" ({self.exchanged} of {self.rows} rows exchanged {where})"
        return (
            f"{count_of(self.images, 'image')}, largest differences: {largest}{few}; {self.share:.2%} of results agree"
        )

    def add(self, wanted: dict[str, Tensor], got: dict[str, Tensor]) -> None:
        """Adds the outputs for an image."""
        self.images += 1
        if "boxes" in wanted:
            optimize = import_extra("scipy.optimize", "Comparing a detector's file with PyTorch")
            distances = torch.cdist(_rows(wanted), _rows(got), compute_mode=_EXACT)[0].numpy()
            rows, partners = optimize.linear_sum_assignment(distances)
            exchanged = int((distances[rows, partners] >= _SAME_ROW).sum())
            self.rows, self.exchanged = self.rows + len(rows), self.exchanged + exchanged
            if exchanged:
                return
            got = {name: tensor[:, partners] for name, tensor in got.items()}
        self.kept += 1
        for name, tensor in wanted.items():
            # Masked rows are infinite in both.
            differences = (tensor - got[name]).nan_to_num().abs()
            largest = float(differences.max()) if differences.numel() else 0.0
            self.differences[name] = max(self.differences.get(name, 0.0), largest)


def _rows(outputs: Mapping[str, Tensor]) -> Tensor:
    """Returns boxes and squashed logits together, (B, N, 4 + classes), by which queries are told apart."""
    return torch.cat([outputs["boxes"], outputs["logits"].sigmoid()], dim=-1)


def compare(
    reference: Predictor, run: Callable[[Tensor], Any], images: Iterable[Any], *, controls: Mapping[str, Any],
    precision: str = "fp32",
) -> Agreement:  # fmt: skip
    """Runs images through a PyTorch model and through `run`, the same network of an exported file."""
    found = Agreement(precision)
    read = reference.task.reader()
    for position, image in enumerate(images):
        batch = reference.batch([reference.reader(image, position)])
        with torch.no_grad():
            outputs = [reference.model(batch.images, **controls), run(batch.images)]
        wanted, got = (flat_output(output)[0] for output in outputs)
        found.add(wanted, got)
        one, other = (read(reference.task.merge(output, batch), batch)[0] for output in outputs)
        found.agreements.append(one.agreement(other))
    return found
