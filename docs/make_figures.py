"""Makes the figures of these pages with the weights that the package brings: `python docs/make_figures.py CALTECH101`.

With `--cells BCCD` those of the detector, too, on the test split of the blood cells, with `--nuclei NUCLEI` those of
the segmenter, with `--scenes placed-digits:CALTECH101` the animation of digits on photographs; with `--recurrent RUN`
and `--filters RUN` those of trained Visual Transformers' tokens. Photographs that come with scikit-learn and
scikit-image illustrate; contact sheets show images of a split, evenly spaced in its order and not chosen, and the
mistakes: those that the classifier is surest of, and the images that the detector and the segmenter count worst.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cyclopts
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from sparsevision import Predictor
from sparsevision.cli.demo import found_scenes
from sparsevision.data import Dataset, Record
from sparsevision.explain import ControlSweep, Explanation, comparison_figure, save_animation
from sparsevision.explain.animations.control_values import sweep_animation
from sparsevision.explain.animations.stages import STEPS, stages_animation
from sparsevision.explain.figures.annotated import annotated_figure
from sparsevision.explain.figures.attention import attention_figure
from sparsevision.explain.figures.disturbed import disturbed_figure
from sparsevision.explain.figures.given import given_figure
from sparsevision.explain.figures.owners import owners_figure
from sparsevision.explain.figures.saliency import saliency_figure
from sparsevision.explain.figures.stages import stages_figure
from sparsevision.explain.figures.tokens import tokens_figure
from sparsevision.explain.gif import captioned
from sparsevision.explain.kinds import Animation
from sparsevision.explain.overlays import INK, write
from sparsevision.explain.sheet import Sheet
from sparsevision.inference.explaining import explain_images, explain_sweep
from sparsevision.tasks import open_dataset
from sparsevision.tasks.detection.result import DetectionResult, true_result
from sparsevision.tasks.detection.task import DetectionTask
from sparsevision.tasks.segmentation.result import SegmentationResult

FIGURES = Path(__file__).parent / "_static" / "figures"
CAR = "val/car_side/image_0018.jpg"
CARD = (640, 320)
# Of the front page's cards, the parts of figures that they show, as shares of their sides.
PARTS = {
    "classify": ("digit-stages.jpg", (0.679, 0.103, 1.0, 0.392)),
    "videos": ("moving-clip.jpg", (0.1, 0.03, 1.0, 0.35)),
}
_GUTTER = 14


@dataclass(frozen=True)
class Mistake:
    """An image that was taken for something else, and how sure the model was of it."""

    image: Image.Image
    truth: str
    answer: str
    score: float


def main(
    data: str,
    *,
    model: str = "sparseformer_nano",
    cells: str | None = None,
    nuclei: str | None = None,
    scenes: str | None = None,
    recurrent: str | None = None,
    filters: str | None = None,
    out: Path = FIGURES,
) -> None:
    """Write every figure of the documentation into `out`."""
    if cells is not None:
        illustrate_detector(Predictor("sparse_detr_nano", "cpu"), cells, out)
    if nuclei is not None:
        illustrate_segmenter(Predictor("vt_fpn_nano", "cpu"), nuclei, out)
    if scenes is not None:
        illustrate_looking(Predictor("sparseformer_nano.placed_digits", "cpu"), scenes, out)
    for name, run in {"recurrent": recurrent, "filter": filters}.items():
        if run is not None:
            [explanation] = explain_images(Predictor(run, "cpu"), [str(Path(data) / CAR)])
            save(shot(attention_figure(explanation), dpi=200), out / f"vt-{name}.jpg")
    predictor = Predictor(model, "cpu")
    illustrate(predictor, out)
    cards(out)
    val = open_dataset(data, "val")
    spaced = [val.names[index] for index in np.linspace(0, len(val) - 1, 12).astype(int)]
    contact_sheets(list(explain_images(predictor, [str(Path(data) / name) for name in spaced])), out)
    save(shot(mistakes_figure(surest_mistakes(predictor, val, 18)), dpi=150), out / "mistakes.jpg")


def cards(out: Path) -> None:
    """Cuts the images of the front page's cards: results of `sparsevision demo`, and parts of figures."""
    scenes = {scene.name: (scene, path) for scene, path in found_scenes()}
    for card, name in {"detect": "blood-cells", "segment": "nuclei"}.items():
        scene, path = scenes[name]
        drawn = Predictor(scene.model, "cpu")(path, **scene.options).annotate(Image.open(path).convert("RGB"))
        save(ImageOps.fit(drawn, CARD), out / f"card-{card}.jpg")
    for card, (figure, part) in PARTS.items():
        whole = Image.open(out / figure if (out / figure).is_file() else FIGURES / figure)
        box = [share * side for share, side in zip(part, whole.size * 2, strict=True)]
        save(ImageOps.fit(whole.crop([round(each) for each in box]), CARD), out / f"card-{card}.jpg")


