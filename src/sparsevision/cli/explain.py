"""`sparsevision explain`: where a model looked, drawn; or measured, whether that is what it decided by."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from sparsevision.cli.names import printable, refuse_options, report_left_out
from sparsevision.errors import ConfigError

if TYPE_CHECKING:
    from sparsevision.explain.faithfulness import Baseline
    from sparsevision.inference import Predictor

_Flag = Parameter(negative="")
_Figure = Literal[
    "stages", "tokens", "disturbed", "attention", "interaction", "detections", "saliency", "query", "all", "none"
]  # fmt: skip
_OPTIONS = (
    "--model", "--out", "--figure", "--gif", "--page", "--label", "--top-tokens", "--radius", "--object", "--threshold",
    "--keep-ratio", "--device",
)  # fmt: skip


def explain(
    *pictures: Annotated[str, Parameter(allow_leading_hyphen=True)],
    model: Annotated[str, Parameter(name=("--model", "--checkpoint"))] = "sparseformer_nano",
    out: Path = Path("explained"),
    figure: _Figure | None = None,
    gif: Annotated[bool, _Flag] = False,
    page: Annotated[bool, _Flag] = False,
    label: str | None = None,
    top_tokens: int | None = None,
    radius: float | None = None,
    object_: Annotated[int | None, Parameter(name="--object")] = None,
    threshold: float | None = None,
    keep_ratio: float | None = None,
    device: str | None = None,
    faithfulness: Annotated[bool, _Flag] = False,
    data: str | None = None,
    peer: str | None = None,
    limit: int | None = None,
    baseline: Literal["blur", "mean"] = "blur",
) -> int:
    """Draw where a model looked, layer by layer; or measure whether that is true.

    What can be drawn goes by the model: of a SparseFormer its stages and tokens, of a Visual Transformer where each
    token was read, of a detector what it found, which tokens it updated and where each object's query looked.

    The measure deletes and inserts pixels in the order in which maps rank them (the model's own sampling density, a
    random map, the picture's centre, Grad-CAM of a peer) and reads how the model's probability follows.

    Parameters
    ----------
    pictures
        Files, folders, glob patterns, or - for a list of paths on standard input.
    model
        A checkpoint (folder or file), a run's best/ folder, or a model's name for its published weights.
    out
        The folder that is written.
    figure
        Of a SparseFormer: stages (points, RoIs and density, the paper's Figures 3 and 4; the default), tokens (those
        that respond most to a class, Figure 6) or disturbed (the picture erased and padded, Figure 7). Of a Visual
        Transformer: attention (where each token was read; the default) or interaction (where those tokens were read
        that it listened to). Of a detector:
        detections (numbered), saliency (expected, updated and read tokens, level by level; the default) or query (where
        the query of --object sampled, layer by layer).
    gif
        Also an animation for each picture: of a SparseFormer's stages, or of a detector's rising keep ratio.
    page
        Also one page on which to step through the stages, modules or layers and follow tokens or objects, with a
        detector's keep ratio on a slider; it works offline.
    label
        A SparseFormer's class for --figure tokens. Default: the predicted one.
    top_tokens
        How many of a SparseFormer's tokens --figure tokens follows. Default: 5.
    radius
        Of the top-hat kernel of a SparseFormer's density, as a fraction of the picture's shorter side. Default: 0.05.
    object_
        The number of a detector's object whose query is followed, as --figure detections writes it. Default: 1, the
        best.
    threshold
        The score from which on a detector's object counts. Default: each class's own, as the weights carry it, or 0.5.
    keep_ratio
        The share of the tokens that a sparse detector's encoder updates. Default: as it was trained.
    device
        Where to run: cpu, cuda, ...
    faithfulness
        Measure deletion and insertion curves on the val split of --data instead of drawing pictures.
    data
        The data set of --faithfulness.
    peer
        A checkpoint or timm/NAME whose Grad-CAM is measured as well.
    limit
        Measure on so many pictures, drawn at random. Default: all.
    baseline
        What stands where pixels are deleted: the blurred picture, or the mean colour.
    """
    if faithfulness:
        if data is None or pictures:
            raise ConfigError("--faithfulness measures a data set: give --data and no pictures.")
        return _measure(model, data, out, device=device, peer=peer, limit=limit, baseline=baseline)
    if not pictures:
        raise ConfigError("There is nothing to explain: give pictures, or --faithfulness with --data.")
    refuse_options(pictures, _OPTIONS)
    from sparsevision.inference import Predictor

    predictor = Predictor(model, device)
    of_samplers = {"label": label, "top_tokens": top_tokens, "radius": radius}
    of_detectors = {"object": object_, "threshold": threshold, "keep_ratio": keep_ratio}
    drawing = _Drawing(pictures, out, figure, gif, page, Path(model).name)
    if predictor.task == "detection":
        _refuse(of_samplers, "a SparseFormer's", "a detector")
        written = _draw_detector(predictor, drawing, **_given(of_detectors))
    elif "heat" in getattr(predictor.model, "traces", ()):
        _refuse(of_samplers, "a SparseFormer's", "a Visual Transformer")
        _refuse(of_detectors, "a detector's", "a classifier")
        written = _draw_attention(predictor, drawing)
    else:
        _refuse(of_detectors, "a detector's", "a classifier")
        written = _draw_stages(predictor, drawing, **_given(of_samplers))
    for path in written:
        print(printable(str(path)))
    return 0


class _Drawing(NamedTuple):
    """What is drawn whatever the model."""

    pictures: tuple[str, ...]
    out: Path
    figure: _Figure | None
    gif: bool
    page: bool
    model: str


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _refuse(options: Mapping[str, Any], whose: str, kind: str) -> None:
    """Raises ConfigError for an option that is given and means nothing for this kind of model."""
    for name in _given(options):
        option = "--" + name.replace("_", "-")
        raise ConfigError(f"{option} is {whose} option, and the model is {kind}: leave it out.")


def _draw_stages(
    predictor: Predictor, drawing: _Drawing, *, label: str | None = None, top_tokens: int = 5, radius: float = 0.05
) -> list[Path]:
    """Draws the stages and tokens of each picture, and returns the files."""
    from sparsevision.inference.drawers import Drawer
    from sparsevision.inference.looking import look_at

    figure: Any = drawing.figure or "stages"
    _check_figure(figure, "a SparseFormer", ("stages", "tokens", "disturbed"))
    if top_tokens < 1:
        raise ConfigError(f"--top-tokens is {top_tokens}; it must be at least 1.")
    drawer = Drawer(predictor, drawing.out, radius=radius)
    draw = partial(drawer.draw, figure=figure, gif=drawing.gif, label=label, top_tokens=top_tokens)
    return _draw_each(predictor, drawing, look_at(predictor, drawing.pictures), drawer, draw)


def _draw_attention(predictor: Predictor, drawing: _Drawing) -> list[Path]:
    """Draws where each token of each picture was read, and returns the files."""
    from sparsevision.inference.drawers import AttentionDrawer
    from sparsevision.inference.looking import look_at

    figure: Any = drawing.figure or "attention"
    _check_figure(figure, "a Visual Transformer", ("attention", "interaction"))
    if drawing.gif:
        raise ConfigError("--gif runs through stages or keep ratios, and this model has neither: leave it out.")
    drawer = AttentionDrawer(drawing.out)
    looks = look_at(predictor, drawing.pictures)
    return _draw_each(predictor, drawing, looks, drawer, partial(drawer.draw, figure=figure))


def _draw_detector(predictor: Predictor, drawing: _Drawing, **options: Any) -> list[Path]:
    """Draws what a detector found in each picture, its tokens and an object's query, and returns the files."""
    from sparsevision.inference.drawers import DetectionDrawer
    from sparsevision.inference.looking import sweep_at

    number = options.pop("object", None)
    figure: Any = drawing.figure or ("saliency" if number is None else "query")
    _check_figure(figure, "a detector", ("detections", "saliency", "query"))
    if number is not None and figure not in ("query", "all"):
        raise ConfigError(f"--object chooses whose query is drawn, and --figure {figure} draws none: give one of them.")
    if drawing.gif and not predictor.model.controls:
        raise ConfigError("--gif runs through the values of a model's control, and this model has none: leave it out.")
    drawer = DetectionDrawer(drawing.out)
    # One run is enough where nothing is drawn of the others.
    sweeps = sweep_at(predictor, drawing.pictures, whole=drawing.gif or drawing.page, **options)
    draw = partial(drawer.draw, figure=figure, gif=drawing.gif, number=number)
    return _draw_each(predictor, drawing, sweeps, drawer, draw)


def _draw_each(
    predictor: Predictor, drawing: _Drawing, looks: Iterable[Any], drawer: Any, draw: Callable[[Any], None]
) -> list[Path]:
    """Draws one look (or sweep) after another, then the page about all of them, and returns the files."""
    number, kept = 0, []
    for look in looks:
        print(printable(str(look.result)))
        draw(look)
        number += 1
        if drawing.page:
            kept.append(look)
    report_left_out(predictor.skipped, number)
    if drawing.page:
        drawer.page(kept, drawing.model)
    return list(drawer.written)


def _check_figure(figure: str, kind: str, known: tuple[str, ...]) -> None:
    """Raises ConfigError for a figure that there is of another kind of model only."""
    if figure not in (*known, "all", "none"):
        listed = f"{', '.join(known[:-1])} and {known[-1]}"
        raise ConfigError(f"The model is {kind}, of which there is no figure {figure!r}: choose from {listed}.")


def _measure(
    model: str, data: str, out: Path, *, device: str | None, peer: str | None, limit: int | None, baseline: Baseline
) -> int:
    """Prints the table and writes `faithfulness.json` and `faithfulness.png` into `out`."""
    from rich.console import Console
    from rich.progress import Progress

    from sparsevision.explain import faithfulness_figure, save_figure
    from sparsevision.measure.faithfulness import measure_faithfulness

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("deleting and inserting", total=None)
        measured = measure_faithfulness(
            model, data, peer=peer, limit=limit, baseline=baseline, device=device,
            progress=lambda done, of: progress.update(bar, completed=done, total=of),
        )  # fmt: skip
    report_left_out(measured.skipped, measured.rows[0]["pictures"])
    out.mkdir(parents=True, exist_ok=True)
    path = out / "faithfulness.json"
    path.write_text(json.dumps(asdict(measured), indent=1), encoding="utf-8")
    drawn = save_figure(faithfulness_figure(measured.rows), out / "faithfulness.png")
    _print(measured.rows, baseline)
    print(path, drawn, sep="\n")
    return 0


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
    (console if console.is_terminal else Console(width=120)).print(table)
