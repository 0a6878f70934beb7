"""The sampling density of erased and padded versions of an image (Figure 7 of the SparseFormer paper)."""

from __future__ import annotations

from matplotlib.figure import Figure

from ..density import DEFAULT_RADIUS
from ..disturbances import DISTURBANCES
from ..explanation import Explanation, shortened
from ..kinds import FigureKind
from ..overlays import density_maps, draw_density, draw_image
from ..sheet import TEXT_WIDTH, Sheet, panel_ratio
from .stages import RADIUS


def disturbed_figure(explanation: Explanation, *, radius: float = DEFAULT_RADIUS, width: float = TEXT_WIDTH) -> Figure:
    """Draws the sampling density of an image and of each disturbed version of it, a row for each.

    Args:
        explanation: with points in the trace, and `rerun`.
        radius: of the density's top-hat kernel, as a fraction of each image's shorter side.
        width: of the figure in inches.
    """
    rerun = explanation.rerun
    assert rerun is not None, "the figure needs rerun"
    versions = {"original": explanation}
    versions |= {name: rerun(disturb(explanation.image)) for name, disturb in DISTURBANCES.items()}
    titles = ["Input", *(stage.title for stage in explanation.stages)]
    maps = {name: density_maps(version, radius) for name, version in versions.items()}
    most = max(float(values.max()) for rows in maps.values() for values in rows) or 1.0
    ratios = [panel_ratio(version) for version in versions.values()]
    remark = f"brightest: {most:.0f} times even sampling"
    sheet = Sheet(width, len(titles), ratios, heading="Sampling density", remark=remark, titles=titles, row_label=0.28)
    for row, (name, version) in enumerate(versions.items()):
        length = sheet.letters(sheet.heights[row], 6.0)
        sheet.label_row(row, shortened(name[:1].upper() + name[1:], length), version.answer(length))
        draw_image(sheet.panel(row, 0), version, dim=False)
        for column, values in enumerate(maps[name], start=1):
            draw_density(sheet.panel(row, column), version, values, most)
    return sheet.figure


FIGURE = FigureKind(
    name="disturbed",
    description="sampling density of the image erased and padded",
    needs=frozenset({"points", "rerun"}),
    draw=disturbed_figure,
    options=(RADIUS,),
)
