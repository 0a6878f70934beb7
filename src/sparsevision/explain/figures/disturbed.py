"""The sampling density of erased and padded versions of an image (Figure 7 of the SparseFormer paper)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ..density import DEFAULT_RADIUS
from ..explanation import Explanation, shortened
from ..kinds import FigureKind
from ..overlays import density_maps, draw_density, draw_image
from ..sheet import TEXT_WIDTH, Sheet, panel_ratio
from .stages import RADIUS

Disturbance = Callable[[Image.Image], Image.Image]


def disturbed_figure(explanation: Explanation, *, radius: float = DEFAULT_RADIUS, width: float = TEXT_WIDTH) -> Figure:
    """Draws the sampling density of an image and of each disturbed version of it, a row for each.

    `radius` of the density's top-hat kernel, as a fraction of each image's shorter side; `width` in inches.
    """
    rerun = explanation.rerun
    assert rerun is not None, "the figure needs rerun"
    disturbed = {name: rerun(disturb(explanation.image)) for name, disturb in DISTURBANCES.items()}
    versions = {"original": explanation, **disturbed}
    titles = ["Input", *(stage.title for stage in explanation.stages)]
    maps = {name: density_maps(version, radius) for name, version in versions.items()}
    most = max(float(values.max()) for rows in maps.values() for values in rows) or 1.0
    ratios = [panel_ratio(version) for version in versions.values()]
    remark = f"brightest: {most:.0f} times even sampling"
    sheet = Sheet(width, titles, ratios, heading="Sampling density", remark=remark, row_label=0.28)
    for row, (name, version) in enumerate(versions.items()):
        length = sheet.letters(sheet.heights[row], 6.0)
        sheet.label_row(row, shortened(name[:1].upper() + name[1:], length), version.answer(length))
        draw_image(sheet.panel(row, 0), version, dim=False)
        for column, values in enumerate(maps[name], start=1):
            draw_density(sheet.panel(row, column), version, values, most)
    return sheet.figure


def erase(image: Image.Image, *, share: float = 0.15, count: int = 3, seed: int = 0) -> Image.Image:
    """Blackens `count` seeded rectangles that together cover `share` of the image (less where they overlap)."""
    draw = np.random.default_rng(seed)
    width, height = image.size
    erased = image.convert("RGB")
    for _ in range(count):
        aspect = np.exp(draw.uniform(np.log(0.5), np.log(2.0)))
        area = share * width * height / count
        box_width = min(width, round(np.sqrt(area * aspect)))
        box_height = min(height, round(np.sqrt(area / aspect)))
        left = int(draw.integers(0, width - box_width + 1))
        top = int(draw.integers(0, height - box_height + 1))
        erased.paste((0, 0, 0), (left, top, left + box_width, top + box_height))
    return erased


def pad(image: Image.Image, *, mode: Literal["constant", "symmetric"], share: float = 0.4) -> Image.Image:
    """Adds `share` of its width and height on each side of the image: black, or its mirror image."""
    across, down = round(share * image.width), round(share * image.height)
    return Image.fromarray(np.pad(np.asarray(image.convert("RGB")), ((down, down), (across, across), (0, 0)), mode))


DISTURBANCES: dict[str, Disturbance] = {
    "erased": erase,
    "zero-padded": partial(pad, mode="constant"),
    "reflected": partial(pad, mode="symmetric"),
}


FIGURE = FigureKind(
    name="disturbed", description="sampling density of the image erased and padded",
    needs=frozenset({"points", "rerun"}), draw=disturbed_figure, options=(RADIUS,),
)  # fmt: skip
