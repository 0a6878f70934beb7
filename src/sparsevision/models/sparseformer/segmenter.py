"""SparseFormer's segmenter (A.2): a dense map is restored from the tokens, and its pixels are classified.

No code of it was ever released. The paper leaves open, and chosen here are: the number of heads and their width (one of
512 channels), that the attention has neither an output map nor a residual, a norm before keys and values, and batch
norms behind the two convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparsevision.errors import ConfigError
from sparsevision.kernels.dispatch import fast
from sparsevision.models.config_checks import Repeats
from sparsevision.models.parameter_groups import ParameterGroup, decay_groups
from sparsevision.models.sparseformer.config import NUMERICS, SparseFormerConfig
from sparsevision.models.sparseformer.network import SparseFormer, init_linear
from sparsevision.outputs import SegmentationHead, SegmentationOutput
from sparsevision.types import Control, TokenMaps, Trace, TraceKind

Features = Float[Tensor, "batch channels height width"]
Tokens = Float[Tensor, "batch tokens token_width"]
Rois = Float[Tensor, "batch tokens 4"]
STRIDE = 4
# Pixels of the restored map in a block: what exists of the map at once where nothing is to be learned.
BLOCK = 1 << 15
_LEAST_SIDE = 1e-4


@dataclass(frozen=True, kw_only=True)
class SparseFormerSegmenterConfig(SparseFormerConfig):
    """The hyper-parameters of A.2 beside those of the network whose tokens are restored.

    Attributes:
        restored_width: channels of the restored map (d).
        restored_heads: heads of the attention that restores it.
        decoder_width: channels of the two convolutions behind it.
        classifier: the named model whose weights the network starts from; its tokens and regions start anew where
            there are more of them here.
    """

    num_classes: int = 150
    restored_width: int = 512
    restored_heads: Repeats = 1
    decoder_width: int = 256
    classifier: str = "sparseformer_tiny"

    def _check(self) -> None:
        super()._check()
        if self.restored_width % self.restored_heads:
            raise ConfigError(
                f"restored_width is {self.restored_width}, which does not divide by restored_heads, "
                f"{self.restored_heads}."
            )
        if self.image_feature != "early_conv" or self.readout != "mean":
            raise ConfigError(
                "The segmenter restores a map of stride 4: it needs image_feature='early_conv' and readout='mean'."
            )


class PixelQueries(nn.Linear):
    """The query map of pixels, whose weights are also multiplied by the keys; it has no packed form."""


class LocationAwareAttention(nn.Module):
    """Pixels of an early map attend to the tokens, those whose regions are near before others (A.2).

    The logits are q k / sqrt(d / heads) - ((x - x_j) / w_j)^2 - ((y - y_j) / h_j)^2, with the pixel's place and the
    token's region as fractions of the image. The restored map is the mixture of the values alone.
    """

    def __init__(self, channels: int, token_width: int, config: SparseFormerSegmenterConfig) -> None:
        super().__init__()
        width = config.restored_width
        self.heads = config.restored_heads
        self.norm = nn.LayerNorm(token_width, eps=NUMERICS[config.numerics].norm_eps)
        self.query = PixelQueries(channels, width)
        self.key = nn.Linear(token_width, width)
        self.value = nn.Linear(token_width, width)

    def forward(
        self, features: Features, tokens: Tokens, rois: Rois
    ) -> Float[Tensor, "batch restored_width height width"]:
        """Returns the restored map (B, d, H, W)."""
        weights = self.weigh(features, tokens, rois, (0, features.shape[2]))
        values = self.value(self.norm(tokens)).unflatten(2, (self.heads, -1)).permute(0, 2, 3, 1)
        return (values @ weights).flatten(1, 2).unflatten(2, features.shape[2:])

    def maps(self, features: Features, tokens: Tokens, rois: Rois) -> Float[Tensor, "batch tokens height width"]:
        """Returns the share of each token in every pixel, a mean over the heads."""
        weights = self.weigh(features, tokens, rois, (0, features.shape[2])).mean(dim=1)
        return weights.unflatten(2, features.shape[2:])

    def weigh(
        self, features: Features, tokens: Tokens, rois: Rois, rows: tuple[int, int]
    ) -> Float[Tensor, "batch heads tokens pixels"]:
        """Returns how much each pixel of some rows takes from each token."""
        x = features[:, :, rows[0] : rows[1]].flatten(2)
        keys = self.key(self.norm(tokens)).unflatten(2, (self.heads, -1)).transpose(1, 2)
        products = self._products if fast() else self._products_of_queries
        logits = products(keys, x) * keys.shape[-1] ** -0.5
        # Regions are in single precision, whatever the weights are in.
        bias = location_bias(rois, features.shape[2:], rows).unsqueeze(1)
        return (logits + bias).softmax(dim=2).to(features.dtype)

    def _products_of_queries(self, keys: Tensor, x: Tensor) -> Float[Tensor, "batch heads tokens pixels"]:
        return keys @ self.query(x.mT).unflatten(2, (self.heads, -1)).permute(0, 2, 3, 1)

    def _products(self, keys: Tensor, x: Tensor) -> Float[Tensor, "batch heads tokens pixels"]:
        """Returns the same; the query map is laid on the keys, of which there are far fewer than pixels."""
        weight, bias = (each.unflatten(0, (self.heads, -1)) for each in (self.query.weight, self.query.bias))
        return (keys @ weight) @ x.unsqueeze(1) + keys @ bias.unsqueeze(-1)


def location_bias(rois: Rois, shape: torch.Size, rows: tuple[int, int]) -> Float[Tensor, "batch tokens pixels"]:
    """Returns minus the squared distance of each pixel's centre from each token's, in sides of the token's region."""
    height, width = shape
    first, second = rois.chunk(2, dim=-1)
    centre, sides = (first + second) / 2, (second - first).abs().clamp(min=_LEAST_SIDE)
    x = (torch.arange(width, device=rois.device, dtype=rois.dtype) + 0.5) / width
    y = (torch.arange(*rows, device=rois.device, dtype=rois.dtype) + 0.5) / height
    across = ((x - centre[..., :1]) / sides[..., :1]).square()
    down = ((y - centre[..., 1:]) / sides[..., 1:]).square()
    return -(down.unsqueeze(-1) + across.unsqueeze(-2)).flatten(2)


