"""Swin-T as a detector's backbone: any image size, and maps that are normalised stage by stage (arXiv 2103.14030)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from timm.layers.patch_embed import PatchEmbed
from timm.models.swin_transformer import PatchMerging, SwinTransformerBlock
from torch import Tensor, nn

DEPTHS, HEADS, WIDTH, WINDOW = (2, 2, 6, 2), (3, 6, 12, 24), 96, 7
DROP_PATH_RATE = 0.2


class PaddedSwinBlock(SwinTransformerBlock):
    """timm's block, padding the map to whole windows before it is shifted; timm's own pads after."""

    def _attn(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        padded = F.pad(x, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        attended: Tensor = super()._attn(padded)
        return attended[:, :height, :width]


class SwinStage(nn.Module):
    """Blocks of one resolution, after the four neighbours of a pixel have been merged into one (but in stage 0)."""

    def __init__(self, index: int, drop_paths: list[float]) -> None:
        super().__init__()
        width = WIDTH * 2**index
        self.downsample = PatchMerging(width // 2, width) if index else nn.Identity()
        self.blocks = nn.Sequential(
            *(
                PaddedSwinBlock(
                    width, (8 * WINDOW, 8 * WINDOW), HEADS[index], window_size=WINDOW, drop_path=rate,
                    shift_size=0 if block % 2 == 0 else WINDOW // 2, always_partition=True, dynamic_mask=True,
                )
                for block, rate in enumerate(drop_paths)
            )
        )  # fmt: skip

    def forward(self, x: Float[Tensor, "batch h w channels"]) -> Float[Tensor, "batch h2 w2 channels2"]:
        """Returns the stage's map."""
        return self.blocks(self.downsample(x))


class SwinTiny(nn.Module):
    """Swin-T's last maps; the names of its tensors are timm's, plus a norm for every map."""

    def __init__(self, num_maps: int, *, early_drop_path: bool) -> None:
        super().__init__()
        self.name = "swin_tiny_patch4_window7_224"
        rates = torch.linspace(0, DROP_PATH_RATE, sum(DEPTHS), device="cpu").split(DEPTHS)
        drop_paths = [some.tolist() for some in rates]
        if not early_drop_path:
            drop_paths[0] = [0.0] * DEPTHS[0]
        self.patch_embed = PatchEmbed(
            img_size=None, patch_size=4, embed_dim=WIDTH, norm_layer=nn.LayerNorm, output_fmt="NHWC",
            dynamic_img_pad=True, strict_img_size=False,
        )  # fmt: skip
        self.layers = nn.ModuleList(SwinStage(index, some) for index, some in enumerate(drop_paths))
        self.first = len(DEPTHS) - num_maps
        self.channels = [WIDTH * 2**index for index in range(self.first, len(DEPTHS))]
        self.norms = nn.ModuleList(nn.LayerNorm(count) for count in self.channels)

    def freeze_early_stages(self) -> None:
        """Stops training the patch embedding, the first stage and the merging behind it."""
        second = self.layers[1]
        assert isinstance(second, SwinStage)
        for module in (self.patch_embed, self.layers[0], second.downsample):
            module.requires_grad_(False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch _ _ _"]]:
        """Returns the maps, finest first."""
        x, maps = self.patch_embed(images), []
        for index, stage in enumerate(self.layers):
            x = stage(x)
            if index >= self.first:
                maps.append(self.norms[index - self.first](x).permute(0, 3, 1, 2))
        return maps
