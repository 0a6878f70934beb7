"""The early convolution with its norm over channels, on channels-last maps."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevision.kernels.custom_op import custom_op
from sparsevision.kernels.dispatch import fast_cpu_inference

# Rows of the feature map that are computed at a time; with these a strip of a 224 to 2048 px image stays in cache.
STRIP_ROWS = 8


def early_conv_in_channels_last(images: Tensor, weight: Tensor, bias: Tensor, *, eps: float, unbiased: bool) -> Tensor:
    """Convolves channels-last images (B, C, H, W); in inference on a CPU, in strips."""
    images = images.contiguous(memory_format=torch.channels_last)
    if fast_cpu_inference(images):
        return early_conv_in_strips(images, weight, bias, eps, unbiased)
    # ReLU and the maximum commute, and after pooling there is a quarter of the pixels.
    pooled = F.max_pool2d(F.conv2d(images, weight, bias, stride=2, padding=3), 3, stride=2, padding=1).relu()
    return layer_norm_over_channels(pooled, eps=eps, unbiased=unbiased)


def layer_norm_over_channels(features: Tensor, *, eps: float, unbiased: bool) -> Tensor:
    """Normalises every pixel of a map (B, C, H, W) over its channels, by PyTorch's own layer norm."""
    channels = features.shape[1]
    # The unbiased variance is the biased one times C / (C - 1): a factor on the result, and on eps.
    shrink = (channels - 1) / channels if unbiased else 1.0
    weight = features.new_full((channels,), math.sqrt(shrink)) if unbiased else None
    normed = F.layer_norm(features.permute(0, 2, 3, 1), (channels,), weight, eps=eps * shrink)
    return normed.permute(0, 3, 1, 2)


def _blank_map(images: Tensor, weight: Tensor, bias: Tensor, eps: float, unbiased: bool) -> Tensor:
    height, width = (((side + 1) // 2 + 1) // 2 for side in images.shape[2:])
    blank = images.new_empty(len(images), height, width, len(weight), dtype=weight.dtype)
    return blank.permute(0, 3, 1, 2)


@custom_op("(Tensor images, Tensor weight, Tensor bias, float eps, bool unbiased) -> Tensor", _blank_map)
def early_conv_in_strips(images: Tensor, weight: Tensor, bias: Tensor, eps: float, unbiased: bool) -> Tensor:
    """Computes the early convolution some rows at a time: the convolution's output never lies in memory whole.

    For inference on a CPU; `images` and the result are channels-last.
    """
    weight = weight.contiguous(memory_format=torch.channels_last)
    result = _blank_map(images, weight, bias, eps, unbiased)
    rows = result.shape[2]
    for start in range(0, rows, STRIP_ROWS):
        stop = min(start + STRIP_ROWS, rows)
        pooled = F.max_pool2d(_conv_rows(images, weight, bias, 2 * start - 1, 2 * stop), 3, stride=2, padding=(0, 1))
        result[:, :, start:stop] = layer_norm_over_channels(pooled.relu_(), eps=eps, unbiased=unbiased)
    return result


def _conv_rows(images: Tensor, weight: Tensor, bias: Tensor, first: int, last: int) -> Tensor:
    """Computes rows [first, last) of the convolution; rows outside it are zeros, which the later ReLU ignores."""
    height = images.shape[2]
    conv_rows = (height + 1) // 2
    inner_first, inner_last = max(first, 0), min(last, conv_rows)
    top, bottom = 2 * inner_first - 3, 2 * inner_last + 2
    strip = images[:, :, max(top, 0) : min(bottom, height)]
    if top < 0 or bottom > height:
        strip = F.pad(strip, (0, 0, max(-top, 0), max(bottom - height, 0)))
    strip = F.conv2d(strip, weight, bias, stride=2, padding=(0, 3))
    if inner_first > first or inner_last < last:
        strip = F.pad(strip, (0, 0, inner_first - first, last - inner_last))
    return strip
