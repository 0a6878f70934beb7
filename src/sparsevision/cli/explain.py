"""`sparsevision explain`: figures, animations and a page of what a model sampled and read; or faithfulness."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from sparsevision.cli.names import printable, report_skipped, split_options
from sparsevision.cli.tables import print_table, progress_bar
from sparsevision.errors import ConfigError
from sparsevision.files import OutputFolder, names_of, replacing
from sparsevision.stopping import StopRequest
from sparsevision.types import Table
from sparsevision.wording import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sparsevision.data.dataset import Dataset
    from sparsevision.explain import ControlSweep, Explanation

_Flag = Parameter(negative="")
_OPTIONS = (
    "model", "out", "overwrite", "figure", "gif", "page", "device", "faithfulness", "data", "peer", "limit", "baseline",
    "tokens",
)  # fmt: skip
_TABLE, _CURVES, _TOKENS = "faithfulness.json", "faithfulness.png", "tokens.json"
# The columns of the table, by the rows' own names.
_AREAS = {
    "deletion": "deletion (low is good)",
    "insertion": "insertion (high is good)",
    "insertion_minus_random": "insertion − random",
}


def explain(
    *images: Annotated[str, Parameter(allow_leading_hyphen=True)],
    model: Annotated[str, Parameter(name=("--model", "--checkpoint"))] = "sparseformer_nano",
    out: Path = Path("explained"), overwrite: Annotated[bool, _Flag] = False, figure: str | None = None,
    gif: Annotated[bool, _Flag] = False, page: Annotated[bool, _Flag] = False, device: str | None = None,
    faithfulness: Annotated[bool, _Flag] = False,
    data: str | None = None, peer: str | None = None, limit: int | None = None,
    baseline: Literal["blur", "mean"] = "blur", tokens: Annotated[bool, _Flag] = False,
) -> int:  # fmt: skip
    """Draw what a model sampled and read, layer by layer; or measure whether that is what it decided by.

    Figures depend on what the model records. Options of the model, its task and figures are given as --name value, as
    --keep-ratio 0.3 or --threshold 0.5.

    The measure deletes and inserts pixels in the order in which maps rank them (the model's own sampling density or
    attention, a random map, the image's centre, Grad-CAM of a peer) and reads how the model's probability follows.

    Args:
        images: Files, folders, glob patterns, or - for a list of paths on standard input; videos for a model of these.
        model: A checkpoint (folder or file), a run's best/ folder, or a model's name for its published weights.
        out: The folder that is written. What `explain` wrote there before is replaced and not read as an image; beside
            a file of the same name a number is added.
        overwrite: Replace files that exist already. Files that are read are never replaced.
        figure: saliency (expected, updated and read tokens, level by level), stages (points, RoIs and density of each
            sampling stage), attention (the cells that each token was read from), interaction (those behind the tokens
            that each token attends to), owners (the token that each cell takes most from), given (the cells that each
            token was given to), query (the samples of an object's query, layer by layer), tokens (those that respond
            most to a class), disturbed (the image erased and padded), clip (frames with the points that were read from
            them), timeline (when tokens look), annotated (the result over the image), all, or none. Default: the first
            of them that the model records. Options of figures are --radius (stages, disturbed), --label and
            --top-tokens (tokens), and --object (query), which alone choose their figure.
        gif: Also an animation for each image: rising values of the model's first control, or the sampling stages.
        page: Also one page on which to step through stages, modules or layers, follow tokens or objects, and slide
            through values of the model's first control; it works offline.
        device: cpu, cuda, cuda:1, ... Default: a GPU if there is one.
        faithfulness: Measure deletion and insertion curves on the val split of --data instead of drawing images.
        data: The data set of --faithfulness or --tokens.
        peer: A checkpoint or timm/NAME whose Grad-CAM is measured as well.
        limit: Measure on so many images, drawn at random (of --tokens the first ones). Default: all.
        baseline: The replacement of deleted pixels: the blurred image, or the mean colour.
        tokens: Measure on the val split of --data how widely visual tokens are read, and how much more on things than
            on the background where the data set has masks.
    """
    from sparsevision.inference.options import resolve_options

    sources, given = split_options(images)
    if tokens and (faithfulness or peer or figure or gif or page or baseline != "blur"):
        raise ConfigError("--tokens measures alone: give it with --data, --limit, --device and --out.")
    if faithfulness:
        if data is None or sources:
            raise ConfigError("--faithfulness measures a data set: give --data and no images.")
        resolve_options(given, [], others=_OPTIONS)
        run = {"device": device, "peer": peer, "limit": limit, "baseline": baseline}
        return _measure(model, data, run, out, overwrite)
    if tokens:
        if data is None or sources:
            raise ConfigError("--tokens measures a data set: give --data and no images.")
        resolve_options(given, [], others=_OPTIONS)
        return _measure_tokens(model, data, {"device": device, "limit": limit}, out, overwrite)
    if not sources:
        raise ConfigError("There is nothing to explain: give images, or --faithfulness or --tokens with --data.")
    drawn = {"figure": figure, "animate": gif, "page": page, "overwrite": overwrite}
    return _draw(sources, given, model, out, drawn, device=device)


def _draw(
    sources: Sequence[str], given: Mapping[str, Any], model: str, out: Path, drawn: dict[str, Any], *,
    device: str | None,
) -> int:  # fmt: skip
    from sparsevision.explain import ExplanationWriter, all_figures
    from sparsevision.inference import Predictor, explaining
    from sparsevision.inference.options import resolve_options
    from sparsevision.inference.sources import inputs_in
    from sparsevision.runtimes import is_exported

    predictor = Predictor(model, device)
    of_figures = [option for kind in all_figures() for option in kind.options]
    values = resolve_options(given, [*of_figures, *predictor.options.values()], others=_OPTIONS)
    names = {option.name for option in of_figures}
    own = {name: value for name, value in values.items() if name in names}
    writer = ExplanationWriter(out, **drawn, options=own, inputs=inputs_in(out, sources))
    run = {name: value for name, value in values.items() if name not in names}
    # One run is enough where nothing is drawn of the others.
    several = explaining.explain_sweep if writer.animate or writer.page else explaining.explain_images
    number = 0
    with StopRequest() as stop:
        explained: Iterator[Explanation | ControlSweep] = several(predictor, sources, **run)
        for each in stop.ending(explained):
            writer.write(each)
            print(printable(str(each.result)))
            number += 1
        if number and writer.page:
            writer.write_page()
    if not stop.signal or number:
        report_skipped(predictor.skipped, number)
    for path in writer.written:
        print(printable(str(path)))
    if is_exported(model) and not predictor.model.traces:
        print("The file does not tell where it looked: export it again, with --trace.", file=sys.stderr)
    stop.raise_if_stopped(f"after {count_of(number, 'image')}, whose files are complete")
    return 0


def _measure(model: str, data: str, run: dict[str, Any], out: Path, overwrite: bool) -> int:
    """Prints the table and writes `faithfulness.json` and `faithfulness.png` into `out`."""
    from sparsevision.evaluation.faithfulness import measure_faithfulness
    from sparsevision.explain import faithfulness_figure, save_figure

    output = _Output(out, (_TABLE, _CURVES), overwrite)
    with progress_bar("deleting and inserting") as progress:
        measured = measure_faithfulness(model, data, **run, progress=progress, opened=output.check)
    folder = output.folder
    report_skipped(measured.skipped, measured.rows[0]["images"])
    with folder.writing(_TABLE) as path, replacing(path) as part:
        part.write_text(json.dumps(asdict(measured), indent=1), encoding="utf-8")
    with folder.writing(_CURVES) as drawn:
        save_figure(faithfulness_figure(measured.rows), drawn)
    print_table(_areas(measured.rows, run["baseline"]))
    print(printable(str(path)), printable(str(drawn)), sep="\n")
    return 0


def _measure_tokens(model: str, data: str, run: dict[str, Any], out: Path, overwrite: bool) -> int:
    """Prints the table and writes `tokens.json` into `out`."""
    from sparsevision.evaluation.token_statistics import measure_tokens

    output = _Output(out, (_TOKENS,), overwrite)
    with progress_bar("reading tokens") as progress:
        measured = measure_tokens(model, data, **run, progress=progress, opened=output.check)
    report_skipped(measured.skipped, measured.images)
    with output.folder.writing(_TOKENS) as path, replacing(path) as part:
        part.write_text(json.dumps(asdict(measured), indent=1), encoding="utf-8")
    rows = tuple(
        (
            each.module, f"{each.entropy:.3f}", f"{each.even:.3f}",
            "not defined" if each.foreground is None else f"{each.foreground:+.1%}",
        )
        for each in measured.rows
    )  # fmt: skip
    columns = ("module", "entropy (nats)", "of an even attention", "on the foreground, against the background")
    heading = f"Attention of visual tokens, {count_of(measured.images, 'image')}"
    print_table(Table(columns=columns, rows=rows, heading=heading, numbers=frozenset({1, 2, 3})))
    print(printable(str(path)))
    return 0


class _Output:
    """The folder that a measurement is written into, checked before anything is read and again with what is read."""

    def __init__(self, out: Path, names: Sequence[str], overwrite: bool) -> None:
        self._out, self._names, self._overwrite = out, names, overwrite
        self.check(None)

    def check(self, dataset: Dataset | None) -> None:
        """Raises ConfigError where a file is not to be replaced."""
        from sparsevision.data.dataset import files_of

        read = names_of(self._out, files_of(dataset))
        self.folder = OutputFolder(self._out, "explain", overwrite=self._overwrite, inputs=read)
        for name in self._names:
            self.folder.check(name)


def _areas(rows: list[dict[str, Any]], baseline: str) -> Table:
    """Returns the areas under the curves with their 95 % intervals."""
    cells = (
        (row["map"], *(f"{row[key]:.3f} [{row[f'{key}_low']:.3f}, {row[f'{key}_high']:.3f}]" for key in _AREAS))
        for row in rows
    )
    heading = f"Areas under the curves, {count_of(rows[0]['images'], 'image')}, {baseline} baseline, 95 % intervals"
    return Table(columns=("map", *_AREAS.values()), rows=tuple(cells), heading=heading, numbers=frozenset({1, 2, 3}))
