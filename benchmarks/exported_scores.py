"""Scores the shipped weights from exported files: do they give PyTorch's scores, and what do eight bits cost?

    python benchmarks/exported_scores.py --classes CALTECH101 --boxes BCCD --masks NUCLEI

Each model is scored on val of the data that it was trained on: in PyTorch, from ONNX, from OpenVINO, and in eight bits
where it is offered in them, fitted to images of train. Where files take other sizes, PyTorch is given these, too. Times
are of one image without reading, in turns, each after a rest. Writes `results/exported_scores.md` and `.json`; rows of
other models stay in them. Status 1 where a file in fp32 is more than 0.1 points off.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cyclopts
import torch

from claims import milliseconds
from publishing import publish, published
from sparsevision import Predictor
from sparsevision.checkpoints.saving import save_checkpoint
from sparsevision.evaluation.evaluate import evaluate
from sparsevision.export import FORMATS, ExportOptions, export_model
from sparsevision.export.support import support_of
from sparsevision.factory import open_model
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.report import markdown_table
from sparsevision.measure.speed import Settings, after_rest, ratio_of_medians, time_interleaved, use_threads
from sparsevision.runtimes import ExportedModel
from sparsevision.tasks import open_dataset
from sparsevision.types import Preprocessing

MOST = 0.001
CALIBRATED = 100
REST = 0.3  # seconds


@dataclass(frozen=True)
class Shipped:
    """Weights that come with the package, their data and the score that is compared."""

    model: str
    data: str
    score: str


def main(
    *, classes: str = "", boxes: str = "", masks: str = "", threads: int = 2, rounds: int = 15,
    out: Path = Path("benchmarks/results"),
) -> int:  # fmt: skip
    """Export, score, and tell."""
    shipped = (
        Shipped("sparseformer_nano", classes, "top1"), Shipped("sparse_detr_nano", boxes, "ap"),
        Shipped("vt_fpn_nano", masks, "miou"),
    )  # fmt: skip
    rows = {(row["model"], row["as"]): row for row in published(out, "exported_scores")}
    with tempfile.TemporaryDirectory() as folder:
        for one in shipped:
            if one.data:
                for key in [key for key in rows if key[0] == one.model]:
                    del rows[key]
                rows |= {(row["model"], row["as"]): row for row in measured(one, Path(folder), threads, rounds)}
    table = markdown_table(
        ("model", "data", "as", "score", "off by", "ms an image", "of fp32"),
        [
            (
                row["model"], row["data"], row["as"], f"{row['score']:.2%}", f"{100 * row['off']:+.2f}",
                milliseconds(row["seconds"]), row["of_fp32"],
            )
            for row in rows.values()
        ],
    )  # fmt: skip
    how = (
        f"{describe_machine()}.\n\nThe shipped weights on val: top-1, AP and mIoU, differences in points. Files see "
        "images as the model does, unless it is said, and are compared with PyTorch that sees the same. Times: one "
        f"image, {threads} threads, medians with quartiles of {rounds} rounds in turns, after a rest, when the size "
        "has come often; of fp32: of the time of the same format's fp32 file."
    )
    publish(out, "exported_scores", "\n".join(("# Scores of exported files", "", how, "", *table)), [*rows.values()])
    return int(any(abs(row["off"]) > MOST for row in rows.values() if row["precision"] == "fp32" and row["same"]))


def measured(shipped: Shipped, folder: Path, threads: int, rounds: int) -> Iterator[dict[str, Any]]:
    """Yields a row for PyTorch and for each file of one model."""
    train = open_dataset(shipped.data, "train")
    fitted = [train.read(place * len(train) // CALIBRATED).image for place in range(CALIBRATED)]
    models: dict[tuple[str, str], str] = {("PyTorch", "fp32"): shipped.model}
    seen = ""
    for each in support_of(shipped.model):
        for precision in each.precisions if each.format in ("onnx", "openvino") else ():
            path = folder / f"{shipped.model}_{precision}{FORMATS[each.format].suffix}"
            options = ExportOptions(format=each.format, precision=precision)
            done = export_model(shipped.model, path, options, calibration=fitted if precision == "int8" else ())
            if done.remark and not seen:
                seen = ", at multiples of 32"
                models["PyTorch", f"fp32{seen}"] = str(_seeing(shipped.model, done.preprocessing, folder))
            models[FORMATS[each.format].title, precision + seen] = str(path)
    with use_threads(threads):
        scores = {key: evaluate(path, shipped.data, split="val")[0].scalars() for key, path in models.items()}
        calls = {" ".join(key): _call(path) for key, path in models.items()}
        times = time_interleaved(calls, Settings(rounds=rounds, turn_seconds=0), prepare=after_rest(calls, REST))
    first = scores["PyTorch", f"fp32{seen}"][shipped.score]
    for (way, how), found in scores.items():
        own, precision = times[f"{way} {how}"], how.removesuffix(seen)
        yield {
            "model": shipped.model, "data": Path(shipped.data).name, "precision": precision,
            "same": how.endswith(seen), "as": f"{way}, {how}", "score": found[shipped.score],
            "off": found[shipped.score] - first, "seconds": own,
            "of_fp32": "" if precision == "fp32" else str(ratio_of_medians(own, times[f"{way} fp32{seen}"])),
        }  # fmt: skip


def _seeing(name: str, preprocessing: Preprocessing, folder: Path) -> Path:
    """Saves a model with another preprocessing than its own."""
    model = open_model(name)
    labels = model.identity.labels
    return save_checkpoint(folder / f"{name}_seeing", model, name=name, preprocessing=preprocessing, labels=labels)


def _call(path: str) -> Callable[[], object]:
    predictor = Predictor(path, "cpu")
    height, width = predictor.preprocessing.size
    noise = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8).numpy()
    images = predictor.batch([predictor.reader(noise, 0)]).images

    def call() -> object:
        with torch.inference_mode():
            return predictor.model(images)

    if isinstance(predictor.model, ExportedModel):
        predictor.model.runtime.prepare(tuple(images.shape))
    return call


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    sys.exit(app(result_action="return_value"))
