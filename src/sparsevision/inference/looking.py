"""Pictures looked at by a model: a Predictor's results beside the pictures, as the `explain` room draws them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from time import perf_counter
from typing import Any

from PIL import Image

from sparsevision.data.reading import read_picture
from sparsevision.errors import UnreadablePictureError
from sparsevision.explain import DISTURBANCES, AttentionLook, DetectionLook, Look, Sweep, sweep_values
from sparsevision.inference.controls import choices_of, controls_of
from sparsevision.inference.finding import find_pictures
from sparsevision.inference.predictor import Predictor
from sparsevision.tasks.detection.result import DetectionResult
from sparsevision.types import Result, Skipped, TraceKind

# Pictures are drawn at about this many pixels; a camera's are decoded no larger than they need to be.
_DRAWN_SIDE = 720
# So often a run is timed, the best time being what it takes undisturbed.
_TIMES = 3
# What is drawn of a detector.
_KINDS: tuple[TraceKind, ...] = ("points", "regions", "heat", "kept")


def look_at(predictor: Predictor, sources: Iterable[str], **options: Any) -> Iterator[Look]:
    """Predicts pictures with their traces, one batch after another, and yields what there is to draw of each.

    Looks of a detector are of the kind `DetectionLook`, those of a Visual Transformer of the kind `AttentionLook`.

    Args:
        predictor: its `skipped` lists, once the last look is taken, what could not be found or read.
        sources: files, folders, patterns, or "-" for a list of paths on standard input.
        options: what the predictor takes: `top_k` of a classifier; `threshold` of a detector; the model's controls and
            choices.
    """
    missing: list[Skipped] = []
    trace = _KINDS if predictor.task == "detection" else True
    for result in predictor.stream(find_pictures(sources, sys.stdin.buffer, missing), trace=trace, **options):
        yield _look(predictor, read_picture(result.name, side=_DRAWN_SIDE), result, options)
    predictor.skipped = missing + predictor.skipped


def look_disturbed(predictor: Predictor, look: Look) -> dict[str, Look]:
    """Looks at the erased and padded versions of a picture, too; the original comes first."""
    versions = {name: disturb(look.picture) for name, disturb in DISTURBANCES.items()}
    results = predictor([*versions.values()], trace=True)
    pairs = zip(versions.items(), results, strict=True)
    return {"original": look} | {name: Look(version, result, look.classes) for (name, version), result in pairs}


def sweep_at(predictor: Predictor, sources: Iterable[str], *, whole: bool = True, **options: Any) -> Iterator[Sweep]:
    """Looks at each picture with several values of a detector's first control, and yields the looks of each.

    Every look knows how many seconds it took at best to read the picture and predict it without a trace.

    Args:
        predictor: its `skipped` lists, once the last sweep is taken, what could not be found or read.
        sources: files, folders, patterns, or "-" for a list of paths on standard input.
        whole: False for one look, untimed, with the control's own value alone, as it also is without a control.
        options: `threshold`, and the model's controls and choices; the sweep starts from the first control's value.
    """
    predictor.stream([], **options)  # says what is wrong with them before anything is read
    control = next(iter(controls_of(predictor.model).values()), None) if whole else None
    own = options.get(control.name, control.default) if control else 0.0
    values = sweep_values(control, own) if control else (own,)
    runs = [{**options, control.name: value} for value in values] if control else [options]
    missing: list[Skipped] = []
    for name in find_pictures(sources, sys.stdin.buffer, missing):
        try:
            picture = read_picture(name, side=_DRAWN_SIDE)
            looks = tuple(_detector_look(predictor, picture, name, run, timed=whole) for run in runs)
        except UnreadablePictureError as error:
            missing.append(Skipped(name, str(error)))
            continue
        yield Sweep(looks, control, values.index(own))
    predictor.skipped = missing


def _detector_look(
    predictor: Predictor, picture: Image.Image, name: str, options: dict[str, Any], *, timed: bool
) -> DetectionLook:
    result = predictor(name, trace=_KINDS, **options)
    # Apart from the trace, which takes time to record.
    seconds = min(_seconds(predictor, name, options) for _ in range(_TIMES)) if timed else None
    look = _look(predictor, picture, result, options)
    assert isinstance(look, DetectionLook), "a classifier has no sweeps"
    return replace(look, seconds=seconds)


def _seconds(predictor: Predictor, name: str, options: dict[str, Any]) -> float:
    begun = perf_counter()
    predictor(name, **options)
    return perf_counter() - begun


def _look(predictor: Predictor, picture: Image.Image, result: Result, options: dict[str, Any]) -> Look:
    """Puts a picture and its result together; a detector's also with its controls' values and what was chosen."""
    if not isinstance(result, DetectionResult):
        kind = AttentionLook if "heat" in predictor.model.traces else Look
        return kind(picture, result, predictor.labels)
    controls, choices = controls_of(predictor.model), choices_of(predictor.model)
    settings: dict[str, float | str] = {
        **{name: float(options.get(name, control.default)) for name, control in controls.items()},
        **{name: str(options[name]) for name in choices if name in options},
    }
    return DetectionLook(picture, result, predictor.labels, settings)
