"""Measures how the tokens of trained Visual Transformers differ: from an even reading, and from each other.

    python benchmarks/token_spread.py CALTECH101 runs/vt-0/best runs/vt-filter/best

Images of the val split, evenly spaced in its order. Entropies and divergences are in nats: the entropy of a token's
map is at most the logarithm of the number of cells; the divergence of the tokens is that of each map from the mean of
all maps, averaged (Jensen-Shannon's), and 0 where all tokens read the same. Writes `results/token_spread.md`, `.json`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import cyclopts
import numpy as np

from publishing import publish
from sparsevision import Predictor
from sparsevision.explain.token_maps import Floats, entropy
from sparsevision.inference.explaining import explain_images
from sparsevision.measure.report import markdown_table
from sparsevision.tasks import open_dataset

COLUMNS = ("model", "module", "maps", "entropy", "at most", "divergence of the tokens", "most read cell, x even")


@dataclass(frozen=True)
class Spread:
    """Means over images and tokens of one module's maps."""

    model: str
    module: str
    maps: str
    entropy: float
    even: float
    divergence: float
    most: float


def main(data: str, *models: Path, images: int = 150, out: Path = Path("benchmarks/results")) -> None:
    """Measure every model on `images` images."""
    val = open_dataset(data, "val")
    chosen = np.linspace(0, len(val) - 1, min(images, len(val))).astype(int)
    paths = [str(Path(data) / val.names[index]) for index in chosen]
    rows = [row for model in models for row in measure(model, paths)]
    table = [
        (row.model, row.module, row.maps, *(f"{value:.2f}" for value in (row.entropy, row.even)),
         f"{row.divergence:.3f}", f"{row.most:.1f}")
        for row in rows
    ]  # fmt: skip
    head = f"# How visual tokens differ, {len(paths)} images of Caltech-101's val split\n"
    publish(out, "token_spread", "\n".join([head, *markdown_table(COLUMNS, table)]), [asdict(row) for row in rows])


def measure(model: Path, paths: list[str]) -> list[Spread]:
    """Runs one model, named after its run's folder."""
    found: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    for explanation in explain_images(Predictor(str(model), "cpu"), paths):
        for module in explanation.modules:
            for kind, maps in (("reading", module.read), ("listening", module.interaction)):
                if maps is not None:
                    found[module.title, kind].append(spread(maps))
    name = model.parent.name if model.name in ("best", "last-weights") else model.name
    return [
        Spread(name, module, kind, *(float(value) for value in np.mean(each, axis=0)))
        for (module, kind), each in found.items()
    ]


def spread(maps: Floats) -> tuple[float, float, float, float]:
    """Returns entropy, the most that it could be, divergence, and the most read cell, of maps (L, H, W)."""
    cells, own = maps[0].size, float(entropy(maps).mean())
    together = float(entropy(maps.mean(axis=0, keepdims=True))[0])
    return own, float(np.log(cells)), together - own, float(maps.max(axis=(1, 2)).mean() * cells)


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    app()
