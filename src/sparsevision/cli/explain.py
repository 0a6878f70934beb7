"""`sparsevision explain`: where a model looked, drawn; or measured, whether that is what it decided by."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from sparsevision.cli.names import printable, refuse_options, report_left_out
from sparsevision.errors import ConfigError

if TYPE_CHECKING:
    from sparsevision.explain.faithfulness import Baseline

_Flag = Parameter(negative="")


def explain(
    *pictures: Annotated[str, Parameter(allow_leading_hyphen=True)],
    model: Annotated[str, Parameter(name=("--model", "--checkpoint"))] = "sparseformer_nano",
    out: Path = Path("explained"),
    figure: Literal["stages", "tokens", "disturbed", "all", "none"] = "stages",
    gif: Annotated[bool, _Flag] = False,
    page: Annotated[bool, _Flag] = False,
    label: str | None = None,
    top_tokens: int = 5,
    radius: float = 0.05,
    device: str | None = None,
    faithfulness: Annotated[bool, _Flag] = False,
    data: str | None = None,
    peer: str | None = None,
    limit: int | None = None,
    baseline: Literal["blur", "mean"] = "blur",
) -> int:
    """Draw where a model looked, stage by stage; or measure whether that is true.

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
        stages: points, RoIs and density (the paper's Figures 3 and 4); tokens: those that respond most to a class
        (Figure 6); disturbed: the picture erased and padded (Figure 7).
    gif
        Also an animation of the stages for each picture.
    page
        Also one page on which to step through the stages and follow tokens; it works offline.
    label
        The class of --figure tokens. Default: the predicted one.
    top_tokens
        How many tokens --figure tokens follows.
    radius
        Of the density's top-hat kernel, as a fraction of the picture's shorter side.
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
    refuse_options(
        pictures, ("--model", "--out", "--figure", "--gif", "--page", "--label", "--top-tokens", "--radius", "--device")
    )
    if top_tokens < 1:
        raise ConfigError(f"--top-tokens is {top_tokens}; it must be at least 1.")
    from sparsevision.inference import Predictor
    from sparsevision.inference.looking import Drawer, look_at

    predictor = Predictor(model, device)
    drawer = Drawer(predictor, out, radius=radius)
    number, kept = 0, []
    for look in look_at(predictor, pictures):
        print(printable(str(look.result)))
        drawer.draw(look, figure=figure, gif=gif, label=label, top_tokens=top_tokens)
        number += 1
        if page:
            kept.append(look)
    report_left_out(predictor.skipped, number)
    if page:
        drawer.page(kept, Path(model).name)
    for path in drawer.written:
        print(printable(str(path)))
    return 0


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
