"""From a video to clips: the times of frames, and the views that a model gets of them, where nothing is random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sparsevision.data.dataset import Record
from sparsevision.data.preprocessing import RESAMPLING, identity, to_tensor, view
from sparsevision.data.videos import FrameSource, VideoInfo
from sparsevision.types import Geometry, Preprocessing, Sample


def clip_seconds(preprocessing: Preprocessing, rate: float) -> float | None:
    """Returns how long a clip of a video of `rate` frames a second is; None where it is the whole video."""
    if preprocessing.frame_stride is not None:
        return (preprocessing.frames or 1) * preprocessing.frame_stride / rate
    return preprocessing.clip_seconds


def clip_times(info: VideoInfo, preprocessing: Preprocessing, place: float) -> list[float]:
    """Returns the times of a clip's frames, in seconds; `place` from 0 to 1 is where it lies among the possible ones.

    Beyond the end of a video its last frame is seen.
    """
    frames = preprocessing.frames or 1
    step = (clip_seconds(preprocessing, info.rate) or info.duration) / frames
    # In the middle of the time that a frame is shown, or of its share of the clip: containers round times.
    first = 0.5 / info.rate if preprocessing.frame_stride is not None else step / 2
    first += max(info.duration - frames * step, 0.0) * place
    return [first + number * step for number in range(frames)]


def clip_views(
    preprocessing: Preprocessing, frames: NDArray[np.uint8], original_size: tuple[int, int]
) -> tuple[list[Tensor], Geometry]:
    """Returns the parts of a clip (T, H, W, 3) that a model gets, (C, T, H, W) each, and the place of the first.

    Several are squares along the long side, from one end to the other, as high as the short side.
    """
    images = [Image.fromarray(frame) for frame in frames]
    if preprocessing.crops == 1:
        seen = [view(preprocessing, image, original_size=original_size) for image in images]
        return [_stacked([tensor for tensor, _ in seen])], seen[0][1]
    height, width = preprocessing.size
    size = cover_size(images[0], (height, width))
    images = [image.resize(size[::-1], RESAMPLING[preprocessing.interpolation]) for image in images]
    views, boxes = [], []
    for share in np.linspace(0, 1, preprocessing.crops):
        top, left = (round((extent - side) * share) for extent, side in zip(size, (height, width), strict=True))
        cuts = (image.crop((left, top, left + width, top + height)) for image in images)
        views.append(_stacked([to_tensor(cut, preprocessing.mean, preprocessing.std) for cut in cuts]))
        shares = (left / size[1], top / size[0], (left + width) / size[1], (top + height) / size[0])
        boxes.append(tuple(share * original_size[1 - axis % 2] for axis, share in enumerate(shares)))
    return views, Geometry(original_size, boxes[0])


def _stacked(frames: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(frames), dim=1)


def cover_size(image: Image.Image, size: tuple[int, int]) -> tuple[int, int]:
    """Returns the least (height, width) of an image's form that covers a size."""
    scale = max(size[0] / image.height, size[1] / image.width)
    return max(round(image.height * scale), size[0]), max(round(image.width * scale), size[1])


@dataclass(frozen=True)
class ClipEvaluationTransform:
    """The transform of a record outside training: its clips and their parts, and `target` of its target."""

    preprocessing: Preprocessing
    target: Callable[[Any], Any] = identity

    def __call__(self, record: Record) -> Sample:
        """Returns the sample, (C, T, H, W), or (V, C, T, H, W) for several views."""
        video: FrameSource = record.image
        options = self.preprocessing
        places = np.linspace(0, 1, options.clips) if options.clips > 1 else [0.5]
        views, geometry = [], None
        for place in places:
            times = clip_times(video.info, options, float(place))
            parts, geometry = clip_views(options, video.read(times, side=least_side(options)), video.info.size)
            views += parts
        images = views[0] if len(views) == 1 else torch.stack(views)
        return Sample(images, self.target(record.target), record.name, -1, geometry)


def least_side(preprocessing: Preprocessing) -> int:
    """Returns the short side below which frames are not reduced while decoding."""
    fraction = preprocessing.crop_fraction if preprocessing.fit == "crop" else 1.0
    return int(max(preprocessing.size) / fraction)
