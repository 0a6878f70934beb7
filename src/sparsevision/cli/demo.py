"""`sparsevision demo`: photographs that are already on the machine, recognised by the shipped weights and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sparsevision.cli.names import printable, report_left_out
from sparsevision.errors import DataError

if TYPE_CHECKING:
    from sparsevision.explain import Look

_MODEL = "sparseformer_nano"
# Photographs inside other packages, by package and path.
_PHOTOGRAPHS = (
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
    ("skimage", "data/chelsea.png"),
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
    from sparsevision.inference.looking import Drawer, look_at

    predictor = Predictor(_MODEL, "cpu")
    looks = list(look_at(predictor, pictures or photographs(), top_k=3))
    report_left_out(predictor.skipped, len(looks))
    drawer = Drawer(predictor, out)
    for look in looks:
        # All kinds of figures once; each takes a second.
        first = look is looks[0]
        drawer.draw(look, figure="all" if first else "stages", gif=first, top_tokens=4)
    drawer.page(looks, _MODEL)
    _print(looks, predictor.labels, drawer.written)
    return 0


def photographs() -> list[str]:
    """Finds the photographs without importing the packages that hold them."""
    found = []
    for package, inside in _PHOTOGRAPHS:
        spec = find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec else []
        found += [str(path) for place in places if (path := Path(place) / inside).is_file()]
    if not found:
        raise DataError("No photographs were found on this machine: give your own, as in `sparsevision demo cat.jpg`.")
    return found


def _print(looks: Sequence[Look], classes: Sequence[str], written: Sequence[Path]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table(title="What the pictures show, and how sure the model is")
    for heading in ("picture", "first", "second", "third"):
        table.add_column(heading, overflow="fold")
    for look in looks:
        guesses = [f"{label} {score:.2f}" for label, score in zip(look.result.labels, look.result.scores, strict=True)]
        table.add_row(*map(Text, [printable(Path(look.result.name).name), *guesses]))
    console.print(table)
    console.print(Text(f"The model knows {len(classes)} classes and nothing else: {', '.join(classes)}.", style="dim"))
    console.print("Written:")
    for path in written:
        print(f"  {printable(str(path))}")
    print(f"Open {printable(str(written[-1]))} in a browser to step through the stages.")
