"""What trained segmenters reach on CamVid and on nuclei, beside a U-Net and a method without learning.

    python benchmarks/segmenters.py camvid --data CAMVID --runs runs/vt_fpn runs/fpn runs/sparseformer runs/unet
    python benchmarks/segmenters.py nuclei --data NUCLEI --runs runs/vt_fpn runs/fpn runs/unet

Each run is scored once on the test split, with the weights that its training chose on val. All of a table were trained
by one recipe (`camvid_nano`, `nuclei_nano`); the U-Net's run is made by `unet_peer.py`. Times are those of an image
from its tensor to its class map, taking turns.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import numpy as np
import torch
from PIL import Image
from scipy.ndimage import label
from skimage.filters import threshold_otsu

import unet_peer
from claims import milliseconds
from publishing import minutes_of, publish, trained_on
from sparsevision.data.dataset import Dataset
from sparsevision.factory import load_model
from sparsevision.inference import Predictor
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.operations import count_macs
from sparsevision.measure.report import markdown_table
from sparsevision.models.published import count_parameters
from sparsevision.tasks import open_dataset
from sparsevision.tasks.segmentation.metrics import SegmentationMetrics, SegmentationReport
from sparsevision.tasks.segmentation.post_processing import class_map
from turns import times_in_turns

_Runs = Annotated[tuple[Path, ...], cyclopts.Parameter(consume_multiple=True, negative="")]
LEAST_AREA = 10
app = cyclopts.App(help=__doc__)


@dataclass
class Entry:
    """One network with its class maps of the test split."""

    name: str
    run: Path
    parameters: int
    macs: int
    maps: list[np.ndarray]
    trained: str


def read_run(
    run: Path, images: Sequence[str], size: tuple[int, int], *, predictor: Predictor | None = None, name: str = ""
) -> Entry:
    """Predicts all images with a run's best weights, or with a `predictor` of the run that was changed."""
    model = load_model(run)
    maps = [result.labels for result in (predictor or Predictor(run, "cpu")).stream(images)]
    macs = count_macs(model, (3, *size)).total
    return Entry(name or model.identity.name, run, count_parameters(model), macs, maps, trained_on(run))


def report_of(maps: Iterable[np.ndarray], masks: Iterable[np.ndarray], classes: tuple[str, ...]) -> SegmentationReport:
    """Scores class maps."""
    metrics = SegmentationMetrics(classes)
    for found, mask in zip(maps, masks, strict=True):
        metrics.add(*(torch.from_numpy(each.astype(np.int64)) for each in (found, mask)))
    return metrics.compute()


def timed(runs: Sequence[Path], size: tuple[int, int], threads: int) -> Mapping[Path, Sequence[float]]:
    """Times all networks, from the tensor of an image to its class map."""
    finish = partial(_class_map, size=size)
    return times_in_turns(runs, threads, shape=(3, *size), finish=finish)


def _class_map(output: Any, size: tuple[int, int]) -> object:
    return class_map(output.heads[0], 0, size, size)


def opened(data: str, split: str) -> tuple[Dataset, list[str], list[np.ndarray]]:
    """Returns a split, the paths of its images and its masks."""
    dataset: Any = open_dataset(data, split, task="segmentation")
    return dataset, [str(dataset.path(index)) for index in range(len(dataset))], [
        dataset.read(index).target for index in range(len(dataset))
    ]  # fmt: skip


@app.command
def camvid(
    *, data: str, runs: _Runs, split: str = "test", threads: int = 2, out: Path = Path("benchmarks/results")
) -> None:
    """Score runs on CamVid."""
    dataset, images, masks = opened(data, split)
    size = (360, 480)
    entries = [read_run(run, images, size) for run in runs]
    averaged = (with_averaged_tokens(run, images, size) for run in runs)
    entries += [entry for entry in averaged if entry is not None]
    times = timed(runs, size, threads)
    reports = [report_of(entry.maps, masks, dataset.classes) for entry in entries]
    rows = [
        (
            entry.name, f"{report.miou:.1%}", f"{report.mean_class:.1%}", f"{report.pixels:.1%}",
            f"{report.boundary:.1%}", f"{entry.parameters / 1e6:.2f}", f"{entry.macs / 1e9:.2f}",
            milliseconds(times[entry.run]) if entry.name.find("tokens") < 0 else "", minutes_of(entry.run),
        )
        for entry, report in zip(entries, reports, strict=True)
    ]  # fmt: skip
    columns = ("network", "mIoU", "mean accuracy", "pixel accuracy", "boundary F", "M parameters", "G multiply-adds",
               "ms an image", "minutes of training")  # fmt: skip
    classes = [
        (name, *(percent(report.per_class[place].iou) for report in reports))
        for place, name in enumerate(dataset.classes)
    ]  # fmt: skip
    tables = [*markdown_table(columns, rows), "", *markdown_table(("IoU", *(entry.name for entry in entries)), classes)]
    how = (
        f"CamVid, 480 x 360, 11 classes, {len(images)} {split} images, read once; trained on 367 with the recipe "
        "`camvid_nano` from the same MobileNetV2 (SparseFormer from the shipped `sparseformer_nano`), weights chosen "
        f"on val. Times: one image from tensor to class map, {threads} threads, medians with quartiles. *Mean tokens*: "
        "all tokens replaced by their mean before the map is restored."
    )
    text = "\n".join(["# Segmenters on CamVid", "", f"{describe_machine()}.", "", how, "", *tables, ""])
    record = [{**asdict(entry), "run": "", "maps": None, "report": report.to_dict(), "times": times.get(entry.run)}
              for entry, report in zip(entries, reports, strict=True)]  # fmt: skip
    publish(out, "camvid", text, record)


