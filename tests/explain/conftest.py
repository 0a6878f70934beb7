from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from PIL import Image

from sparsevision.explain import Look
from sparsevision.types import Classification, Geometry, Points, Regions, Response, Trace

MakeLook = Callable[..., Look]


def a_picture(width: int = 120, height: int = 80) -> Image.Image:
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
def make_look() -> MakeLook:
    def make(
        picture: Image.Image | None = None,
        *,
        name: str = "picture.jpg",
        labels: Sequence[str] = ("pagoda", "ferry", "lotus"),
        trace: Trace | None = None,
        geometry: Geometry | None = None,
        tokens: int = 25,
    ) -> Look:
        picture = picture or a_picture()
        width, height = picture.size
        side = min(width, height)
        centred = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
        geometry = geometry or Geometry((height, width), (64, 64), centred)
        result = Classification(name, tuple(labels), (0.8, 0.15, 0.05), geometry, trace or a_trace(tokens))
        return Look(picture, result, tuple(labels))

    return make