def illustrate(predictor: Predictor, out: Path) -> None:
    """Draws the pagoda among the scenes of `sparsevision demo`."""
    [pagoda] = explain_images(predictor, [path for scene, path in found_scenes() if scene.name == "pagoda"])
    figures = {"stages": stages_figure, "tokens": partial(tokens_figure, top_tokens=3), "disturbed": disturbed_figure}
    for kind, draw in figures.items():
        save(shot(draw(pagoda), dpi=150), out / f"pagoda-{kind}.jpg")
    save_animation(stages_animation(alone(pagoda), longest=280), out / "pagoda.gif")


def illustrate_detector(predictor: Predictor, cells: str, out: Path) -> None:
    """Draws twelve images of the test split, evenly spaced and not chosen; and those counted best and worst."""
    test = DetectionTask.open(cells, "test")
    spaced = [str(Path(cells) / "test" / test.names[index]) for index in np.linspace(0, len(test) - 1, 12).astype(int)]
    [first] = explain_sweep(predictor, spaced[:1])
    explanations = list(explain_images(predictor, spaced))
    save_animation(sweep_animation(first, longest=360), out / "detector.gif")
    tile(map(shot, map(annotated_figure, explanations)), 4, out / "contact-detections.jpg")
    tile(map(shot, map(saliency_figure, explanations)), 2, out / "contact-saliency.jpg")
    for kind, records, found in counted(predictor, test, 9):
        true = [true_result(record, test.classes) for record in records]
        images = [record.image for record in records]
        save(shot(comparison_figure(images, found, true), dpi=130), out / f"cells-{kind}.jpg")


