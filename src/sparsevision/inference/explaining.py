"""Explanations of images: a Predictor's results and traces beside the images, once or over a control's values."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from timeit import repeat
from typing import Any

from PIL import Image

from sparsevision.data.reading import read_image
from sparsevision.errors import UnknownNameError, UnreadableImageError
from sparsevision.explain import ClipFrames, ControlSweep, Explanation, sweep_values
from sparsevision.inference.options import controls_of, options_of
from sparsevision.inference.predictor import Predictor
from sparsevision.inference.sources import find_images
from sparsevision.types import Result, Skipped

# Images are drawn at about this many pixels; a camera's are decoded no larger than they need to be.
_DRAWN_SIDE = 720


def explain_images(predictor: Predictor, sources: Iterable[str], **options: Any) -> Iterator[Explanation]:
    """Predicts images with their traces, one batch after another, and yields the explanation of each.

    `sources` are those of `find_images`, `options` those of the predictor, whose `skipped` lists in the end what could
    not be found or read.
    """
    missing: list[Skipped] = []
    for result in predictor.stream(_found(predictor, sources, missing), trace=True, **options):
        yield _explanation(predictor, _shown(predictor, result.name), result, options)
    predictor.skipped = missing + predictor.skipped


def explain_sweep(
    predictor: Predictor, sources: Iterable[str], *, control: str | None = None, runs: int = 3, **options: Any
) -> Iterator[ControlSweep]:
    """Explains each image with several values of one of the model's controls, and yields the sweep of each.

    Takes what `explain_images` takes, and the control's name, by default the model's first one; the sweep starts from
    its value among the options. Every explanation has the time in seconds to read the image and predict it without a
    trace, the best of `runs`. A model without controls has one explanation an image, without a time.
    """
    predictor.stream([], **options)  # refuses wrong options before anything is read
    controls = controls_of(predictor.model)
    if control is not None and control not in controls:
        raise UnknownNameError("control of this model", control, controls)
    chosen = controls[control] if control else next(iter(controls.values()), None)
    own = options.get(chosen.name, chosen.default) if chosen else 0.0
    values = sweep_values(chosen, own) if chosen else (own,)
    settings = [{**options, chosen.name: value} for value in values] if chosen else [options]
    missing: list[Skipped] = []
    for name in _found(predictor, sources, missing):
        try:
            shown = _shown(predictor, name)
            each = tuple(_explained(predictor, shown, name, one, runs if chosen else 0) for one in settings)
        except UnreadableImageError as error:
            missing.append(Skipped(name, str(error)))
            continue
        yield ControlSweep(explanations=each, control=chosen, start=values.index(own))
    predictor.skipped = missing


def _found(predictor: Predictor, sources: Iterable[str], missing: list[Skipped]) -> Iterator[str]:
    return find_images(sources, sys.stdin.buffer, missing, videos=predictor.task.things == "videos")


def _shown(predictor: Predictor, name: str) -> Image.Image | ClipFrames:
    """Returns an image, or the frames that a model of videos sees of one."""
    if predictor.task.things == "images":
        return read_image(name, side=_DRAWN_SIDE)
    clip = predictor.reader.shown(name, _DRAWN_SIDE)
    return ClipFrames(images=clip.frames, times=clip.times, begin=clip.begin, end=clip.end)


def _explained(
    predictor: Predictor, shown: Image.Image | ClipFrames, name: str, options: Mapping[str, Any], runs: int
) -> Explanation:
    result = predictor(name, trace=True, **options)
    # Apart from the trace, which takes time to record. Of one way alone there is nothing to compare.
    seconds = min(repeat(partial(predictor, name, **options), number=1, repeat=runs), default=None)
    return _explanation(predictor, shown, result, options, seconds)


def _explanation(
    predictor: Predictor, shown: Image.Image | ClipFrames, result: Result, options: Mapping[str, Any],
    seconds: float | None = None,
) -> Explanation:  # fmt: skip
    """Puts an image and its result together, with the values of the model's controls and choices."""
    offered = tuple(options_of(predictor.model).values())

    def rerun(version: Image.Image) -> Explanation:
        return _explanation(predictor, version, predictor(version, trace=True, **options), options)

    settings = {option.name: options.get(option.name, option.default) for option in offered}
    given: dict[str, Any] = {
        "result": result, "options": offered, "settings": settings, "seconds": seconds, "model": predictor.title,
    }  # fmt: skip
    if isinstance(shown, ClipFrames):
        return Explanation(image=shown.images[len(shown.images) // 2], clip=shown, **given)
    return Explanation(image=shown, rerun=rerun, **given)
