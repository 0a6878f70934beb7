"""VT-FPN: the feature pyramid network of a segmenter replaced by visual tokens (Section 4.3), and the network itself.

Both read the maps of strides 4, 8, 16 and 32 of a backbone and hand maps of one width to the same head, that of
panoptic feature pyramid networks (arXiv 1901.02446) as Detectron2 has it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from timm.layers.norm_act import freeze_batch_norm_2d
from timm.models.resnet import BasicBlock, Bottleneck, make_blocks
from torch import Tensor, nn

from sparsevision.errors import ConfigError
from sparsevision.kernels.dispatch import channels_last_on_cpu
from sparsevision.models.parameter_groups import ParameterGroup, decay_groups, with_backbone_rate
from sparsevision.models.timm_backbone import TimmBackbone, backbone_tensors
from sparsevision.models.visual_transformer.fpn_config import RESNETS, FPNConfig
from sparsevision.models.visual_transformer.projector import TokenProjector
from sparsevision.models.visual_transformer.token_maps import MapNorm
from sparsevision.models.visual_transformer.token_transformer import TokenTransformer
from sparsevision.models.visual_transformer.tokenizers import FilterTokenizer
from sparsevision.outputs import SegmentationHead, SegmentationOutput
from sparsevision.packing.convolution import packed_with_norm
from sparsevision.packing.folding import fold_fixed_norms
from sparsevision.packing.token_projector import PackedProjector
from sparsevision.types import Control, TokenMaps, Trace, TraceKind

Maps = list[Float[Tensor, "batch _ _ _"]]
Share = tuple[float, float]
LEVELS = 4
STRIDE = 32  # of the coarsest map


class ResNetMaps(nn.Module):
    """A ResNet's maps of strides 4 to 32, with torchvision's names; its norms are fixed affine maps."""

    def __init__(self, name: str, width: int) -> None:
        super().__init__()
        repeats, expansion = RESNETS[name]
        self.name = name
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        block = BasicBlock if expansion == 1 else Bottleneck
        widths = tuple(width * 2**stage for stage in range(LEVELS))
        stages, _ = make_blocks((block,) * LEVELS, widths, repeats, width)
        for stage_name, stage in stages:
            self.add_module(stage_name, stage)
        self.channels = [each * expansion for each in widths]
        if not self.conv1.weight.is_meta:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        freeze_batch_norm_2d(self)
        fold_fixed_norms(self)

    def freeze_early_stages(self) -> None:
        """Stops training the stem and the first stage, up to stride 4."""
        for part in (self.conv1, self.bn1, self.get_submodule("layer1")):
            part.requires_grad_(False)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Maps:
        """Returns the maps, finest first."""
        x = self.maxpool(self.act1(self.bn1(self.conv1(channels_last_on_cpu(images)))))
        found = []
        for stage in range(1, LEVELS + 1):
            x = self.get_submodule(f"layer{stage}")(x)
            found.append(x)
        return found


class PyramidNeck(nn.Module):
    """The feature pyramid network: each map is joined with the coarser ones, enlarged, and convolved (FPN)."""

    def __init__(self, channels: list[int], config: FPNConfig) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, config.width, 1) for count in channels)
        self.output = nn.ModuleList(nn.Conv2d(config.width, config.width, 3, padding=1) for _ in channels)

    def init_weights(self) -> None:
        """Draws convolutions as Detectron2 does."""
        for conv in (*self.lateral, *self.output):
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            nn.init.kaiming_uniform_(conv.weight, a=1)
            nn.init.zeros_(conv.bias)

    def forward(self, maps: Maps, trace: Trace | None = None, valid: Share = (1.0, 1.0)) -> Maps:
        """Returns maps of one width."""
        joined = [lateral(each) for lateral, each in zip(self.lateral, maps, strict=True)]
        for level in range(len(joined) - 1, 0, -1):
            finer = joined[level - 1]
            joined[level - 1] = finer + F.interpolate(joined[level], size=finer.shape[2:], mode="nearest")
        return [conv(each) for conv, each in zip(self.output, joined, strict=True)]


class TokenNeck(nn.Module):
    """The visual transformer in its place: tokens of all maps attend to each other, and each map gets its own back.

    `config.see` chooses whether the pixels of a map attend to its own tokens, as published, or to all.
    """

    def __init__(self, channels: list[int], config: FPNConfig) -> None:
        super().__init__()
        width, groups, levels = config.width, config.groups, range(len(channels))
        self.see, self.num_tokens = config.see, config.num_tokens
        self.lateral = nn.ModuleList(nn.Conv2d(count, width, 1, bias=False) for count in channels)
        self.lateral_norm = nn.ModuleList(MapNorm(width) for _ in levels)
        self.tokenizer = nn.ModuleList(
            FilterTokenizer(width, config.token_width, num_tokens=config.num_tokens, form="budget", value=False)
            for _ in levels
        )
        self.transformer = TokenTransformer(
            config.token_width, "budget", heads=config.num_heads, groups=config.token_groups
        )
        self.projector = nn.ModuleList(
            TokenProjector(
                width, width, token_width=config.token_width, form="budget", heads=config.num_heads, groups=groups
            )
            for _ in levels
        )

    def init_weights(self) -> None:
        """Draws all maps as the classifier's are drawn."""
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def packed(self) -> TokenNeck:
        """Packs the lateral convolutions with their norms; their maps are the neck's own, and become its results."""
        for level, (conv, norm) in enumerate(zip(self.lateral, self.lateral_norm, strict=True)):
            self.lateral[level], self.lateral_norm[level] = packed_with_norm(conv, norm), nn.Identity()
            projector = cast(TokenProjector, self.projector[level]).packed()
            if isinstance(projector, PackedProjector):
                projector.in_place = True
            self.projector[level] = projector
        return self

    def forward(self, maps: Maps, trace: Trace | None = None, valid: Share = (1.0, 1.0)) -> Maps:
        """Returns maps of one width; a trace gets the pixels that tokens were gathered from and given back to.

        `valid` are the shares (height, width) of the maps that the image covers, the rest being padding.
        """
        maps = [norm(lateral(each)) for lateral, norm, each in zip(self.lateral, self.lateral_norm, maps, strict=True)]
        gathered = [tokenizer(each) for tokenizer, each in zip(self.tokenizer, maps, strict=True)]
        tokens, _ = self.transformer(torch.cat([tokens for tokens, _ in gathered], dim=1))
        own = tokens.split(self.num_tokens, dim=1)
        found = []
        traced = trace is not None and trace.wants("token_maps")
        for level, (projector, each) in enumerate(zip(self.projector, maps, strict=True)):
            own_or_all = own[level] if self.see == "own" else tokens
            given, attention = projector(each, own_or_all, need_weights=traced)
            found.append(given)
            if trace is not None and traced:
                grid = tuple(each.shape[2:])
                read, given = (
                    valid_part(maps.mean(dim=1).unflatten(2, grid), valid) for maps in (gathered[level][1], attention)
                )
                read = read / read.sum((2, 3), keepdim=True).clamp(min=1e-12)
                trace.record(f"level.{level + 1}", TokenMaps(read=read, given=given if self.see == "own" else None))
        return found


