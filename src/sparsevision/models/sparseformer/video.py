"""SparseFormer over time: tokens look at tubes of a clip (Section 3.2, "Extension to video classification").

The image network, whose points and regions gain a time: a token reads frames of early features trilinearly. The tokens
of an image model are repeated `inflation` times, and the tubes of the copies tile the clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from sparsevision.errors import ConfigError
from sparsevision.models.config_checks import Count
from sparsevision.models.sparseformer.clip_features import FrameMaps
from sparsevision.models.sparseformer.config import SparseFormerConfig
from sparsevision.models.sparseformer.network import SparseFormer, TokenTable
from sparsevision.models.sparseformer.rois import with_times
from sparsevision.models.sparseformer.unit import PointOffsets, SampledMap


@dataclass(frozen=True, kw_only=True)
class VideoSparseFormerConfig(SparseFormerConfig):
    """The hyper-parameters of Tables 5 and 6 beside those of the image network.

    Attributes:
        inflation: copies of the tokens, each with its own part of the clip (n_t).
        temporal_offset_init: "zero", as released: all points of a token lie at the middle of its tube; or "spread":
            from its beginning to its end. A model that is trained wants the latter: at equal offsets, the gradients
            with respect to them are some 10,000 times those of the others.
        computed_frames: "all", or "read": those alone that points lie near, where nothing is to be learned.
        classifier: the named model of images whose weights the network starts from.
    """

    axes: ClassVar[int] = 3

    num_classes: int = 400
    inflation: Count = 8
    temporal_offset_init: Literal["zero", "spread"] = "zero"
    computed_frames: Literal["all", "read"] = "all"
    classifier: str = "sparseformer_tiny"

    def _check(self) -> None:
        super()._check()
        if self.image_feature != "early_conv":
            raise ConfigError(f"image_feature is {self.image_feature!r}; a video model has 'early_conv' alone.")
        if not self.focusing_repeats:
            raise ConfigError("focusing_repeats is 0; a video model looks at least once.")

    @property
    def sampling_tokens(self) -> int:
        """Tokens that sample, in all."""
        return self.inflation * self.num_tokens

    @property
    def temporal_offsets(self) -> Tensor:
        """The times (P,) that the offsets of a token start with."""
        spread = 0.5 if self.temporal_offset_init == "spread" else 0.0
        return torch.linspace(-spread, spread, self.num_points)


class TubeTable(TokenTable):
    """Initial tokens of clips: embeddings (n_t N, d) and tubes (n_t N, 6)."""

    config: VideoSparseFormerConfig

    def init_weights(self) -> None:
        """Draws the tokens of one image, and repeats them over time."""
        super().init_weights()
        with torch.no_grad():
            if len(self.embedding) > 1:
                self.embedding.copy_(self.embedding[: self.config.num_tokens].repeat(self.config.inflation, 1))

    def first_rois(self) -> Tensor:
        """Returns the tubes that training begins with."""
        return with_times(super().first_rois(), self.config.inflation)


class VideoSparseFormer(SparseFormer):
    """The network on clips (B, 3, T, H, W) of any number of frames, height and width. `forward` returns logits (B, K).

    A fresh one is a fresh image network, inflated: the released code draws tubes at random, and trains no such model.
    """

    config: VideoSparseFormerConfig
    conversion_fields: ClassVar[tuple[str, ...]] = ("inflation", "temporal_offset_init", "computed_frames")
    _table: ClassVar[type[TokenTable]] = TubeTable

    def init_weights(self) -> None:
        """Initialises as the image network, with offsets and movements in time that are not learned yet."""
        super().init_weights()
        if self.head.norm.weight.is_meta:
            return
        for module in self.modules():
            if isinstance(module, PointOffsets):
                with torch.no_grad():
                    module.fc.weight.unflatten(0, (-1, 3))[:, 2] = 0
                    module.bias.view(-1, 3)[:, 2] = self.config.temporal_offsets

    def _view(self, clips: Tensor, sizes: Tensor | None) -> SampledMap:
        channels = self.config.in_chans
        if clips.ndim != 5 or clips.shape[1] != channels:
            raise ConfigError(
                f"The model takes clips of shape (batch, {channels}, frames, height, width); it was given "
                f"{tuple(clips.shape)}."
            )
        if sizes is not None:
            raise ConfigError("A video model takes clips of one size, unpadded.")
        return SampledMap(FrameMaps(clips, self.early_conv, lazy=self.config.computed_frames == "read"), None)

    @property
    def backbone_name(self) -> str:
        """The classifier of images that the network starts from."""
        return self.config.classifier

    def backbone_tensors(self) -> dict[str, str]:
        """Names the tensors that it starts from: {here: in the classifier}."""
        return {name: name for name in self.state_dict() if not name.startswith(self.class_heads)}

    @staticmethod
    def converts(state: Mapping[str, Tensor]) -> bool:
        """Returns whether tensors (our names) are those of an image network, which `convert` inflates."""
        regions = state.get("tokens.roi")
        return regions is not None and regions.ndim == 2 and regions.shape[1] == 4

    @staticmethod
    def convert(state: Mapping[str, Tensor], config: VideoSparseFormerConfig) -> dict[str, Tensor]:
        """Returns the tensors of an image network as those of a video network of a configuration."""
        return inflated(state, config)


def inflated(state: Mapping[str, Tensor], config: VideoSparseFormerConfig) -> dict[str, Tensor]:
    """Makes the tensors of a video network of those of an image network (our names).

    Tokens are repeated, their tubes tile the clip; nothing moves in time at first.
    """
    found = dict(state)
    for name, tensor in state.items():
        if name == "tokens.roi":
            # In full precision, of which half does not have the thirds.
            found[name] = with_times(tensor.float().cpu(), config.inflation).to(tensor.device)
        elif name == "tokens.embedding" and config.embeddings == "individual":
            found[name] = tensor.repeat(config.inflation, 1)
        elif name.endswith("offset.bias"):
            times = config.temporal_offsets.to(tensor.device)
            found[name] = torch.cat([tensor.float().view(-1, 2), times.unsqueeze(1)], dim=1).flatten()
        elif name.endswith("offset.fc.weight"):
            found[name] = _with_still_time(tensor.unflatten(0, (-1, 2))).flatten(0, 1)
        elif name.endswith("adjust.fc.weight"):
            found[name] = _with_still_time(tensor.unflatten(0, (2, 2))).flatten(0, 1)
    return found


def _with_still_time(rows: Tensor) -> Tensor:
    """Puts a row of zeros behind each pair of rows (*, 2, width)."""
    return torch.cat([rows, torch.zeros_like(rows[:, :1])], dim=1)
