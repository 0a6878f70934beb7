"""Scores a run on the small subset of COCO at several keep ratios, and draws what it finds beside what is true.

    python benchmarks/coco_subset.py COCO_SUBSET runs/coco

Writes `results/coco_subset.md` and `.json`, and two figures of the documentation. On the contact sheet are images
under CC BY alone, evenly spaced in the order of the split and not chosen.
"""

from __future__ import annotations

import json
from pathlib import Path

import cyclopts
import numpy as np

from publishing import publish
from sparsevision import Predictor
from sparsevision.evaluation.sweep import Sweep, sweep
from sparsevision.explain import comparison_figure, save_figure, sweep_figure
from sparsevision.measure.report import markdown_table
from sparsevision.tasks.detection.result import true_result
from sparsevision.tasks.detection.task import DetectionTask

KEEP_RATIOS = (0.1, 0.2, 0.3, 0.5, 1.0)
ATTRIBUTION = 4  # COCO's number of CC BY 2.0
SHOWN = 24


def main(
    data: Path, run: Path, *, out: Path = Path("benchmarks/results"), figures: Path = Path("docs/_static/figures")
) -> None:
    """Score the best weights of a run on val, and draw."""
    found = sweep(run / "best", str(data), values={"keep_ratio": KEEP_RATIOS, "selection": ("dam",)})
    shown = draw_sheet(run / "best", data, figures / "contact-coco.jpg")
    publish(out, "coco_subset", report(found, shown), {**found.to_dict(), "data": data.name, "shown": shown})
    figure = sweep_figure(
        [row.to_dict() for row in found.rows], "keep_ratio", float(found.trained["keep_ratio"]), choices=["selection"],
        measures={measure.name: measure.label for measure in found.measures},
        remark=f"{found.images} images; {found.machine}",
    )  # fmt: skip
    save_figure(figure, figures / "coco-keep-ratio.png", dpi=150)


def report(found: Sweep, shown: list[str]) -> str:
    """Lays the figures out, and names whose images the sheet shows."""
    table = markdown_table(
        ("keep ratio", "AP", "AP50", "AP small", "AP medium", "AP large", "ms an image"),
        [
            (
                f"{row.settings['keep_ratio']:g}",
                *(
                    f"{value:.1%}"
                    for value in (
                        row.report.ap, row.report.ap50, row.report.small, row.report.medium, row.report.large
                    )
                ),
                f"{1e3 * row.seconds.value:.0f}",
            )
            for row in found.rows
        ],
    )  # fmt: skip
    names = ", ".join(shown)
    return "\n".join((
        f"# A small subset of COCO, {found.images} images of val\n\n{found.machine}.\n", *table,
        f"\nImages of the contact sheet, all CC BY 2.0, by their numbers at Flickr "
        f"(`https://www.flickr.com/photo.gne?id=NUMBER`): {names}.\n",
    ))  # fmt: skip


def draw_sheet(checkpoint: Path, data: Path, path: Path) -> list[str]:
    """Draws images beside their truth; returns their numbers at Flickr."""
    described = json.loads((data / "annotations" / "val.json").read_text(encoding="utf-8"))["images"]
    free = {row["file_name"]: row["flickr_url"] for row in described if row["license"] == ATTRIBUTION}
    dataset = DetectionTask.open(str(data), "val")
    indices = [index for index, name in enumerate(dataset.names) if Path(name).name in free]
    indices = [indices[place] for place in np.linspace(0, len(indices) - 1, SHOWN).astype(int)]
    records = [dataset.read(index) for index in indices]
    predictor = Predictor(str(checkpoint), "cpu")
    found = [predictor(record.image) for record in records]
    figure = comparison_figure(
        [record.image for record in records],
        found,
        [true_result(record, dataset.classes) for record in records],
    )
    save_figure(figure, path.with_suffix(".png"), dpi=130)
    _as_jpeg(path)
    return [Path(free[Path(record.name).name]).name.split("_")[0] for record in records]


def _as_jpeg(path: Path) -> None:
    from PIL import Image

    drawn = path.with_suffix(".png")
    with Image.open(drawn) as image:
        image.convert("RGB").save(path, quality=85, optimize=True)
    drawn.unlink()


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    app()