def valid_part(maps: Float[Tensor, "batch tokens _ _"], valid: Share) -> Float[Tensor, "batch tokens _ _"]:
    """Returns maps over the image alone, a cell being the nearest one of those that reach into padding."""
    for axis, share in zip((2, 3), valid, strict=True):
        if share == 1:
            continue
        cells = maps.shape[axis] * share
        centres = torch.arange(math.ceil(cells), device=maps.device) + 0.5
        maps = maps.index_select(axis, (centres * (cells / len(centres))).long())
    return maps


class SemanticHead(nn.Module):
    """Brings all maps to stride 4 by convolutions and enlargements by 2, adds them up, and classifies each pixel."""

    def __init__(self, config: FPNConfig) -> None:
        super().__init__()
        self.scale = nn.ModuleList(
            nn.ModuleList(
                _PyramidStep(config.width if step == 0 else config.head_width, config) for step in range(max(1, level))
            )
            for level in range(LEVELS)
        )
        self.predictor = nn.Conv2d(config.head_width, config.num_classes, 1)

    def forward(self, maps: Maps) -> Float[Tensor, "batch classes height width"]:
        """Returns the logits at stride 4."""
        finest, *coarser = (self._steps(level, each) for level, each in enumerate(maps))
        # The last enlargement is linear: one of the sum is all of theirs.
        return self.predictor(finest + _doubled(sum(coarser[1:], coarser[0])))

    def _steps(self, level: int, x: Tensor) -> Tensor:
        first, *others = cast(nn.ModuleList, self.scale[level])
        x = first(x)
        for step in others:
            x = step(_doubled(x))
        return x


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class _PyramidStep(nn.Module):
    def __init__(self, width: int, config: FPNConfig) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, config.head_width, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(config.head_groups, config.head_width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).relu()


