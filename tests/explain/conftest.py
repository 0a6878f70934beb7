from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparsevision.explain import ControlSweep, Explanation
from sparsevision.tasks.detection.result import DetectionResult
from sparsevision.tasks.labels.result import ClassificationResult
from sparsevision.types import (
    Control,
    Geometry,
    Kept,
    LevelMaps,
    Points,
    Regions,
    Response,
    Trace,
)

MakeExplanation = Callable[..., Explanation]
CONTROL = Control("keep_ratio", 0.2, 0.01, 1.0, "share of the tokens")


def an_image(width: int = 120, height: int = 80) -> Image.Image:
    across, down = np.linspace(0, 255, width), np.linspace(0, 255, height)
    pixels = np.stack(np.broadcast_arrays(across[None], down[:, None], 90.0), -1)
    return Image.fromarray(pixels.astype(np.uint8))


def a_trace(tokens: int = 25, points: int = 9, stages: int = 5, classes: int = 3) -> Trace:
    """Tokens on a grid whose RoIs shrink towards (0.7, 0.4) stage by stage; token i responds to class i most."""
    generator = torch.Generator().manual_seed(0)
    side = int(tokens**0.5)
    index = torch.arange(tokens)
    centre = (torch.stack([index % side, index // side], -1) + 0.5) / side
    goal = torch.tensor([0.7, 0.4])
    trace = Trace()
    offsets = torch.randn(tokens, points, 2, generator=generator) / 3
    for stage in range(stages):
        share = stage / stages
        middle = centre + share * (goal - centre)
        size = 0.4 * (1 - 0.6 * share)
        name = f"focusing.{stage + 1}" if stage < stages - 1 else "cortex.1"
        trace.record(name, Regions(torch.cat([middle - size / 2, middle + size / 2], -1)[None]))
        trace.record(name, Points((middle[:, None] + size * offsets)[None]))
    trace.record("head", Response(10 * torch.eye(tokens, classes)[None]))
    return trace[0]


@pytest.fixture
def make_explanation() -> MakeExplanation:
    def make(
        image: Image.Image | None = None,
        *,
        name: str = "image.jpg",
        labels: Sequence[str] = ("pagoda", "ferry", "lotus"),
        trace: Trace | None = None,
        geometry: Geometry | None = None,
        tokens: int = 25,
    ) -> Explanation:
        image = image or an_image()
        width, height = image.size
        side = min(width, height)
        centred = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
        geometry = geometry or Geometry((height, width), centred)
        result = ClassificationResult(
            name=name, classes=tuple(labels), labels=tuple(labels), scores=(0.8, 0.15, 0.05), geometry=geometry,
            trace=trace or a_trace(tokens),
        )  # fmt: skip
        return Explanation(image=image, result=result)

    return make


GRIDS = ((4, 6), (2, 3))


def an_objects_trace(*, kept: Sequence[int] = (0, 7, 8, 9), chooses: bool = True) -> Trace:
    """Two levels, two decoder layers and five queries, of which the last ones are the objects', in falling order.

    Of the first level the cells `kept` are updated and read three times as much as others; of the second none is
    updated. Query q looks around (0.15 (q + 1), 0.5): at level 0 with three quarters of its weight, at level 1 with the
    rest.
    """
    trace, queries = Trace(), 5
    marked = torch.zeros(24)
    marked[list(kept)] = 1
    if chooses:
        trace.record("encoder", Kept((torch.tensor([[*kept, -1]]), torch.full((1, 1), -1)), GRIDS))
        trace.record("scorer", LevelMaps(((0.1 + 0.8 * marked).view(1, 4, 6), torch.full((1, 2, 3), 0.2)), "expected"))
    trace.record("decoder", LevelMaps(((1 + 2 * marked).view(1, 4, 6), torch.full((1, 2, 3), 2.0)), "read"))
    centre = torch.stack([0.15 * (torch.arange(queries) + 1), torch.full((queries,), 0.5)], -1)
    for layer, side in (("proposals", 0.4), ("decoder.1", 0.3), ("decoder.2", 0.2)):
        trace.record(layer, Regions(torch.cat([centre - side / 2, centre + side / 2], -1)[None]))
    around = torch.tensor([[-0.02, 0.0], [0.02, 0.0], [0.0, 0.03]])
    weight = torch.tensor([0.25, 0.5, 0.25]).expand(1, queries, 3)
    level = torch.tensor([0, 0, 1]).expand(1, queries, 3)
    for number in (1, 2):
        trace.record(f"decoder.{number}", Points((centre[:, None] + around / number)[None], weight, level))
    return trace[0]


@pytest.fixture
def make_objects() -> MakeExplanation:
    """Makes explanations of objects that queries found."""

    def make(
        image: Image.Image | None = None,
        *,
        name: str = "cells.jpg",
        labels: Sequence[str] = ("red", "white", "red"),
        trace: Trace | None = None,
        chooses: bool = True,
        keep_ratio: float = 0.2,
        geometry: Geometry | None = None,
    ) -> Explanation:
        image = image or an_image()
        trace = trace or an_objects_trace(chooses=chooses)
        width, height = image.size
        geometry = geometry or Geometry((height, width), (0.0, 0.0, width, height))
        corners = trace.regions["decoder.2"].xyxy.flip(0)[: len(labels)].view(-1, 2, 2)
        boxes = tuple(map(tuple, geometry.to_original(corners).view(-1, 4).tolist()))
        scores = tuple(0.9 - 0.2 * index for index in range(len(labels)))
        result = DetectionResult(
            name=name, classes=("white", "red"), labels=tuple(labels), scores=scores, boxes=boxes, geometry=geometry,
            trace=trace,
        )  # fmt: skip
        settings = {"keep_ratio": keep_ratio}
        return Explanation(image=image, result=result, options=(CONTROL,), settings=settings, seconds=0.025)

    return make


@pytest.fixture
def make_sweep(make_objects) -> Callable[..., ControlSweep]:
    """Makes an image's explanations with a rising share of updated tokens; the last finds one object less."""

    def make(image: Image.Image | None = None, **options: Any) -> ControlSweep:
        labels = options.pop("labels", ("red", "white", "red"))
        kept = ((0,), (0, 7, 8, 9), tuple(range(24)))
        each = [
            make_objects(image, trace=an_objects_trace(kept=cells), keep_ratio=ratio, labels=found, **options)
            for cells, ratio, found in zip(kept, (0.1, 0.2, 1.0), (labels, labels, labels[:-1]), strict=True)
        ]
        return ControlSweep(explanations=tuple(each), control=CONTROL, start=1)

    return make


@pytest.fixture
def open_page(browser) -> Callable[[Path], AbstractContextManager[Any]]:
    """Opens a page; a request to elsewhere, a message on the console or an error fails the test."""

    @contextmanager
    def opening(path: Path) -> Iterator[Any]:
        page = browser.new_page(viewport={"width": 1300, "height": 900}, reduced_motion="reduce")
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.append(request.url) if is_foreign(request.url) else None)
        page.goto(path.as_uri())
        yield page
        broken = page.evaluate("window.broken")
        page.close()
        assert complaints == []
        assert broken is None

    return opening


def is_foreign(address: str) -> bool:
    return not address.startswith(("file:", "data:"))
