"""Does it pay to look? A trained model against one that looks only once, on digits placed on photographs.

    sparsevision train --recipe scenes_nano --data placed-digits:PHOTOGRAPHS --out runs/scenes
    sparsevision train --recipe scenes_nano --data placed-digits:PHOTOGRAPHS --out runs/scenes_nil \
        --set model.config.focusing_repeats=0
    python benchmarks/looking_pays.py placed-digits:PHOTOGRAPHS runs/scenes/best runs/scenes_nil/best
    python benchmarks/looking_pays.py placed-digits:PHOTOGRAPHS sparseformer_nano.placed_digits

Prints the scores on the val split and the share of the first model's points that lies inside the digit's box, beside
the box's share of the area and the boxes of other images. Without a second model the claims are those of the weights
that are shipped, and the results are called `placed_digits`. Status 1 if a claim is missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cyclopts
import matplotlib.patches as shapes
import numpy as np
import torch
from matplotlib.figure import Figure

from publishing import publish
from sparsevision import Predictor
from sparsevision.data.dataset import Record
from sparsevision.data.layouts.placed_digits import PlacedDigits, photographs_of
from sparsevision.drawing.palette import token_colours
from sparsevision.evaluation.evaluate import split_seed_of
from sparsevision.explain import Explanation, save_figure, share_inside
from sparsevision.explain.overlays import draw_image, draw_points
from sparsevision.explain.sheet import Sheet
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.report import markdown_table
from sparsevision.tasks import open_dataset

# The claims: points of top-1, and shares as multiples of the area's; of the weights that are shipped, the top-1 itself.
GAP, INSIDE, ELSEWHERE = 15.0, 3.0, 1.2
SHIPPED_TOP1, SHIPPED_INSIDE = 80.0, 5.0
DRAWN, COLUMNS = 12, 6
SIZES = ((24, 32), (33, 40), (41, 48))


@dataclass
class Seen:
    """What a model made of all scenes; shares are means over scenes, `inside` per stage."""

    top1: float
    by_side: dict[str, float]
    area: float
    inside: dict[str, float]
    elsewhere: dict[str, float]
    explanations: list[Explanation] = field(repr=False)
    right: list[bool] = field(repr=False)

    @property
    def last(self) -> str:
        return list(self.inside)[-1]

    def record(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name not in ("explanations", "right")}


def main(
    data: str, looking: str, nil: str | None = None, *, out: Path = Path("benchmarks/results"), side: int = 256
) -> int:
    """Score the models on the val scenes of `data`; write tables and a figure into `out`."""
    scenes = open_dataset(data, "val", side=side, seed=split_seed_of(looking))
    if not isinstance(scenes, PlacedDigits):
        raise SystemExit(f"{data!r} holds no placed digits: write placed-digits:PHOTOGRAPHS.")
    records = [scenes.read(index) for index in range(len(scenes))]
    boxes = torch.tensor([scenes.box(index) for index in range(len(scenes))])
    found = {
        name: run_on(Predictor(weights), scenes, records, boxes)
        for name, weights in {"looking": looking, "nil": nil}.items()
        if weights is not None
    }
    text, held = report(found["looking"], found.get("nil"), scenes, Path(photographs_of(data)).absolute())
    whole = {"machine": asdict(describe_machine()), **{name: seen.record() for name, seen in found.items()}}
    called = "looking_pays" if nil else "placed_digits"
    publish(out, called, text, whole)
    save_figure(draw(found["looking"], boxes[shown(len(boxes))] * scenes.size), out / f"{called}.png")
    return 0 if held else 1


def shown(scenes: int) -> list[int]:
    """Returns the scenes that are drawn, evenly spaced."""
    return np.linspace(0, scenes - 1, DRAWN).round().astype(int).tolist()


def run_on(predictor: Predictor, scenes: PlacedDigits, records: Sequence[Record], boxes: torch.Tensor) -> Seen:
    """Predicts every scene with its trace and measures where the points lie."""
    hits: list[bool] = []
    explanations: list[Explanation] = []
    points: dict[str, list[torch.Tensor]] = {}
    results = predictor.stream((record.image for record in records), top_k=1, trace="points")
    drawn = shown(len(records))
    for index, (record, result) in enumerate(zip(records, results, strict=True)):
        hits.append(result.labels[0] == scenes.classes[record.target])
        for stage, seen in result.trace.points.items():
            points.setdefault(stage, []).append(
                result.geometry.to_original(seen.xy.double()).flatten(0, 1) / scenes.size
            )
        if index in drawn:
            explanations.append(Explanation(image=record.image, result=result))
    sides = ((boxes[:, 2] - boxes[:, 0]) * scenes.size).round().numpy()
    right = np.array(hits, dtype=float)
    others = boxes[np.random.default_rng(0).permutation(len(boxes))]
    stacked = {stage: torch.stack(found) for stage, found in points.items()}
    return Seen(
        top1=100 * right.mean(),
        by_side={f"{low} to {high} px": 100 * right[(low <= sides) & (sides <= high)].mean() for low, high in SIZES},
        area=float(((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).mean()),
        inside={stage: float(share_inside(found, boxes.double()).mean()) for stage, found in stacked.items()},
        elsewhere={stage: float(share_inside(found, others.double()).mean()) for stage, found in stacked.items()},
        explanations=explanations,
        right=[hits[index] for index in drawn],
    )


def report(looking: Seen, nil: Seen | None, scenes: PlacedDigits, folder: Path) -> tuple[str, bool]:
    """Returns the tables as Markdown, and whether every claim holds."""
    stage, area = looking.last, looking.area
    inside, elsewhere = looking.inside[stage] / area, looking.elsewhere[stage] / area
    if nil is None:
        least = SHIPPED_INSIDE
        score = ("top-1", f"{looking.top1:.1f} %", f">= {SHIPPED_TOP1:g} %", looking.top1 >= SHIPPED_TOP1)
    else:
        least, gap = INSIDE, looking.top1 - nil.top1
        score = ("top-1, looking minus looking once", f"{gap:.1f} points", f">= {GAP:g} points", gap >= GAP)
    claims = [
        score,
        (f"points of {stage} in the digit's box / its area", f"{inside:.1f}x", f">= {least:g}x", inside >= least),
        ("the same in another image's box", f"{elsewhere:.2f}x", f"<= {ELSEWHERE:g}x", elsewhere <= ELSEWHERE),
    ]
    origin = scenes.origin.replace(f"{folder.parent}/", "")
    heading = "# Digits on photographs" if nil is None else "# Does looking pay?"
    lines = [heading, "", f"Val: {origin}. {describe_machine()}.", ""]
    scores = [
        (name, f"{seen.top1:.1f} %", *(f"{value:.1f} %" for value in seen.by_side.values()))
        for name, seen in (("nano", looking), ("nano, focusing_repeats=0", nil))
        if seen is not None
    ]
    lines += [*markdown_table(("model", "top-1", *looking.by_side), scores), ""]
    lines += [
        *markdown_table(
            ("claim", "figure", "threshold", "verdict"), [(*row, "met" if held else "MISSED") for *row, held in claims]
        ),
        "",
    ]
    stages = [
        (name, f"{100 * share:.2f} %", f"{share / area:.2f}x", f"{looking.elsewhere[name] / area:.2f}x")
        for name, share in looking.inside.items()
    ]
    lines.append(f"A box covers {100 * area:.2f} % of the image on average; of nano's points there lie in it:")
    lines += ["", *markdown_table(("stage", "share", "x area", "other image's box, x area"), stages)]
    return "\n".join(lines), all(held for *_, held in claims)


def draw(seen: Seen, boxes: torch.Tensor) -> Figure:
    """Draws scenes, evenly spaced: where the first stage looked and, below it, where the last did."""
    groups = DRAWN // COLUMNS
    sheet = Sheet(
        6.9,
        [""] * COLUMNS,
        [1.0] * (2 * groups),
        heading="Scenes of val, evenly spaced",
        remark="first and last stage; green: the answer is right",
    )
    colours = token_colours(seen.explanations[0].num_tokens)
    for index, explanation in enumerate(seen.explanations):
        row, column = 2 * (index // COLUMNS), index % COLUMNS
        for offset, stage in ((0, explanation.stages[0]), (1, explanation.stages[-1])):
            panel = sheet.panel(row + offset, column)
            draw_image(panel, explanation, dim=offset == 0)
            draw_points(panel, stage, colours, diameter=0.9)
            x0, y0, x1, y1 = boxes[index].tolist()
            edge = "#39d353" if seen.right[index] else "#ff4d4d"
            panel.add_patch(
                shapes.Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=edge, linewidth=0.9, zorder=4)
            )
            if column == 0:
                sheet.label_row(row + offset, stage.title)
    return sheet.figure


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    raise SystemExit(app())