class FPNSegmenter(nn.Module):
    """VT-FPN or, with `neck="pyramid"`, the FPN that it is compared with. Takes any height and width.

    `forward` returns a `SegmentationOutput` whose logits have stride 4. Sides that are not multiples of 32 are
    padded with zeros at the right and the bottom, and the logits of the padding are cut off.
    """

    outputs: ClassVar[Literal["classes", "embedding"]] = "classes"
    controls: ClassVar[Mapping[str, Control]] = {}
    class_heads: ClassVar[tuple[str, ...]] = ("head.predictor",)

    def __init__(self, config: FPNConfig) -> None:
        super().__init__()
        self.config, self.num_classes = config, config.num_classes
        self.backbone: ResNetMaps | TimmBackbone
        if config.backbone in RESNETS:
            self.backbone = ResNetMaps(config.backbone, config.backbone_width)
        else:
            self.backbone = TimmBackbone(config.backbone, LEVELS, dict(config.backbone_options))
        if config.frozen_stages == "early":
            self.backbone.freeze_early_stages()
        neck = TokenNeck if config.neck == "tokens" else PyramidNeck
        self.neck = neck(self.backbone.channels, config)
        self.head = SemanticHead(config)
        self.init_weights()

    def init_weights(self) -> None:
        """Initialises everything behind the backbone."""
        if self.head.predictor.weight.is_meta:
            return
        self.neck.init_weights()
        for module in self.head.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.head.predictor.weight, std=0.01)
        assert self.head.predictor.bias is not None
        nn.init.zeros_(self.head.predictor.bias)

    @property
    def traces(self) -> tuple[TraceKind, ...]:
        """Kinds of observations in a trace of a pass."""
        return ("token_maps",) if self.config.neck == "tokens" else ()

    @property
    def backbone_name(self) -> str:
        """The classifier that the backbone is of, by timm's name; torchvision's has the same tensors."""
        return self.backbone.name

    def backbone_tensors(self) -> dict[str, str]:
        """Names the backbone's tensors: {here: in the classifier}."""
        return backbone_tensors(self.backbone)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Returns the backbone's groups and the others': norms and biases do not decay."""
        groups = decay_groups(self, exempt=lambda name, parameter: parameter.ndim < 2)
        return with_backbone_rate(groups, self.config.backbone_lr_scale)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], *, sizes: Int[Tensor, "batch 2"] | None = None,
        trace: Trace | None = None,
    ) -> SegmentationOutput:  # fmt: skip
        """Classifies the pixels of normalised images."""
        height, width = images.shape[2:]
        if sizes is not None and bool((sizes != sizes.new_tensor((height, width))).any()):
            raise ConfigError("A VT-FPN reads padding as a part of the image: give images of one size, unpadded.")
        if self.training and self.config.neck == "tokens" and len(images) == 1 and max(height, width) <= STRIDE:
            raise ConfigError("Batch norms cannot learn from one value: train with a larger batch, or larger crops.")
        padded = F.pad(images, (0, -width % STRIDE, 0, -height % STRIDE))
        # A whole one is said as such: an exported graph knows no quotient of sizes that are the same.
        sides = zip((height, width), padded.shape[2:], strict=True)
        valid = cast(Share, tuple(1.0 if side == whole else side / whole for side, whole in sides))
        logits = self.head(self.neck(self.backbone(padded), trace, valid))
        return SegmentationOutput((SegmentationHead("main", logits[..., : -(-height // 4), : -(-width // 4)], 4),))
