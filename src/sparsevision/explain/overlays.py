"""Observations drawn over an image: one function for each kind, on axes in the image's pixels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import PowerNorm
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from PIL import Image

from .explanation import Explanation, Floats, SamplingStage

INK = "#1a1a1a"
FAINT = "#6b6b6b"
_MAP_PIXELS = 240
_LUMA = (0.299, 0.587, 0.114)
DENSITY_MAP = colormaps["inferno"]
DENSITY_GAMMA = 0.5  # of the colour scale: late stages are many times denser than early ones; both are to be read


def dimmed(image: Image.Image, strength: float = 1.0, saturation: float = 0.35) -> NDArray[np.uint8]:
    """Returns (H, W, 3): the image darkened and greyed, so that overlays stand out.

    `strength` multiplies the brightness that `dimming` gives.
    """
    rgb = np.asarray(image.convert("RGB"), dtype=np.float64)
    grey = rgb @ _LUMA
    faded = grey[..., None] + saturation * (rgb - grey[..., None])
    return (strength * dimming(image) * faded).clip(0, 255).round().astype(np.uint8)


def dimming(image: Image.Image) -> float:
    """Returns the factor that leaves an image dark but readable: dark photographs are darkened less."""
    grey = np.asarray(image.convert("RGB").reduce(4), dtype=np.float64) @ _LUMA
    # Black bars around an image are not part of its brightness.
    lit = grey[grey > 8]
    return float(np.clip(55.0 / lit.mean(), 0.42, 0.9)) if lit.size else 0.9


def draw_image(axes: Axes, explanation: Explanation, *, dim: bool = True) -> None:
    """Shows the image, dimmed so that overlays stand out, or as it is."""
    show_pixels(axes, explanation, dimmed(explanation.preview) if dim else np.asarray(explanation.preview))


def show_pixels(axes: Axes, explanation: Explanation, pixels: NDArray[np.uint8], *, shade: bool = True) -> None:
    """Fills axes with pixels (H, W, 3) that cover the whole image; the axes then count in the image's pixels."""
    width, height = explanation.size
    pixels = shaded(explanation, pixels) if shade else pixels
    axes.imshow(pixels, extent=(0, width, height, 0), interpolation="antialiased", aspect="equal")
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    x0, y0, x1, y1 = explanation.geometry.box
    if min(x0, y0) > 0 or x1 < width or y1 < height:
        axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor="white", alpha=0.55, linewidth=0.4))


def shaded(explanation: Explanation, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Darkens the outside of the model's view, in pixels (H, W, 3) that cover the whole image."""
    rows, columns = pixels.shape[:2]
    seen = explanation.laid(np.ones((1, 1)), (rows, columns)) > 0
    return np.where(seen[..., None], pixels, pixels * 0.5).astype(np.uint8)


def draw_points(
    axes: Axes, stage: SamplingStage, colours: Floats, *, tokens: Iterable[int] | None = None, diameter: float = 1.0
) -> None:
    """Draws sampling points of all tokens, or of some, in their tokens' colours; `diameter` in typographic points.

    Where points do not count alike, that is the heaviest one's.
    """
    chosen = list(range(len(stage.points)) if tokens is None else tokens)
    xy = stage.points[chosen].reshape(-1, 2)
    area: Any = diameter**2
    if stage.weight is not None:
        area = area * stage.weight[chosen].reshape(-1) / max(1e-9, float(stage.weight.max()))
    colour = np.repeat(colours[chosen], stage.points.shape[1], 0)
    axes.scatter(xy[:, 0], xy[:, 1], s=area, c=colour, linewidths=0, zorder=3)


def draw_regions(
    axes: Axes, stage: SamplingStage, colours: Floats, *, tokens: Iterable[int] | None = None, line: float = 0.6
) -> None:
    """Outlines RoIs of all tokens, or of some, in their tokens' colours; `line` in typographic points."""
    if stage.regions is None:
        return
    chosen = list(range(len(stage.regions)) if tokens is None else tokens)
    boxes = [Rectangle((x0, y0), x1 - x0, y1 - y0) for x0, y0, x1, y1 in stage.regions[chosen]]
    axes.add_collection(PatchCollection(boxes, facecolors="none", edgecolors=colours[chosen], lw=line, zorder=4))


def draw_density(axes: Axes, explanation: Explanation, values: NDArray[np.float32] | Floats, most: float) -> None:
    """Lays a density map over the darkened image; the colour scale ends at `most`."""
    height, width = values.shape
    grey = dimmed(explanation.preview.resize((width, height), Image.Resampling.LANCZOS), 1.4, 0.0)
    share = (np.clip(values / most, 0, 1) ** DENSITY_GAMMA)[..., None]
    colour = 255.0 * DENSITY_MAP(share[..., 0])[..., :3]
    # Where nothing was sampled the image stays readable; where much was, colour outweighs it.
    strength = 0.35 + 0.5 * share
    show_pixels(axes, explanation, ((1 - strength) * grey + strength * colour).astype(np.uint8))


def draw_scale(axes: Axes, most: float, ticks: Mapping[float, str]) -> None:
    """Fills axes with a density's colours from 0 to `most`; `ticks` are {value: its name}."""
    norm, edges = PowerNorm(DENSITY_GAMMA, 0, most), np.linspace(0, 1, 129)
    axes.pcolormesh(edges, [0, 1], edges[None, :-1], cmap=DENSITY_MAP)
    axes.set_xticks([float(norm(tick)) for tick in ticks], [*ticks.values()])
    axes.set_yticks([])
    axes.tick_params(length=1.5, width=0.4, pad=1.0, labelsize=5.5, colors=INK)
    axes.spines[:].set_visible(False)


def density_maps(explanation: Explanation, radius: float) -> list[NDArray[np.float32]]:
    """Computes every stage's density at the resolution at which it is drawn."""
    return [explanation.density(stage, map_size(explanation), radius) for stage in explanation.stages]


def map_size(explanation: Explanation) -> tuple[int, int]:
    """Returns the height and width at which maps are drawn."""
    width, height = explanation.size
    scale = _MAP_PIXELS / max(width, height)
    return max(1, round(height * scale)), max(1, round(width * scale))


def draw_spotlight(axes: Axes, explanation: Explanation, region: Floats | None) -> None:
    """Shows the image dimmed, except inside one RoI."""
    small = explanation.preview
    pixels, bright = dimmed(small, 0.85), np.asarray(small)
    if region is not None:
        scale = small.width / explanation.size[0]
        x0, x1 = sorted(int(np.clip(round(x * scale), 0, small.width)) for x in (region[0], region[2]))
        y0, y1 = sorted(int(np.clip(round(y * scale), 0, small.height)) for y in (region[1], region[3]))
        pixels[y0:y1, x0:x1] = bright[y0:y1, x0:x1]
    show_pixels(axes, explanation, pixels)


def write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Writes small text in the axes; dollar signs do not begin a formula."""
    axes.text(x, y, text, **{"fontsize": 6.0, "color": INK, "parse_math": False, **style})


def note(axes: Axes, text: str) -> None:
    """Writes a short remark into a panel's lower left corner, readable on any ground."""
    stroke = [withStroke(linewidth=1.6, foreground="#121212")]
    write(axes, 0.025, 0.03, text, transform=axes.transAxes, color="white", fontsize=5.8, zorder=6, path_effects=stroke)
