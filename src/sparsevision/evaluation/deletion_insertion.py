"""Deletion and insertion curves of saliency maps: how a score falls and rises as marked pixels are changed.

Deletion and insertion curves after Petsiuk, Das & Saenko 2018 (RISE). Pixels are ranked by the map; a share of them,
best first, is replaced by a baseline (deletion) or laid over the baseline (insertion), and the probability of the class
that was predicted for the intact image is read. A faithful map has a small area under the first curve and a large one
under the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparsevision.errors import ConfigError
from sparsevision.types import Batch

Scores = Callable[[Tensor], Tensor]
SaliencyMap = Callable[[Tensor, Tensor], Tensor]
Baseline = Literal["blur", "mean"]
BASELINES: tuple[Baseline, ...] = ("blur", "mean")
Side = Literal["deletion", "insertion"]
SIDES: tuple[Side, ...] = ("deletion", "insertion")


@dataclass(frozen=True)
class Curves:
    """Probabilities along the way: `deletion` and `insertion` (B, S+1) at the `shares` (S+1) of pixels changed."""

    shares: Tensor
    deletion: Tensor
    insertion: Tensor

    def of(self, side: Side) -> Tensor:
        """Returns (B, S+1): the curves of one side."""
        return self.deletion if side == "deletion" else self.insertion

    def area(self, side: Side) -> Tensor:
        """Returns (B,) areas under the curves of one side: small is faithful for deletion, large for insertion."""
        return torch.trapezoid(self.of(side), self.shares)


def deletion_insertion(
    scores: Scores, images: Tensor, saliency: Tensor, targets: Tensor, *, steps: int = 20, baseline: Baseline = "blur",
    generator: torch.Generator | None = None,
) -> Curves:  # fmt: skip
    """Deletes and inserts pixels in the order of a saliency map and returns both curves.

    Args:
        scores: turns normalised images (B, C, H, W) into class probabilities (B, K).
        images: (B, C, H, W), normalised.
        saliency: (B, H, W), larger is more important. Ties are broken at random; in reading order the top would win.
        targets: (B,) the class whose probability is read.
        steps: how many equal shares of the pixels are changed one after the other.
        baseline: the replacement of pixels: the image blurred by a tenth of its side, or the data's mean.
        generator: of the random tie breaks; seed 0 if None.
    """
    if saliency.shape != images.shape[:1] + images.shape[2:]:
        raise ConfigError(
            f"A saliency map of shape {tuple(saliency.shape)} does not fit images of shape {tuple(images.shape)}; "
            "expected (B, H, W)."
        )
    empty = _baseline(images, baseline)
    rank = _ranks(saliency.cpu(), generator or torch.Generator().manual_seed(0)).to(images.device)
    shares = torch.linspace(0, 1, steps + 1)
    deletion, insertion = [], []
    for share in shares.tolist():
        marked = (rank < round(share * rank[0].numel()))[:, None]
        deletion.append(_probability(scores, torch.where(marked, empty, images), targets))
        insertion.append(_probability(scores, torch.where(marked, images, empty), targets))
    return Curves(shares, torch.stack(deletion, 1), torch.stack(insertion, 1))


def faithfulness(
    scores: Scores, loader: Iterable[Batch], maps: Mapping[str, SaliencyMap], *, steps: int = 20,
    baseline: Baseline = "blur", seed: int = 0, resamples: int = 2000,
) -> list[dict[str, Any]]:  # fmt: skip
    """Measures several saliency maps on the same images and returns a row for each, the control "random" among them.

    A row holds the mean areas under both curves with 95 % bootstrap intervals over the images, the mean paired
    differences from the random map with theirs, and the mean curves.

    Args:
        scores, steps, baseline: as `deletion_insertion` takes them.
        loader: yields batches of normalised images; targets are not used.
        maps: by name, functions of images (B, C, H, W) and predicted classes (B,) that return maps (B, H, W).
        seed: of the random map, the tie breaks and the bootstrap of so many `resamples`.
    """
    generator = torch.Generator().manual_seed(seed)

    def random_map(images: Tensor, _: Tensor) -> Tensor:
        return torch.rand(images.shape[:1] + images.shape[2:], generator=generator)

    maps = {"random": random_map, **maps}
    measured: dict[str, list[Curves]] = {name: [] for name in maps}
    for batch in loader:
        if not len(batch):
            continue
        targets = scores(batch.images).argmax(1)
        for name, saliency in maps.items():
            marked = saliency(batch.images, targets)
            measured[name].append(
                deletion_insertion(
                    scores, batch.images, marked, targets, steps=steps, baseline=baseline, generator=generator
                )
            )
    if not measured["random"]:
        raise ConfigError("Faithfulness needs at least one image; the loader gave none.")
    curves = {
        name: Curves(parts[0].shares, *(torch.cat([part.of(side) for part in parts]) for side in SIDES))
        for name, parts in measured.items()
    }
    count = len(curves["random"].deletion)
    draw = np.random.default_rng(seed).integers(0, count, (resamples, count))
    return [{"map": name, "images": count, **_row(found, curves["random"], draw)} for name, found in curves.items()]


def centre_map(images: Tensor, targets: Tensor) -> Tensor:
    """Marks the middle of every image: the control on photographs of centred objects."""
    height, width = images.shape[-2:]
    down, across = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    one = -(down[:, None] ** 2 + across[None] ** 2)
    return one.to(images).expand(len(images), height, width)


def _row(found: Curves, control: Curves, draw: NDArray[np.int64]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for side in SIDES:
        area, other = (curves.area(side).double().numpy() for curves in (found, control))
        for label, values in ((side, area), (f"{side}_minus_random", area - other)):
            low, high = np.quantile(values[draw].mean(1), (0.025, 0.975))
            row |= {label: float(values.mean()), f"{label}_low": float(low), f"{label}_high": float(high)}
    row["shares"] = found.shares.tolist()
    return row | {f"{side}_curve": found.of(side).double().mean(0).tolist() for side in SIDES}


@torch.no_grad()
def _probability(scores: Scores, images: Tensor, targets: Tensor) -> Tensor:
    found = scores(images).float()
    return found.gather(1, targets.to(found.device)[:, None])[:, 0].cpu()


def _baseline(images: Tensor, kind: Baseline) -> Tensor:
    from torchvision.transforms.v2 import functional as transforms

    if kind == "mean":
        return torch.zeros_like(images)
    if kind != "blur":
        raise ConfigError(f"Unknown baseline {kind!r}; expected one of {', '.join(BASELINES)}.")
    sigma = max(images.shape[-2:]) / 10
    # Two standard deviations, odd, and within what reflection at the border can give.
    reach = min(int(2 * sigma), min(images.shape[-2:]) - 1)
    return transforms.gaussian_blur(images, [2 * reach + 1, 2 * reach + 1], [sigma, sigma])


def _ranks(saliency: Tensor, generator: torch.Generator) -> Tensor:
    """Returns (B, H, W): each pixel's place when sorted by saliency, the largest first, ties in random order."""
    flat = saliency.flatten(1)
    shuffled = torch.rand(flat.shape, generator=generator).argsort(1)
    order = shuffled.gather(1, flat.gather(1, shuffled).argsort(dim=1, descending=True, stable=True))
    return order.argsort(1).view_as(saliency)
