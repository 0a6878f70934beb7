"""Feature maps that tokens sample: the early convolution and the ablations of Table 3d."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.kernels.dispatch import accelerated, fast
from sparsevision.kernels.early_conv import early_conv_in_channels_last, layer_norm_over_channels

Images = Float[Tensor, "batch in_chans height width"]
Features = Float[Tensor, "batch channels h w"]


@accelerated(layer_norm_over_channels, when=fast)
def channel_norm(features: Features, *, eps: float, unbiased: bool) -> Features:
    """Normalises every pixel over its channels, without parameters."""
    variance, mean = torch.var_mean(features, dim=1, correction=int(unbiased), keepdim=True)
    return (features - mean) / (variance + eps).sqrt()


@accelerated(early_conv_in_channels_last, when=fast)
def early_features(
    images: Images, weight: Float[Tensor, "channels in_chans 7 7"],
    bias: Float[Tensor, " channels"], *, eps: float, unbiased: bool,
) -> Features:  # fmt: skip
    """A 7x7 convolution of stride 2, ReLU, 3x3 max pooling of stride 2 and a norm over channels: stride 4 in all."""
    features = F.conv2d(images, weight, bias, stride=2, padding=3).relu_()
    return channel_norm(F.max_pool2d(features, 3, stride=2, padding=1), eps=eps, unbiased=unbiased)


class EarlyConv(nn.Conv2d):
    """The early convolution (`early_features`) with its weights.

    The paper does not mention the norm; the released code has it, in two forms (`eps`, `unbiased`).
    """

    window: ClassVar[dict[str, Any]] = {"kernel_size": 7, "stride": 2, "padding": 3}

    def __init__(self, in_chans: int, channels: int, *, eps: float, unbiased: bool) -> None:
        super().__init__(in_chans, channels, **self.window)
        self.eps, self.unbiased = eps, unbiased

    def init_weights(self) -> None:
        """Draws the weight by Kaiming's rule for ReLU over the fan out; the bias keeps PyTorch's default."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Images) -> Features:
        """Computes the feature map; its sides are ceil(ceil(side / 2) / 2)."""
        assert self.bias is not None
        return early_features(images, self.weight, self.bias, eps=self.eps, unbiased=self.unbiased)


class PatchEmbedding(EarlyConv):
    """One linear map of each 8x8 patch, then the norm over channels: stride 8 (Table 3d, "ViT/8-embed")."""

    window: ClassVar[dict[str, Any]] = {"kernel_size": 8, "stride": 8}

    def forward(self, images: Images) -> Features:
        """Computes the feature map; sides are rounded up to whole patches with zeros."""
        below, right = -images.shape[2] % 8, -images.shape[3] % 8
        embedded = nn.Conv2d.forward(self, F.pad(images, (0, right, 0, below)))
        return channel_norm(embedded, eps=self.eps, unbiased=self.unbiased)
