"""`sparsevision demo`: photographs that are already on the machine, recognised by the shipped weights and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevision.cli.names import printable, report_left_out
from sparsevision.errors import DataError

if TYPE_CHECKING:
    from sparsevision.explain import Look

_MODEL = "sparseformer_nano"
# Photographs inside other packages, by package and path, and what they show; the last one the model gets wrong.
_PHOTOGRAPHS = (
    ("skimage", "data/motorcycle_left.png", "a motorbike"),
    ("skimage", "data/coffee.png", "a cup"),
    ("skimage", "data/chelsea.png", "a cat, not among its classes"),
    ("sklearn", "datasets/images/china.jpg", "a pagoda"),
)


def demo(*pictures: str, out: Path = Path("demo-output")) -> int:
    """Recognise photographs with the shipped weights and draw where the model looked.

    Parameters
    ----------
    pictures
        Files, folders or glob patterns. Default: photographs that come with scikit-learn and scikit-image.
    out
        The folder that is written.
    """
    from sparsevision.inference import Predictor
    from sparsevision.inference.drawers import Drawer
    from sparsevision.inference.looking import look_at

    predictor = Predictor(_MODEL, "cpu")
    looks = list(look_at(predictor, pictures or photographs(), top_k=3))
    report_left_out(predictor.skipped, len(looks))
    drawer = Drawer(predictor, out)
    for look in looks:
        # All kinds of figures once; each takes a second.
        first = look is looks[0]
        drawer.draw(look, figure="all" if first else "stages", gif=first, top_tokens=4)
    drawer.page(looks, _MODEL)
    shown = {} if pictures else {Path(inside).name: what for _, inside, what in _PHOTOGRAPHS}
    _print(looks, shown, predictor.labels, drawer.written)
    return 0


def photographs() -> list[str]:
    """Finds the photographs without importing the packages that hold them."""
    found = []
    for package, inside, _ in _PHOTOGRAPHS:
        spec = find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec else []
        found += [str(path) for place in places if (path := Path(place) / inside).is_file()]
    if not found:
        raise DataError("No photographs were found on this machine: give your own, as in `sparsevision demo cat.jpg`.")
    return found


def _print(looks: Sequence[Look], shown: Mapping[str, str], classes: Sequence[str], written: Sequence[Path]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(title="What the pictures show, and how sure the model is")
    for heading in ("picture", *(["shows"] if shown else []), "first", "second"):
        table.add_column(heading, overflow="fold")
    for look in looks:
        best = list(zip(look.result.labels, look.result.scores, strict=True))[:2]
        guesses = [f"{label} {score:.2f}" for label, score in best]
        name = Path(look.result.name).name
        table.add_row(*map(Text, [printable(name), *([shown[name]] if shown else []), *guesses]))
    console.print(table)
    console.print(Text(f"The model knows {len(classes)} classes and nothing else: {', '.join(classes)}.", style="dim"))
    console.print("Written:")
    for path in written:
        print(f"  {printable(str(path))}")
    print(f"Open {printable(str(written[-1]))} in a browser to step through the stages.")
