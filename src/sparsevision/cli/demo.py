"""`sparsevision demo`: what the shipped models make of photographs, each explained, and one page over all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from sparsevision.cli.names import printable, report_skipped
from sparsevision.cli.tables import print_table
from sparsevision.types import Table

_MODEL = "sparseformer_nano"
_PAGE = "index.html"


@dataclass(frozen=True)
class Scene:
    """A photograph inside a package, what it shows, and the model that sees it, with `options` of that.

    `label` is the class that is right, of a classifier; `needs` is a package without which the result cannot be told.
    """

    name: str
    model: str
    package: str
    inside: str
    shows: str
    label: str | None = None
    animated: bool = False
    needs: str = "sparsevision"
    options: Mapping[str, Any] = field(default_factory=dict)


SCENES = (
    Scene(
        "digit", "sparseformer_nano.placed_digits", "sparsevision", "demo_images/digit.jpg",
        "a cup of coffee, and a small 4", label="4", animated=True, options={"top_k": 3},
    ),
    Scene(
        "motorbike", _MODEL, "skimage", "data/motorcycle_left.png", "a motorbike", "Motorbikes", options={"top_k": 3},
    ),
    Scene(
        "blood-cells", "sparse_detr_nano", "sparsevision", "demo_images/blood-cells.jpg",
        "blood: 14 red cells, 1 white, 3 platelets", animated=True,
    ),
    Scene(
        "nuclei", "vt_fpn_nano", "sparsevision", "demo_images/nuclei.jpg", "54 nuclei under a microscope",
        needs="scipy", options={"min_area": 10},
    ),
    Scene(
        "pagoda", _MODEL, "sklearn", "datasets/images/china.jpg", "a pagoda", "pagoda", options={"top_k": 3},
    ),
)  # fmt: skip


def demo(
    *images: str, out: Path = Path("demo-output"), overwrite: Annotated[bool, Parameter(negative="")] = False
) -> int:
    """Show what the shipped models make of photographs, and where they looked.

    Args:
        images: Files, folders or glob patterns for the classifier. Default: photographs that come with this package,
            with scikit-learn and with scikit-image, for all shipped models.
        out: The folder that is written. What `demo` wrote there before is replaced.
        overwrite: Replace other files there, too. Files that are read are never replaced.
    """
    return _of_own(images, out, overwrite) if images else _of_all(out, overwrite)


def found_scenes() -> list[tuple[Scene, str]]:
    """Returns the scenes that this machine can show and the paths of their photographs, importing no package."""
    found = []
    for scene in SCENES:
        spec = find_spec(scene.package) if find_spec(scene.needs) else None
        paths = [Path(place) / scene.inside for place in spec.submodule_search_locations or ()] if spec else []
        found += [(scene, str(path)) for path in paths if path.is_file()]
    return found


def _of_all(out: Path, overwrite: bool) -> int:
    """Explains every scene in a folder of its own, and writes the page over them."""
    from sparsevision.explain import ExplanationWriter
    from sparsevision.explain.overview import Card, save_overview
    from sparsevision.files import OutputFolder
    from sparsevision.inference import Predictor
    from sparsevision.inference.explaining import explain_sweep

    scenes = found_scenes()
    folder = OutputFolder(out, "demo", overwrite=overwrite)
    folder.check(_PAGE)
    writers = [
        ExplanationWriter(out / scene.name, animate=scene.animated, page=True, command="demo", overwrite=overwrite)
        for scene, _ in scenes
    ]
    predictors = {name: Predictor(name, "cpu") for name in dict.fromkeys(scene.model for scene, _ in scenes)}
    cards, shown = [], []
    for (scene, path), writer in zip(scenes, writers, strict=True):
        sweep = next(explain_sweep(predictors[scene.model], [path], runs=1, **scene.options), None)
        if sweep is None:  # the photograph is damaged
            continue
        shown.append(scene)
        writer.write(sweep)
        writer.write_page()
        wrong = scene.label is not None and getattr(sweep.result, "labels", ())[:1] != (scene.label,)
        cards.append(
            Card(
                image=sweep.result.annotate(sweep.own.image), model=sweep.own.model, result=sweep.result.summary(),
                title=f"{scene.shows}, which it gets wrong" if wrong else scene.shows,
                page=f"{scene.name}/{writer.PAGE}",
                animation=next((file for file in writer.written if file.suffix == ".gif"), None),
            )
        )  # fmt: skip
    with folder.writing(_PAGE) as page:
        save_overview(cards, page, title="What the shipped models make of photographs")
    if missing := [scene.shows for scene in SCENES if scene not in shown]:
        print(f"Left out: {'; '.join(missing)}. To see them: pip install 'sparsevision[demo]'.")
    rows = tuple((card.title, card.result, card.model) for card in cards)
    print_table(Table(columns=("photograph of", "result", "model"), rows=rows, heading="Photographs and results"))
    print(f"Open {printable(str(page))} in a browser: its cards lead to where the models looked, step by step.")
    return 0


def _of_own(images: Sequence[str], out: Path, overwrite: bool) -> int:
    """Lets the classifier see a user's images."""
    from sparsevision.explain import ExplanationWriter
    from sparsevision.inference import Predictor
    from sparsevision.inference.explaining import explain_images
    from sparsevision.inference.sources import inputs_in

    predictor = Predictor(_MODEL, "cpu")
    inputs = inputs_in(out, images)
    writer = ExplanationWriter(out, page=True, command="demo", overwrite=overwrite, inputs=inputs)
    rows: list[tuple[str, str]] = []
    for explanation in explain_images(predictor, images, top_k=3):
        writer.animate = not rows  # a GIF takes a second
        writer.write(explanation)
        rows.append((Path(explanation.result.name).name, explanation.result.summary()))
    report_skipped(predictor.skipped, len(rows))
    writer.write_page()
    note = f"The model has {len(predictor.labels)} classes: {', '.join(predictor.labels)}."
    print_table(Table(columns=("image", "result"), rows=tuple(rows), heading="Images and results", note=note))
    print(f"Open {printable(str(writer.written[-1]))} in a browser to step through the stages.")
    return 0
