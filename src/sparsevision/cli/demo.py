"""`sparsevision demo`: photographs that are already on the machine, recognised and explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sparsevision.cli.names import printable, report_skipped
from sparsevision.cli.tables import print_table
from sparsevision.errors import DataError
from sparsevision.types import Table

if TYPE_CHECKING:
    from sparsevision.types import Result

_MODEL = "sparseformer_nano"
# Photographs inside other packages, by package and path, and what they show; the last one the model gets wrong.
_PHOTOGRAPHS = (
    ("skimage", "data/motorcycle_left.png", "a motorbike"),
    ("skimage", "data/coffee.png", "a cup"),
    ("skimage", "data/chelsea.png", "a cat, not among its classes"),
    ("sklearn", "datasets/images/china.jpg", "a pagoda"),
)


def demo(
    *images: str, out: Path = Path("demo-output"), overwrite: Annotated[bool, Parameter(negative="")] = False
) -> int:
    """Recognise photographs with the shipped weights and draw where the model looked.

    Args:
        images: Files, folders or glob patterns. Default: photographs that come with scikit-learn and scikit-image.
        out: The folder that is written. What `demo` wrote there before is replaced.
        overwrite: Replace other files there, too. Files that are read are never replaced.
    """
    from sparsevision.explain import ExplanationWriter
    from sparsevision.inference import Predictor
    from sparsevision.inference.explaining import explain_images
    from sparsevision.inference.sources import inputs_in

    predictor = Predictor(_MODEL, "cpu")
    inputs = inputs_in(out, images)
    writer = ExplanationWriter(out, page=True, command="demo", overwrite=overwrite, inputs=inputs)
    results: list[Result] = []
    for explanation in explain_images(predictor, images or photographs(), top_k=3):
        # All figures once; each takes a second.
        writer.figure, writer.animate = (None, False) if results else ("all", True)
        writer.write(explanation)
        results.append(explanation.result)
    report_skipped(predictor.skipped, len(results))
    writer.write_page(model=_MODEL)
    shown = {} if images else {Path(inside).name: what for _, inside, what in _PHOTOGRAPHS}
    _print(results, shown, predictor.labels, writer.written)
    return 0


def photographs() -> list[str]:
    """Returns the photographs without importing the packages that hold them."""
    found = []
    for package, inside, _ in _PHOTOGRAPHS:
        spec = find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec else []
        found += [str(path) for place in places if (path := Path(place) / inside).is_file()]
    if not found:
        raise DataError("No photographs were found on this machine: give your own, as in `sparsevision demo cat.jpg`.")
    return found


def _print(
    results: Sequence[Result], shown: Mapping[str, str], classes: Sequence[str], written: Sequence[Path]
) -> None:
    columns = ("image", "shows", "result") if shown else ("image", "result")
    rows = []
    for result in results:
        name = Path(result.name).name
        rows.append((name, *([shown[name]] if shown else []), result.summary()))
    heading = "Content of the images, and the model's results"
    note = f"The model has {len(classes)} classes: {', '.join(classes)}."
    print_table(Table(columns=columns, rows=tuple(rows), heading=heading, note=note))
    print("Written:", *(f"  {printable(str(path))}" for path in written), sep="\n")
    print(f"Open {printable(str(written[-1]))} in a browser to step through the stages.")
