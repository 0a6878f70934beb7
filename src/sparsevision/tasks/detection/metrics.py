"""Measures of a detector: COCO's average precision (faster-coco-eval), and errors of counting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_convert

from sparsevision.errors import MissingExtraError
from sparsevision.outputs import DetectionOutput
from sparsevision.tasks.contract import Measure
from sparsevision.tasks.detection.post_processing import BEST, Detections, PostProcess, original_sizes
from sparsevision.types import Batch, ClassMetadata, Table
from sparsevision.wording import count_of

# A class that the data set never shows, or of which nothing is found right, has no best threshold.
NEUTRAL_THRESHOLD = 0.5
_LABELS = {"ap": "AP", "ap50": "AP50", "ap75": "AP75", "small": "small", "medium": "medium", "large": "large"}
MEASURES = tuple(Measure(name=name, label=label) for name, label in _LABELS.items())


@dataclass(frozen=True)
class ClassReport:
    """The measures of one class.

    `ap` and `ap50` are None without objects. From the score `threshold` on, a detection counts: so many are `found`,
    against `objects` in truth, `f1` balances precision and recall of finding them (overlap 0.5), and an image's
    count is `count_error` off, on average.
    """

    name: str
    ap: float | None
    ap50: float | None
    threshold: float
    f1: float | None
    objects: int
    found: int
    count_error: float


@dataclass(frozen=True)
class DetectionReport:
    """The measures of a detector: average precisions and recall as COCO defines them, as fractions.

    `ap` is the mean over overlaps of 0.50 to 0.95, `small`, `medium` and `large` are for objects of under 32 squared,
    under 96 squared and more pixels, `recall` is of 100 detections an image; all None without such objects. An image's
    100 best detections count, or, where an image of the data set has more objects than that, as many as it has.
    """

    images: int
    ap: float | None
    ap50: float | None
    ap75: float | None
    small: float | None
    medium: float | None
    large: float | None
    recall: float | None
    per_class: tuple[ClassReport, ...]
    category_ids: tuple[int, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names."""
        return tuple(one.name for one in self.per_class)

    def scalars(self) -> dict[str, float | None]:
        """Returns the measures that are one number, None where there was nothing to measure."""
        return {name: getattr(self, name) for name in ("images", *_LABELS, "recall")}

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON takes it."""
        return asdict(self)

    def headline(self) -> str:
        """Returns the measures that matter in one line."""
        shown = (*MEASURES[:3], Measure(name="recall", label="recall"))
        return ", ".join(f"{measure.label} {measure.text(getattr(self, measure.name))}" for measure in shown)

    def class_metadata(self) -> ClassMetadata:
        """Returns the data set's own numbers of the classes, the thresholds that suit these weights, and how well."""
        return ClassMetadata(
            category_ids=self.category_ids,
            thresholds=tuple(one.threshold for one in self.per_class),
            f1=tuple(one.f1 for one in self.per_class),
        )

    def tables(self) -> list[Table]:
        """Returns the measures of each class, and how well it is counted."""
        listed = ", ".join(f"{each.label} {each.text(getattr(self, each.name))}" for each in MEASURES)
        columns = ("class", "objects", "found", "count error", "minimum score", "F1", "AP", "AP50")
        rows = [
            (
                one.name, str(one.objects), str(one.found), f"{one.count_error:.2f}", f"{one.threshold:.3f}",
                *map(MEASURES[0].text, (one.f1, one.ap, one.ap50)),
            )
            for one in self.per_class
        ]  # fmt: skip
        return [Table(heading=f"{count_of(self.images, 'image')}: {listed}", columns=columns, rows=tuple(rows))]


class DetectionMetrics:
    """Collects detections against objects, not the images' outputs; `compute` joins what every process collected.

    `thresholds` are those to count with, one a class; without them, each class gets the one of the best F1 in what is
    scored.
    """

    def __init__(
        self, classes: Sequence[str], category_ids: Sequence[int], thresholds: Sequence[float] | None = None
    ) -> None:
        if find_spec("faster_coco_eval") is None:
            raise MissingExtraError("faster-coco-eval", "Scoring a detector")
        self.classes, self.category_ids, self.thresholds = tuple(classes), tuple(category_ids), thresholds
        # By the image's index: on several processes the last batches may repeat one.
        self._scored: dict[int, _Scored] = {}

    def to(self, device: Any) -> DetectionMetrics:
        """Keeps everything in main memory, whatever the device."""
        return self

    def update(self, output: DetectionOutput, batch: Batch) -> None:
        """Adds a batch."""
        if not len(batch):
            return
        sizes = original_sizes(batch)
        found = PostProcess()(output.heads[0], sizes)
        for index, target, one, size in zip(batch.indices, batch.targets, found, sizes.tolist(), strict=True):
            detections = Detections(*(tensor.cpu().double() for tensor in one))
            self._scored[index] = _Scored(detections, {key: value.cpu() for key, value in target.items()}, tuple(size))

    def compute(self) -> DetectionReport:
        """Returns the report over everything that was added, on all processes."""
        scored = self._scored
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            parts: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(parts, scored)
            scored = {index: one for part in parts for index, one in part.items()}
        most = max([BEST, *(len(one.target["labels"]) for one in scored.values())])
        scored = {index: one._replace(found=one.found.part(slice(most))) for index, one in scored.items()}
        curves = _evaluated(scored, self.classes, most) if scored else None
        per_class = tuple(self._class_report(label, curves, scored) for label in range(len(self.classes)))
        values = [None] * 7 if curves is None else curves.means
        measured = dict(zip((*_LABELS, "recall"), values, strict=True))
        return DetectionReport(images=len(scored), per_class=per_class, category_ids=self.category_ids, **measured)

    def _class_report(self, label: int, curves: _Curves | None, scored: Mapping[int, _Scored]) -> ClassReport:
        precision = np.empty((0, 0)) if curves is None else curves.precision[:, :, label]
        known = curves is not None and bool((precision > -1).any())
        threshold, f1 = NEUTRAL_THRESHOLD, None
        if curves is not None and known:
            threshold, f1 = _balance(precision[0], curves.scores[:, label], curves.recalls)
        if self.thresholds is not None:
            threshold = self.thresholds[label]
            if curves is not None and known:
                f1 = _f1_at(threshold, precision[0], curves.scores[:, label], curves.recalls)
        pairs = [_counts(one, label, threshold) for one in scored.values()]
        errors = [abs(true - found) for true, found in pairs]
        return ClassReport(
            name=self.classes[label], ap=float(precision.mean()) if known else None,
            ap50=float(precision[0].mean()) if known else None, threshold=float(threshold), f1=f1,
            objects=sum(true for true, _ in pairs), found=sum(found for _, found in pairs),
            count_error=sum(errors) / max(len(errors), 1),
        )  # fmt: skip


