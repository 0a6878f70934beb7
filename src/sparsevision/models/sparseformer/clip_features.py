"""Early features of clips: the image's early convolution on each frame, and trilinear sampling in space and time."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from sparsevision.kernels.dispatch import accelerated, fast, fast_cpu_inference
from sparsevision.kernels.trilinear import frames_around, frames_in_channels_last, gather_frame_corners

Clips = Float[Tensor, "batch in_chans frames height width"]
Maps = Float[Tensor, "maps channels h w"]


@accelerated(gather_frame_corners, when=frames_in_channels_last)
def sample_frames(
    maps: Maps, places: Int[Tensor, "batch frames"], points: Float[Tensor, "batch tokens points 3"],
    padding: str = "zeros",
) -> Float[Tensor, "batch tokens points channels"]:  # fmt: skip
    """Reads the maps of frames trilinearly at points (x, y, t) in fractions of the clip.

    `places` says which map each frame has; a frame at time t T - 0.5 is read as it is. Frames without a map (-1) must
    not be read.
    """
    clips = maps[places.clamp(min=0)].transpose(1, 2)
    grid = (points * 2 - 1).unsqueeze(1)
    sampled = F.grid_sample(clips, grid, mode="bilinear", padding_mode=padding, align_corners=False)
    return sampled.squeeze(2).permute(0, 2, 3, 1)


class FrameMaps:
    """The feature maps of the frames of clips; with `lazy`, of those alone that were read, once they are.

    Nothing is left out where gradients are computed or a graph is exported.
    """

    def __init__(self, clips: Clips, early_conv: Callable[[Tensor], Tensor], *, lazy: bool = False) -> None:
        self._clips, self._early_conv = clips, early_conv
        batch, frames = clips.shape[0], clips.shape[2]
        every = torch.arange(batch * frames, device=clips.device)
        self.lazy = lazy and fast() and not torch.is_grad_enabled()
        self.places = torch.full_like(every, -1) if self.lazy else every
        self.places = self.places.view(batch, frames)
        self._room: Tensor | None = None
        self.maps = self._with(every[:1] if self.lazy else every, 0)
        if self.lazy:
            self.places[0, 0] = 0

    @property
    def height(self) -> int:
        """Rows of a map."""
        return self.maps.shape[2]

    def sample(
        self, points: Float[Tensor, "batch tokens points 3"], padding: str
    ) -> Float[Tensor, "batch tokens points channels"]:
        """Reads at points (x, y, t) in fractions of the clip."""
        if self.lazy:
            self._add_frames(points[..., 2], padding)
        return sample_frames(self.maps.to(points.dtype), self.places, points, padding)

    def _add_frames(self, times: Float[Tensor, "batch tokens points"], padding: str) -> None:
        frames, shares = frames_around(times, self.places.shape[1], padding)
        wanted = torch.zeros_like(self.places).scatter_add_(1, frames.flatten(1), (shares != 0).long().flatten(1)) > 0
        new = (wanted & (self.places < 0)).flatten().nonzero().squeeze(1)
        if len(new):
            number = len(self.maps)
            self.places.view(-1)[new] = torch.arange(number, number + len(new), device=new.device)
            self.maps = self._with(new, number)

    def _with(self, chosen: Int[Tensor, " chosen"], number: int) -> Maps:
        """Returns the first `number` maps and behind them those of frames, counted over the batch."""
        frames, at_once = self._clips.transpose(1, 2), chosen.shape[0]
        if fast_cpu_inference(frames):
            # One frame at a time stays in cache, and besides the maps nothing of the size of a clip is made.
            at_once = 1
        elif not self.lazy:
            return self._early_conv(frames.flatten(0, 1))
        for part in chosen.split(at_once):
            made = self._early_conv(frames[self._at(part)])
            if self._room is None:
                # What is not written takes no memory on a CPU.
                size, layout = (self.places.numel(), *made.shape[1:]), torch.channels_last
                self._room = torch.empty(size, dtype=made.dtype, device=made.device, memory_format=layout)
            self._room[number : number + len(part)] = made
            number += len(part)
        assert self._room is not None
        return self._room[:number]

    def _at(self, chosen: Int[Tensor, " chosen"]) -> tuple[Tensor, Tensor]:
        return chosen // self.places.shape[1], chosen % self.places.shape[1]
