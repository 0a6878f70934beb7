"""`sparsevision explain --faithfulness`: deletion and insertion curves over a data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsevision.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from sparsevision.explain.faithfulness import Baseline, SaliencyMap
    from sparsevision.inference import Predictor
    from sparsevision.types import Batch, Preprocessing

_BATCH = 32
_STEPS = 20


def measure(
    predictor: Predictor, data: str, *, out: Path, peer: str | None, limit: int | None, baseline: Baseline
) -> int:
    """Prints the table and writes `faithfulness.json` and `faithfulness.png` into `out`."""
    from sparsevision.explain import centre_map, faithfulness, faithfulness_figure, save_figure

    if limit is not None and limit < 1:
        raise ConfigError(f"--limit is {limit}; it must be at least 1.")
    maps: dict[str, SaliencyMap] = {
        "centre": centre_map,
        "density, all stages": _sampling_density(predictor, last_only=False),
        "density, last stage": _sampling_density(predictor, last_only=True),
    }
    if peer is not None:
        maps[f"Grad-CAM of {Path(peer).name}"] = _peer_map(peer, predictor)

    def scores(images: Tensor) -> Tensor:
        return predictor.model(images).softmax(1)

    rows = faithfulness(scores, _pictures(predictor, data, limit), maps, steps=_STEPS, baseline=baseline)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "faithfulness.json"
    settings = {"data": data, "split": "val", "baseline": baseline, "steps": _STEPS}
    path.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1), encoding="utf-8")
    drawn = save_figure(faithfulness_figure(rows), out / "faithfulness.png")
    _print(rows, baseline)
    print(path, drawn, sep="\n")
    return 0


def _pictures(predictor: Predictor, data: str, limit: int | None) -> Iterator[Batch]:
    """Yields batches of the val split, in an order drawn at random with seed 0, under a progress bar on stderr."""
    from rich.console import Console
    from rich.progress import Progress

    from sparsevision.data.loading import make_loader
    from sparsevision.data.opening import open_dataset
    from sparsevision.data.preprocessing import EvaluationTransform
    from sparsevision.tasks.classification import ClassificationTask

    dataset = open_dataset(data, "val")
    task = ClassificationTask(dataset.classes)
    transform = EvaluationTransform(predictor.preprocessing)
    loader = make_loader(dataset, transform, task.collate, batch_size=_BATCH, shuffle=limit is not None)
    left = len(dataset) if limit is None else min(limit, len(dataset))
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("deleting and inserting", total=left)
        for batch in loader:
            kept = replace(batch, images=batch.images[:left], names=batch.names[:left]).to(predictor.device)
            yield kept
            left -= len(kept)
            progress.advance(bar, len(kept))
            if left <= 0:
                return


def _sampling_density(predictor: Predictor, *, last_only: bool) -> SaliencyMap:
    """The model's own map: where it sampled, over all stages or in the last one."""
    import torch

    from sparsevision.explain import density
    from sparsevision.types import Trace

    @torch.no_grad()
    def saliency(images: Tensor, _: Tensor) -> Tensor:
        trace = Trace("points")
        predictor.model(images, trace=trace)
        stages = [points.xy.flatten(1, 2) for points in trace.points.values()]
        points = (stages[-1] if last_only else torch.cat(stages, 1)).cpu()
        height, width = images.shape[-2:]
        return torch.stack([torch.from_numpy(density(one, (height, width))) for one in points])

    return saliency


def _peer_map(peer: str, predictor: Predictor) -> SaliencyMap:
    """Grad-CAM of another model on the same view, in that model's own normalisation and size.

    It explains the class that our model predicted where both know the same classes, else the peer's own prediction.
    """
    from torch.nn import functional as F

    from sparsevision.explain import grad_cam
    from sparsevision.inference import Predictor

    other = Predictor(peer, predictor.device)
    layer = _last_features(other.model, peer)

    def saliency(images: Tensor, targets: Tensor) -> Tensor:
        seen = _renormalised(images, predictor.preprocessing, other.preprocessing)
        seen = F.interpolate(seen, other.preprocessing.size, mode="bilinear", antialias=True)
        wanted = targets if other.labels == predictor.labels else other.model(seen).argmax(1)
        heat = grad_cam(other.model, layer, seen, wanted)
        return F.interpolate(heat[:, None], images.shape[-2:], mode="bilinear")[:, 0]

    return saliency


def _last_features(model: Any, name: str) -> Any:
    info = getattr(model, "feature_info", None)
    if not info:
        raise ConfigError(f"The peer {name!r} has no convolutional features for Grad-CAM; try one like timm/resnet18.")
    return model.get_submodule(info[-1]["module"])


def _renormalised(images: Tensor, ours: Preprocessing, theirs: Preprocessing) -> Tensor:
    if (ours.mean, ours.std) == (theirs.mean, theirs.std):
        return images

    def channels(values: tuple[float, ...]) -> Tensor:
        return images.new_tensor(values).view(-1, 1, 1)

    return (images * channels(ours.std) + channels(ours.mean) - channels(theirs.mean)) / channels(theirs.std)


def _print(rows: list[dict[str, Any]], baseline: str) -> None:
    """Prints the areas under the curves with their 95 % intervals."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = f"Areas under the curves, {rows[0]['pictures']} pictures, {baseline} baseline, 95 % intervals"
    table = Table(title=title)
    table.add_column("map", overflow="fold")
    for heading in ("deletion, low is good", "insertion, high is good", "insertion − random"):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = [
            f"{row[key]:.3f} [{row[f'{key}_low']:.3f}, {row[f'{key}_high']:.3f}]"
            for key in ("deletion", "insertion", "insertion_minus_random")
        ]
        table.add_row(*map(Text, (row["map"], *cells)))
    console = Console()
    # A pipe has no width, and numbers broken in two would be of no use there.
    console.print(table, width=None if console.is_terminal else 120)