class _Scored(NamedTuple):
    found: Detections
    target: dict[str, Tensor]
    size: tuple[int, ...]


class _Curves(NamedTuple):
    """COCO's means; precision (overlaps, recalls, classes), -1 where unknown; scores (recalls, classes)."""

    means: Sequence[float | None]
    precision: NDArray[np.float64]
    scores: NDArray[np.float64]
    recalls: NDArray[np.float64]


Curve = NDArray[np.float64]


def _balance(precision: Curve, scores: Curve, recalls: Curve) -> tuple[float, float]:
    """Returns the score from on which detections have the best F1, and that F1; the neutral score if none is right."""
    f1 = 2 * precision * recalls / np.maximum(precision + recalls, 1e-12)
    best = int(f1.argmax())
    return (float(scores[best].clip(0, 1)), float(f1[best])) if f1[best] > 0 else (NEUTRAL_THRESHOLD, 0.0)


def _f1_at(threshold: float, precision: Curve, scores: Curve, recalls: Curve) -> float:
    """Returns the F1 of the detections from a score on, off the curve at COCO's recalls."""
    reached = (scores >= threshold) & (precision > 0)
    if not reached.any():
        return 0.0
    last = int(reached.nonzero()[0][-1])
    return float(2 * precision[last] * recalls[last] / max(precision[last] + recalls[last], 1e-12))


def _counts(scored: _Scored, label: int, threshold: float) -> tuple[int, int]:
    """Returns how many objects of a class an image has, and how many are found; crowds are not single objects."""
    scores, labels, _ = scored.found
    true = scored.target["labels"] == label
    if "crowds" in scored.target:
        true &= ~scored.target["crowds"]
    return int(true.sum()), int(((labels == label) & (scores >= threshold)).sum())


def _evaluated(scored: Mapping[int, _Scored], classes: Sequence[str], most: int) -> _Curves:
    from faster_coco_eval import COCO, COCOeval_faster

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for index, ((scores, labels, boxes), target, (height, width)) in sorted(scored.items()):
        images.append({"id": index, "height": height, "width": width})
        sides = torch.tensor([width, height] * 2, dtype=torch.float64)
        true = box_convert(target["boxes"].double(), "cxcywh", "xywh") * sides
        crowds = target.get("crowds", torch.zeros(len(true), dtype=torch.bool)).tolist()
        areas = (target["areas"] * height * width if "areas" in target else true[:, 2] * true[:, 3]).tolist()
        for label, box, area, crowd in zip(target["labels"].tolist(), true.tolist(), areas, crowds, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": index, "category_id": label, "bbox": box, "area": area,
                    "iscrowd": int(crowd),
                }
            )  # fmt: skip
        for score, label, box in zip(
            scores.tolist(), labels.tolist(), box_convert(boxes, "xyxy", "xywh").tolist(), strict=True
        ):
            detections.append({"image_id": index, "category_id": int(label), "bbox": box, "score": score})
    categories = [{"id": number, "name": name} for number, name in enumerate(classes)]
    truth = COCO({"images": images, "annotations": annotations, "categories": categories})
    evaluation = COCOeval_faster(truth, truth.loadRes(detections), "bbox", print_function=lambda *_: None)
    evaluation.params.maxDets = [1, 10, most]
    evaluation.evaluate()
    evaluation.accumulate()
    # The last two axes: objects of all, small, medium and large areas; the most detections an image.
    precision, recall, least = (
        np.asarray(evaluation.eval[name])[..., -1] for name in ("precision", "recall", "scores")
    )
    whole = precision[..., 0]
    parts = (whole, whole[0], whole[5], *(precision[..., area] for area in (1, 2, 3)), recall[..., 0])
    return _Curves([_mean(part) for part in parts], whole, least[0, ..., 0], np.asarray(evaluation.params.recThrs))


def _mean(values: NDArray[np.float64]) -> float | None:
    """Returns the mean of what is defined, which COCO has -1 for what is not."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None