def illustrate_looking(predictor: Predictor, scenes: str, out: Path) -> None:
    """Animates six scenes of the val split at once, evenly spaced and not chosen; draws the digit of the demo."""
    [cat] = explain_images(predictor, [path for scene, path in found_scenes() if scene.name == "digit"])
    save(shot(stages_figure(cat), dpi=150), out / "digit-stages.jpg")
    val: Any = open_dataset(scenes, "val", side=256)
    records = [val.read(index) for index in np.linspace(0, len(val) - 1, 6).round().astype(int).tolist()]
    seen = [Explanation(image=each.image, result=predictor(each.image, trace=True)) for each in records]
    animations = [stages_animation(alone(each), longest=val.size) for each in seen]
    titles, step, frames = [stage.title for stage in seen[0].stages], val.size + _GUTTER // 2, []
    for number, parts in enumerate(zip(*(each.frames for each in animations), strict=True)):
        sheet = Image.new("RGB", (3 * step - _GUTTER // 2, 2 * step - _GUTTER // 2))
        for place, part in enumerate(parts):
            sheet.paste(part.crop((0, 0, val.size, val.size)), (place % 3 * step, place // 3 * step))
        frames.append(captioned(sheet, titles, number / STEPS))
    first = animations[0]
    save_animation(Animation(frames=frames, durations=first.durations, palette=first.palette), out / "looking.gif")


def illustrate_segmenter(predictor: Predictor, nuclei: str, out: Path) -> None:
    """Draws the images of the test split whose nuclei were counted best and worst, and where tokens go in one."""
    test: Any = open_dataset(nuclei, "test", task="segmentation")
    records = [test.read(index) for index in range(len(test))]
    found = [predictor(record.image, min_area=10) for record in records]
    true = [
        SegmentationResult(name=record.name, classes=test.classes, labels=record.target, min_area=10)
        for record in records
    ]
    errors = [abs(one.count("nucleus") - other.count("nucleus")) for one, other in zip(found, true, strict=True)]
    order = np.argsort(errors, kind="stable")
    # Among the many that are right, those with the most nuclei.
    best = sorted(order[:40], key=lambda index: -true[index].count("nucleus"))[:9]
    for kind, chosen in (("best", best), ("worst", order[::-1][:9])):
        images, *results = ([each[index] for index in chosen] for each in ([r.image for r in records], found, true))
        save(shot(comparison_figure(images, *results), dpi=130), out / f"nuclei-{kind}.jpg")
    [shown] = explain_images(predictor, [str(test.path(int(best[0])))])
    for draw in (owners_figure, given_figure):
        save(shot(draw(shown), dpi=150), out / f"nuclei-{draw.__name__.removesuffix('_figure')}.jpg")


def counted(
    predictor: Predictor, dataset: Dataset, count: int
) -> Iterator[tuple[str, list[Record], list[DetectionResult]]]:
    """Yields the images whose objects were counted "best" and "worst", the sum of all classes' errors telling."""
    records = [dataset.read(index) for index in range(len(dataset))]
    found = [predictor(record.image) for record in records]
    errors = [
        sum(
            abs(result.labels.count(name) - true_result(record, dataset.classes).labels.count(name))
            for name in dataset.classes
        )
        for record, result in zip(records, found, strict=True)
    ]
    order = np.argsort(errors, kind="stable")
    for kind, chosen in (("best", order[:count]), ("worst", order[::-1][:count])):
        yield kind, [records[index] for index in chosen], [found[index] for index in chosen]


def contact_sheets(explanations: Sequence[Explanation], out: Path) -> None:
    """Draws every kind of figure of many images, small, on one sheet a kind."""
    few = explanations[::2]
    tile(map(shot, map(stages_figure, explanations)), 3, out / "contact-stages.jpg")
    tile((shot(tokens_figure(each, top_tokens=3)) for each in few), 3, out / "contact-tokens.jpg")
    tile(map(shot, map(disturbed_figure, few)), 3, out / "contact-disturbed.jpg")
    tile((frame for each in few for frame in animation_frames(each)), 5, out / "contact-animation.jpg")


def shot(figure: Figure, dpi: int = 100) -> Image.Image:
    """Returns a figure's pixels."""
    canvas = figure.canvas
    figure.set_dpi(dpi)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def alone(explanation: Explanation) -> ControlSweep:
    """Returns a sweep of one value."""
    return ControlSweep(explanations=(explanation,))


def animation_frames(explanation: Explanation) -> list[Image.Image]:
    """Returns the frames on which a stage stands still."""
    animation = stages_animation(alone(explanation), longest=200)
    longest = max(animation.durations)
    pairs = zip(animation.frames, animation.durations, strict=True)
    return [frame for frame, duration in pairs if duration >= longest / 2]


def tile(images: Iterable[Image.Image], columns: int, path: Path) -> None:
    """Lays images out in rows of `columns`, each row as high as its highest, and writes a JPEG."""
    images = list(images)
    rows = [images[start : start + columns] for start in range(0, len(images), columns)]
    width = max(image.width for image in images) + _GUTTER
    heights = [max(image.height for image in row) + _GUTTER for row in rows]
    sheet = Image.new("RGB", (width * columns, sum(heights)), "white")
    for row, top in zip(rows, np.cumsum([0, *heights]), strict=False):
        for column, image in enumerate(row):
            sheet.paste(image, (column * width, int(top)))
    save(sheet, path)


def save(image: Image.Image, path: Path) -> None:
    """Writes a JPEG: figures full of photographs are a fifth of the PNG's size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=85, optimize=True)


def surest_mistakes(predictor: Predictor, val: Dataset, count: int) -> list[Mistake]:
    """Finds the wrong answers with the highest scores."""
    found = []
    records = (val.read(index) for index in range(len(val)))
    answers = predictor.stream((record.image for record in records), top_k=1)
    for index, result in enumerate(answers):
        truth = val.classes[val.labels[index]]
        if result.labels[0] != truth:
            found.append((result.scores[0], index, truth, result.labels[0]))
    found.sort(reverse=True)
    return [Mistake(val.read(index).image, truth, answer, score) for score, index, truth, answer in found[:count]]


def mistakes_figure(mistakes: Sequence[Mistake], columns: int = 6) -> Figure:
    """Draws images with what they are and what they were taken for."""
    rows = -(-len(mistakes) // columns)
    sheet = Sheet(6.9, [""] * columns, [1.28] * rows, heading="The mistakes it is surest of", row_label=0)
    for place, mistake in enumerate(mistakes):
        row, column = divmod(place, columns)
        side = sheet.column
        axes = sheet.inset(row, column, 0, 0, side, side)
        axes.imshow(mistake.image)
        axes.set_axis_off()
        text = sheet.inset(row, column, 0, side, side, 0.28 * side)
        text.set_axis_off()
        text.set(xlim=(0, side), ylim=(0.28 * side, 0))
        write(text, side / 2, 0.12, mistake.truth, ha="center", color=INK)
        write(text, side / 2, 0.23, f"{mistake.answer} {mistake.score:.2f}", ha="center", color="#c0392b")
    return sheet.figure


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    app()