def with_averaged_tokens(run: Path, images: Sequence[str], size: tuple[int, int]) -> Entry | None:
    """Predicts with all tokens of a SparseFormer replaced by their mean; None for other networks."""
    predictor = Predictor(run, "cpu")
    decoder = getattr(predictor.model, "decoder", None)
    if not hasattr(decoder, "attention"):
        return None
    forward = decoder.forward
    decoder.forward = lambda features, tokens, rois: forward(
        features, tokens.mean(dim=1, keepdim=True).expand_as(tokens), rois
    )
    return read_run(run, images, size, predictor=predictor, name="... mean tokens")


def percent(value: float | None) -> str:
    """Writes a share, or nothing."""
    return "" if value is None else f"{value:.1%}"


# ------------------------------------------------------------------------------------------------------------- nuclei


@app.command
def nuclei(
    *, data: str, runs: _Runs, split: str = "test", threads: int = 2, out: Path = Path("benchmarks/results")
) -> None:
    """Score runs on nuclei, and Otsu's threshold; count nuclei."""
    dataset, images, masks = opened(data, split)
    kinds = kinds_of(Path(data) / "annotations" / f"{split}.json")
    truth = [true_count(Path(data) / split / "instances" / f"{Path(image).stem}.png") for image in images]
    size = (256, 256)
    entries: list[tuple[str, list[np.ndarray], Entry | None]] = [("Otsu", [otsu(image) for image in images], None)]
    for run in runs:
        entry = read_run(run, images, size)
        entries.append((entry.name, entry.maps, entry))
    entries.append(("the masks themselves", [np.where(mask == 255, 0, mask) for mask in masks], None))
    times = timed(runs, size, threads)
    groups = {"all": None, **{kind: kind for kind in sorted({*kinds.values()})}}
    rows, record = [], []
    for name, maps, entry in entries:
        for group, kind in groups.items():
            chosen = [place for place, image in enumerate(images) if kind in (None, kinds[Path(image).name])]
            report = report_of([maps[i] for i in chosen], [masks[i] for i in chosen], dataset.classes)
            errors = [abs(count(maps[i]) - truth[i]) for i in chosen]
            shares = [error / max(truth[i], 1) for error, i in zip(errors, chosen, strict=True)]
            own = entry is not None and kind is None
            rows.append(
                (
                    name, group, str(len(chosen)), f"{report.per_class[1].iou:.1%}", f"{report.boundary:.1%}",
                    f"{np.mean(errors):.2f}", f"{np.mean(shares):.1%}",
                    f"{entry.parameters / 1e6:.2f}" if own else "", f"{entry.macs / 1e9:.2f}" if own else "",
                    milliseconds(times[entry.run]) if own else "",
                )
            )  # fmt: skip
            record.append({"name": name, "kind": group, "report": report.to_dict(), "errors": errors})
    columns = ("method", "images", "number", "IoU of nuclei", "boundary F", "error of the count", "relative",
               "M parameters", "G multiply-adds", "ms an image")  # fmt: skip
    how = (
        f"Nuclei (BBBC038, corrected), {len(images)} {split} images, read once; trained on 435 with the recipe "
        "`nuclei_nano` from the same MobileNetV2, weights chosen on val. A count is the number of connected components"
        f" (8 neighbours) of at least {LEAST_AREA} pixels, its error the absolute difference from the number of "
        "annotated nuclei of that size, a mean over images. The last row says what touching nuclei cost any method "
        f"that counts components. Times: one image of 256 x 256 from tensor to class map, {threads} threads. Images of "
        "one experiment are in several splits: this says how well a known kind of image is read."
    )
    tables = markdown_table(columns, rows)
    text = "\n".join(["# Segmenters on nuclei", "", f"{describe_machine()}.", "", how, "", *tables, ""])
    publish(out, "nuclei", text, record)


def kinds_of(path: Path) -> Mapping[str, str]:
    """Returns the kind of each image: dark grey, bright grey, bright stained."""
    return {Path(row["file_name"]).name: row["kind"] for row in json.loads(path.read_text())["images"]}


def true_count(instances: Path) -> int:
    """Returns the number of annotated nuclei of the least area."""
    numbers = np.asarray(Image.open(instances))
    return int((np.bincount(numbers.ravel())[1:] >= LEAST_AREA).sum())


def count(found: np.ndarray) -> int:
    """Returns the number of connected components of the least area."""
    numbered, _ = label(found == 1, structure=np.ones((3, 3)))
    return int((np.bincount(numbered.ravel())[1:] >= LEAST_AREA).sum())


def otsu(image: str) -> np.ndarray:
    """Divides grey values by Otsu's threshold; nuclei are the side with less area."""
    grey = np.asarray(Image.open(image).convert("L"))
    above = grey > threshold_otsu(grey)
    return (above if above.mean() < 0.5 else ~above).astype(np.uint8)


if __name__ == "__main__":
    unet_peer.register()
    sys.exit(app(result_action="return_value"))