class _RestoredStep(nn.Module):
    """A convolution of 3 x 3 with its norm and ReLU."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out_width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_width)

    def forward(self, x: Float[Tensor, "batch in_width h w"]) -> Float[Tensor, "batch out_width h w"]:
        return self.norm(self.conv(x)).relu()


class SegmenterHead(nn.Module):
    """Restores the map, and classifies its pixels by two convolutions and a linear map."""

    def __init__(self, channels: int, token_width: int, config: SparseFormerSegmenterConfig) -> None:
        super().__init__()
        width = config.decoder_width
        self.attention = LocationAwareAttention(channels, token_width, config)
        self.convs = nn.ModuleList((_RestoredStep(config.restored_width, width), _RestoredStep(width, width)))
        self.classifier = nn.Conv2d(width, config.num_classes, 1)

    def forward(self, features: Features, tokens: Tokens, rois: Rois) -> Float[Tensor, "batch classes height width"]:
        """Returns the logits at stride 4."""
        if not self.training and fast() and not torch.is_grad_enabled():
            return self.in_blocks(features, tokens, rois)
        x = self.attention(features, tokens, rois)
        for step in self.convs:
            x = step(x)
        return self.classifier(x)

    def in_blocks(self, features: Features, tokens: Tokens, rois: Rois) -> Float[Tensor, "batch classes height width"]:
        """Returns the same, a block of rows after the other, and without the restored map.

        The restored map is linear in the attention's weights, and so the first convolution is one of these weights, of
        which there are as many as tokens: its own kernels are multiplied by the tokens' values first.
        """
        height, width = features.shape[2:]
        block = max(1, BLOCK // width)
        logits = features.new_empty(len(features), self.classifier.out_channels, height, width)
        for index in range(len(features)):
            one = slice(index, index + 1)
            first = self._first_convolution(tokens[one])
            for start in range(0, height, block):
                stop = min(start + block, height)
                logits[one, :, start:stop] = self._rows(features[one], tokens[one], rois[one], first, (start, stop))
        return logits

    def _first_convolution(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Returns kernels (out, heads * tokens, 3, 3) and shifts of the first convolution with its norm."""
        attention, step = self.attention, self.convs[0]
        assert isinstance(step, _RestoredStep)
        mean, variance = step.norm.running_mean, step.norm.running_var
        assert mean is not None
        assert variance is not None
        values = attention.value(attention.norm(tokens)).unflatten(2, (attention.heads, -1))[0]  # (N, heads, d / heads)
        kernels = step.conv.weight.unflatten(1, (attention.heads, -1))
        scale = step.norm.weight * (variance + step.norm.eps).rsqrt()
        folded = torch.einsum("ohckl,nhc->ohnkl", kernels * scale.view(-1, 1, 1, 1, 1), values)
        return folded.flatten(1, 2), step.norm.bias - mean * scale

    def _rows(
        self, features: Features, tokens: Tokens, rois: Rois, first: tuple[Tensor, Tensor], rows: tuple[int, int]
    ) -> Float[Tensor, "1 classes rows width"]:
        """Returns the logits of some rows, which need those of two more above and below."""
        height, (start, stop) = features.shape[2], rows
        above, below = max(0, start - 2), min(height, stop + 2)
        weights = self.attention.weigh(features, tokens, rois, (above, below))
        x = weights.flatten(1, 2).unflatten(2, (below - above, features.shape[3]))
        x = F.conv2d(x, *first, padding=1).relu_()
        # Rows at a block's edge lack neighbours: they are right only for the image's own edges.
        cut, end = int(above > 0), x.shape[2] - int(below < height)
        x = self.convs[1](x[:, :, cut:end])
        offset = start - above - cut
        return self.classifier(x[:, :, offset : offset + stop - start])


