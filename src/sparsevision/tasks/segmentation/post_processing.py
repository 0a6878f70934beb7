"""From the logits of a segmenter to a class map in pixels of the original image."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparsevision.outputs import SegmentationHead

Places = tuple[Int[Tensor, " pixels"], Float[Tensor, " pixels"]]
# Numbers of an enlarged map that exist at once.
_BLOCK = 1 << 23


def class_map(head: SegmentationHead, index: int, view: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Returns the class (H, W), uint8, of each pixel of an image of a `size`, of which the network saw a `view`.

    Logits are enlarged bilinearly, a block of rows after the other, so that no map of all classes at the size of the
    image exists. Both sizes are (height, width).
    """
    logits = head.logits[index].float()
    down = places_between(logits.shape[1], view[0], size[0], head.stride, logits.device)
    across = places_between(logits.shape[2], view[1], size[1], head.stride, logits.device)
    return class_rows(logits, down, across)


def class_rows(logits: Float[Tensor, "classes height width"], down: Places, across: Places) -> Tensor:
    """Returns the class, uint8, of the pixels at places between the cells of a map of logits."""
    size = (len(down[0]), len(across[0]))
    rows = max(1, _BLOCK // max(1, logits.shape[0] * size[1]))
    found = torch.empty(size, dtype=torch.uint8, device=logits.device)
    for start in range(0, size[0], rows):
        part = slice(start, start + rows)
        some = _mixed(logits, (down[0][part], down[1][part]), dim=1)
        found[part] = _mixed(some, across, dim=2).argmax(dim=0)
    return found


def places_between(cells: int, view: int, size: int, stride: int, device: torch.device) -> Places:
    """Returns the cell before the centre of each of `size` pixels, and the share of the next cell.

    The pixels show a `view` of so many pixels, of which each cell stands for a `stride`.
    """
    # On the CPU: not every device has double precision.
    centres = (torch.arange(size, dtype=torch.float64) + 0.5) * view / size / stride - 0.5
    centres = centres.clamp(0, cells - 1)
    first = centres.floor().clamp(max=max(cells - 2, 0))
    return first.long().to(device), (centres - first).float().to(device)


def _mixed(x: Tensor, places: Places, *, dim: int) -> Tensor:
    first, share = places
    before = x.index_select(dim, first)
    after = x.index_select(dim, (first + 1).clamp(max=x.shape[dim] - 1))
    shape = [1] * x.dim()
    shape[dim] = -1
    return before.lerp_(after, share.view(shape))
