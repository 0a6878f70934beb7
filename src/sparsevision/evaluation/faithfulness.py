"""Faithfulness of a model's own maps over a data set: deletion and insertion curves beside controls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sparsevision.data.dataset import Dataset
from sparsevision.data.loading import make_loader
from sparsevision.data.preprocessing import batch_for, least_decoded_side
from sparsevision.errors import ConfigError
from sparsevision.evaluation.deletion_insertion import Baseline, SaliencyMap, centre_map, faithfulness
from sparsevision.evaluation.evaluate import default_split, split_seed_of
from sparsevision.evaluation.grad_cam import grad_cam
from sparsevision.explain.density import density
from sparsevision.inference import Predictor
from sparsevision.types import Batch, Preprocessing, Skipped, Trace

_BATCH = 32
_STEPS = 20


@dataclass
class Faithfulness:
    """A row for each map, as `deletion_insertion.faithfulness` returns them, and the images that could not be read."""

    model: str
    data: str
    baseline: Baseline
    steps: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def measure_faithfulness(
    model: str | Path, data: str, *, peer: str | Path | None = None, limit: int | None = None,
    baseline: Baseline = "blur", device: str | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None, opened: Callable[[Dataset], None] = lambda data: None,
) -> Faithfulness:  # fmt: skip
    """Deletes and inserts pixels of annotated images in the order of a model's own maps, and of controls.

    Args:
        model: a checkpoint or a name, as `Predictor` takes it, of a classifier: the density of its samples is measured,
            or the attention of its tokens, by what its trace holds.
        data: the data set, of which the split is scored that `evaluate` scores.
        peer: a convolutional model, as `Predictor` takes it, whose Grad-CAM is measured as well.
        limit: measures on so many images, drawn at random with seed 0.
        baseline: the replacement of deleted pixels: the blurred image, or the data's mean.
        device: where to run.
        progress: called with the number of images that are done, and of all.
        opened: called with the data set before anything is measured.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"The limit is {limit} images; it must be at least 1.")
    predictor = Predictor(model, device)
    if not predictor.labels or not predictor.task.returns_logits or predictor.task.things != "images":
        raise ConfigError(
            f"{str(model)!r} does not give one score for each class of an image, from which faithfulness is measured: "
            "name a classifier."
        )
    maps: dict[str, SaliencyMap] = {"centre": centre_map, **_own_maps(predictor, str(model))}
    if peer is not None:
        path = Path(peer)
        name = path.parent.name if path.name in ("best", "last") else path.name
        maps[f"Grad-CAM of {name}"] = _peer_map(peer, predictor)

    def scores(images: Tensor) -> Tensor:
        return predictor.model(images).softmax(1)

    found = Faithfulness(str(model), data, baseline, _STEPS)
    batches = _batches(predictor, model, data, limit, found.skipped, progress, opened)
    found.rows = faithfulness(scores, batches, maps, steps=_STEPS, baseline=baseline)
    return found


def _batches(
    predictor: Predictor, model: str | Path, data: str, limit: int | None, skipped: list[Skipped],
    progress: Callable[[int, int], None], opened: Callable[[Dataset], None],
) -> Iterator[Batch]:  # fmt: skip
    """Yields batches of the split to score, all of it in order or `limit` images in an order drawn at random."""
    task = predictor.task
    split, seed = default_split(type(task), model, data), split_seed_of(model)
    dataset = task.open(data, split, seed=seed, side=least_decoded_side(predictor.preprocessing))
    opened(dataset)
    transform = task.evaluation_transform(predictor.preprocessing)
    size = batch_for(predictor.preprocessing, _BATCH)
    total = len(dataset) if limit is None else min(limit, len(dataset))
    done = 0
    for batch in make_loader(dataset, transform, task.collate, batch_size=size, shuffle=limit is not None):
        skipped += batch.skipped
        kept = replace(batch, images=batch.images[: total - done], names=batch.names[: total - done])
        yield kept.to(predictor.device)
        done += len(kept)
        progress(done, total)
        if done == total:
            return


def _own_maps(predictor: Predictor, name: str) -> dict[str, SaliencyMap]:
    """Returns the model's own maps, by name, over all stages and in the last one, for what its trace holds."""
    kinds = getattr(predictor.model, "traces", ())
    for kind, what, part, saliency in _OWN_MAPS:
        if kind in kinds:
            chosen = {f"{what}, all {part}s": slice(None), f"{what}, last {part}": slice(-1, None)}
            return {each: partial(saliency, predictor, stages) for each, stages in chosen.items()}
    raise ConfigError(f"{name!r} records neither points nor maps of tokens, which are measured: name another.")


@torch.no_grad()
def _sampling_density(predictor: Predictor, stages: slice, images: Tensor, _: Tensor) -> Tensor:
    """Maps where the model sampled in some of its stages."""
    trace = Trace("points")
    predictor.model(images, trace=trace)
    points = torch.cat([each.xy.flatten(1, 2) for each in list(trace.points.values())[stages]], dim=1).cpu()
    height, width = images.shape[-2:]
    return torch.stack([torch.from_numpy(density(one, (height, width))) for one in points])


@torch.no_grad()
def _token_attention(predictor: Predictor, modules: slice, images: Tensor, _: Tensor) -> Tensor:
    """Maps where tokens were read in some of the modules, as a mean over tokens."""
    trace = Trace("token_maps")
    predictor.model(images, trace=trace)
    if not any(each.read is not None for each in trace.token_maps.values()):
        raise ConfigError("This form of the model pools its map without attention: there is nothing to measure.")
    maps = [each.read for each in trace.token_maps.values() if each.read is not None][modules]
    mean = torch.stack([each.mean(dim=1) for each in maps]).mean(dim=0)
    return F.interpolate(mean[:, None].float(), images.shape[-2:], mode="bilinear")[:, 0]


# For each kind of trace: what its maps show, the name of a stage, and the map over some of the stages.
_OWN_MAPS = (("points", "density", "stage", _sampling_density), ("token_maps", "attention", "module", _token_attention))


def _peer_map(peer: str | Path, predictor: Predictor) -> SaliencyMap:
    """Grad-CAM of another model on the same view, in that model's own normalisation and size.

    It explains the class that our model predicted where both have the same classes, else the peer's own prediction.
    """
    other = Predictor(peer, predictor.device)
    info = getattr(other.model, "feature_info", None)
    if not info:
        name = str(peer)
        raise ConfigError(f"The peer {name!r} has no convolutional features for Grad-CAM; try one like timm/resnet18.")
    layer = other.model.get_submodule(info[-1]["module"])

    def saliency(images: Tensor, targets: Tensor) -> Tensor:
        seen = _renormalised(images, predictor.preprocessing, other.preprocessing)
        seen = F.interpolate(seen, other.preprocessing.size, mode="bilinear", antialias=True)
        wanted = targets if other.labels == predictor.labels else other.model(seen).argmax(1)
        heat = grad_cam(other.model, layer, seen, wanted)
        return F.interpolate(heat[:, None], images.shape[-2:], mode="bilinear")[:, 0]

    return saliency


def _renormalised(images: Tensor, ours: Preprocessing, theirs: Preprocessing) -> Tensor:
    if (ours.mean, ours.std) == (theirs.mean, theirs.std):
        return images

    std, mean, other_mean, other_std = (
        images.new_tensor(values).view(-1, 1, 1) for values in (ours.std, ours.mean, theirs.mean, theirs.std)
    )
    return (images * std + mean - other_mean) / other_std