class SparseFormerSegmenter(nn.Module):
    """The segmenter. Takes any height and width; `forward` returns a `SegmentationOutput` with logits of stride 4."""

    outputs: ClassVar[Literal["classes", "embedding"]] = "classes"
    controls: ClassVar[Mapping[str, Control]] = {}
    class_heads: ClassVar[tuple[str, ...]] = ("decoder.classifier",)
    traces: ClassVar[tuple[TraceKind, ...]] = ("points", "regions", "token_maps")
    token_tables: ClassVar[tuple[str, ...]] = SparseFormer.token_tables

    def __init__(self, config: SparseFormerSegmenterConfig) -> None:
        super().__init__()
        self.config, self.num_classes = config, config.num_classes
        self.backbone = SparseFormer(config.network())
        del self.backbone.head
        self.decoder = SegmenterHead(config.feature_channels, config.cortex_width, config)
        self.init_weights()

    def init_weights(self) -> None:
        """Draws linear layers as the network's, and convolutions by Kaiming's rule."""
        if self.decoder.classifier.weight.is_meta:
            return
        for module in self.decoder.modules():
            if isinstance(module, nn.Linear):
                init_linear(module)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.decoder.classifier.weight, std=0.01)
        assert self.decoder.classifier.bias is not None
        nn.init.zeros_(self.decoder.classifier.bias)

    @property
    def backbone_name(self) -> str:
        """The classifier that the network is of."""
        return self.config.classifier

    def backbone_tensors(self) -> dict[str, str]:
        """Names the network's tensors: {here: in the classifier}."""
        return {f"backbone.{name}": name for name in self.backbone.state_dict()}

    def set_gradient_scale(self, scale: float) -> None:
        """Sets the factor on the loss for the clamp of point gradients, as the network's method of this name does."""
        self.backbone.set_gradient_scale(scale)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Returns two groups: vectors (norms, biases) and the table of regions do not decay."""
        spared = {f"backbone.{name}" for name in self.backbone.no_weight_decay()}
        return decay_groups(self, exempt=lambda name, parameter: parameter.ndim <= 1 or name in spared)

    def forward(
        self, images: Float[Tensor, "batch chans height width"], *, sizes: Int[Tensor, "batch 2"] | None = None,
        trace: Trace | None = None,
    ) -> SegmentationOutput:  # fmt: skip
        """Classifies the pixels of normalised images."""
        if sizes is not None and bool((sizes != sizes.new_tensor(images.shape[2:])).any()):
            raise ConfigError("A segmenter reads padding as a part of the image: give images of one size, unpadded.")
        tokens, rois, features = self.backbone.encode(images, trace=trace)
        if trace is not None and trace.wants("token_maps"):
            trace.record("restored", TokenMaps(given=self.decoder.attention.maps(features, tokens, rois)))
        return SegmentationOutput((SegmentationHead("main", self.decoder(features, tokens, rois), STRIDE),))
