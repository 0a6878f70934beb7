"""What tokens sample from: the early convolution and the ablations of Table 3d."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.layers.opaque import opaque
from sparsevision.layers.paths import fast, fast_cpu_inference

# Rows of the feature map that are computed at a time; with these a strip of a 224 to 2048 px picture stays in cache.
STRIP_ROWS = 8


def channel_norm(
    features: Float[Tensor, "batch channels height width"], *, eps: float, unbiased: bool
) -> Float[Tensor, "batch channels height width"]:
    """Normalises every pixel over its channels, without parameters."""
    if fast():
        channels = features.shape[1]
        # The unbiased variance is the biased one times C / (C - 1): a factor on the result, and on eps.
        shrink = (channels - 1) / channels if unbiased else 1.0
        weight = features.new_full((channels,), math.sqrt(shrink)) if unbiased else None
        normed = F.layer_norm(features.permute(0, 2, 3, 1), (channels,), weight, eps=eps * shrink)
        return normed.permute(0, 3, 1, 2)
    variance, mean = torch.var_mean(features, dim=1, correction=int(unbiased), keepdim=True)
    return (features - mean) / (variance + eps).sqrt()


class EarlyConv(nn.Conv2d):
    """A 7x7 convolution of stride 2, ReLU, 3x3 max pooling of stride 2 and a norm over channels: stride 4 in all.

    The paper does not mention the norm; the released code has it, in two forms (`eps`, `unbiased`).
    """

    def __init__(self, in_chans: int, channels: int, *, eps: float, unbiased: bool) -> None:
        super().__init__(in_chans, channels, kernel_size=7, stride=2, padding=3)
        self.eps, self.unbiased = eps, unbiased

    def init_weights(self) -> None:
        """Draws the weight by Kaiming's rule for ReLU over the fan out; the bias keeps PyTorch's default."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "batch in_chans height width"]) -> Float[Tensor, "batch channels h w"]:
        """Computes the feature map; its sides are ceil(ceil(side / 2) / 2)."""
        if not fast():
            pooled = F.max_pool2d(super().forward(images).relu_(), 3, stride=2, padding=1)
            return channel_norm(pooled, eps=self.eps, unbiased=self.unbiased)
        images = images.contiguous(memory_format=torch.channels_last)
        if fast_cpu_inference(images.device):
            return early_conv_in_strips(images, self.weight, self.bias, self.eps, self.unbiased)
        # ReLU and the maximum commute, and after pooling there is a quarter of the pixels.
        pooled = F.max_pool2d(super().forward(images), 3, stride=2, padding=1).relu()
        return channel_norm(pooled, eps=self.eps, unbiased=self.unbiased)


def _blank_map(images: Tensor, weight: Tensor, bias: Tensor, eps: float, unbiased: bool) -> Tensor:
    height, width = (((side + 1) // 2 + 1) // 2 for side in images.shape[2:])
    blank = images.new_empty(len(images), height, width, len(weight), dtype=weight.dtype)
    return blank.permute(0, 3, 1, 2)


@opaque("(Tensor images, Tensor weight, Tensor bias, float eps, bool unbiased) -> Tensor", _blank_map)
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
        result[:, :, start:stop] = channel_norm(pooled.relu_(), eps=eps, unbiased=unbiased)
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


class PatchEmbedding(nn.Conv2d):
    """One linear map of each 8x8 patch, then the norm over channels: stride 8 (Table 3d, "ViT/8-embed")."""

    def __init__(self, in_chans: int, channels: int, *, eps: float, unbiased: bool) -> None:
        super().__init__(in_chans, channels, kernel_size=8, stride=8)
        self.eps, self.unbiased = eps, unbiased

    def init_weights(self) -> None:
        """Draws the weight by Kaiming's rule over the fan out, as for the early convolution."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Float[Tensor, "batch in_chans height width"]) -> Float[Tensor, "batch channels h w"]:
        """Computes the feature map; sides are rounded up to whole patches with zeros."""
        below, right = -images.shape[2] % 8, -images.shape[3] % 8
        return channel_norm(super().forward(F.pad(images, (0, right, 0, below))), eps=self.eps, unbiased=self.unbiased)


class Pixels(nn.Module):
    """The normalised picture itself (Table 3d, "RGB")."""

    def init_weights(self) -> None:
        """Has no weights."""

    def forward(
        self, images: Float[Tensor, "batch in_chans height width"]
    ) -> Float[Tensor, "batch in_chans height width"]:
        """Returns the pictures."""
        return images
