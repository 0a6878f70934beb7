"""The backbone's feature maps, and the neck that turns them into levels of tokens."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparsevision.models.sparse_detr.config import SparseDETRConfig
from sparsevision.models.sparse_detr.encoder import TokenPyramid
from sparsevision.models.sparse_detr.geometry import token_geometry
from sparsevision.models.sparse_detr.swin import SwinTiny
from sparsevision.models.timm_backbone import TimmBackbone

# Levels that come from the backbone: strides 8, 16 and 32.
BACKBONE_LEVELS = 3


def make_backbone(config: SparseDETRConfig) -> TimmBackbone | SwinTiny:
    """Builds the backbone that a configuration names."""
    num_maps = min(BACKBONE_LEVELS, config.num_levels)
    backbone: TimmBackbone | SwinTiny
    if config.backbone == "swin_tiny":
        backbone = SwinTiny(num_maps, early_drop_path=config.frozen_stages != "early")
    else:
        backbone = TimmBackbone(config.backbone, num_maps, dict(config.backbone_options))
    if config.frozen_stages == "early":
        backbone.freeze_early_stages()
    return backbone


class LevelProjection(nn.Module):
    """One level: a convolution to the tokens' width, and a norm over groups of channels of the padded map."""

    def __init__(self, channels: int, width: int, *, halves: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, stride=2, padding=1) if halves else nn.Conv2d(channels, width, 1)
        self.norm = nn.GroupNorm(32, width)

    def init_weights(self) -> None:
        """Draws the convolution by Xavier's rule."""
        nn.init.xavier_uniform_(self.conv.weight)
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)

    def forward(self, features: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch width h2 w2"]:
        """Returns the level's map."""
        return self.norm(self.conv(features))


class LevelNeck(nn.Module):
    """Projects the backbone's maps to levels, and lays these out as tokens with positions."""

    def __init__(self, channels: list[int], config: SparseDETRConfig) -> None:
        super().__init__()
        extra = config.num_levels - len(channels)
        sources = [(count, False) for count in channels]
        sources += [(channels[-1] if index == 0 else config.width, True) for index in range(extra)]
        self.levels = nn.ModuleList(LevelProjection(count, config.width, halves=halves) for count, halves in sources)
        self.level_embed = nn.Parameter(torch.empty(config.num_levels, config.width))

    def init_weights(self) -> None:
        """Draws projections by Xavier's rule and the levels' embeddings from a normal distribution."""
        nn.init.normal_(self.level_embed)
        for level in self.levels:
            assert isinstance(level, LevelProjection)
            level.init_weights()

    def forward(
        self, features: list[Float[Tensor, "batch _ _ _"]], images: Float[Tensor, "batch 3 height width"],
        sizes: Int[Tensor, "batch 2"] | None,
    ) -> tuple[TokenPyramid, Float[Tensor, "batch tokens 4"]]:  # fmt: skip
        """Returns the levels as tokens, and their proposals."""
        maps = [level(source) for level, source in zip(self.levels, features, strict=False)]
        source = features[-1]  # the first extra level reads the backbone's last map, not its projection
        for level in list(self.levels)[len(features) :]:
            source = level(source)
            maps.append(source)
        shapes = [(level.shape[2], level.shape[3]) for level in maps]
        positions, references, padding, ratios, boxes = token_geometry(images, sizes, shapes, maps[0].shape[1])
        counts = [height * width for height, width in shapes]
        embeddings = torch.cat([each.expand(count, -1) for each, count in zip(self.level_embed, counts, strict=True)])
        pyramid = TokenPyramid(
            tokens=torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1),
            positions=positions.to(embeddings.dtype) + embeddings, references=references, padding=padding,
            ratios=ratios, shapes=shapes,
        )  # fmt: skip
        return pyramid, boxes
