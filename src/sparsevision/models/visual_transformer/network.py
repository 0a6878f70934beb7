"""The VT-ResNet: a ResNet up to its third stage, then tokens, and a head on their mean (Sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from timm.layers.drop import DropPath
from timm.models.resnet import BasicBlock, Bottleneck, make_blocks
from torch import Tensor, nn

from sparsevision.errors import ConfigError
from sparsevision.kernels.dispatch import channels_last_on_cpu
from sparsevision.models.classifier import Classifier, Images, check_images, unit_indices
from sparsevision.models.parameter_groups import ParameterGroup, decay_groups
from sparsevision.models.visual_transformer import tokenizers
from sparsevision.models.visual_transformer.config import STAGES, VisualTransformerConfig
from sparsevision.models.visual_transformer.projector import TokenProjector
from sparsevision.models.visual_transformer.token_transformer import DenseTokens, TokenTransformer
from sparsevision.types import TokenMaps, Trace, TraceKind

Features = Float[Tensor, "batch width height width_"]
Tokens = Float[Tensor, "batch tokens token_width"]
Read = Float[Tensor, "batch tokens pixels"]


class VisualTransformer(nn.Module):
    """One module: tokenizer, token transformer, projector (Fig. 2). Any but the second may be missing."""

    def __init__(self, config: VisualTransformerConfig, index: int) -> None:
        super().__init__()
        first, last = index == 0, index == config.num_modules - 1
        width = config.trunk_width if first else config.feature_width
        projects = config.projector == "attention"
        self.tokenizer = _tokenizer(config, width, first=first) if first or projects else None
        self.transformer = _relation(config)
        self.projector = None
        if projects and not last:
            self.projector = TokenProjector(
                width, config.feature_width, token_width=config.token_width, form=config.form,
                heads=config.num_heads, groups=config.groups(config.feature_width),
                drop_path_rate=config.drop_path_rate,
            )  # fmt: skip

    def forward(
        self, features: Features, tokens: Tokens | None, read: Read | None = None,
        trace: Trace | None = None, stage: str = "",
    ) -> tuple[Float[Tensor, "batch out_width height width_"], Tokens, Read | None]:  # fmt: skip
        """Returns the map, the tokens, and the pixels that they were pooled from; the last module keeps the map.

        Maps of the pixels that tokens were pooled from are returned if `trace` asks for them; `read` are the old ones.
        """
        weights = None
        if self.tokenizer is not None:
            tokens, weights = self.tokenizer(features, tokens)
        tokens, attention = self.transformer(tokens)
        if trace is not None and trace.wants("token_maps"):
            read = places(weights, read)
            if read is not None:
                record_attention(trace, stage, read, attention, features.shape[2:])
        if self.projector is not None:
            features, _ = self.projector(features, tokens)
        return features, tokens, read


def places(weights: Float[Tensor, "batch heads renewed pixels"] | None, read: Read | None) -> Read | None:
    """Returns the pixels of each token, as a mean over heads: new tokens stand behind old ones that stayed."""
    if weights is None:
        return read
    new = weights.mean(dim=1)
    return new if read is None else torch.cat([read[:, new.shape[1] :], new], dim=1)


def record_attention(trace: Trace, stage: str, read: Read, attention: Tensor | None, grid: Sequence[int]) -> None:
    """Records the pixels of each token, and those of the tokens that it attends to (Section 4.4).

    Attention is a mean over heads. Over the pixels both kinds of maps sum to one.
    """
    interaction = None if attention is None else (attention.mean(dim=1) @ read).unflatten(2, tuple(grid))
    trace.record(stage, TokenMaps(read.unflatten(2, tuple(grid)), interaction))


class VTResNet(Classifier):
    """The network. Takes any height and width; `forward` returns logits (B, K)."""

    traces: ClassVar[tuple[TraceKind, ...]] = ("token_maps", "response")
    first_conv: ClassVar[str] = "conv1"
    class_heads: ClassVar[tuple[str, ...]] = ("fc",)
    token_tables: ClassVar[tuple[str, ...]] = ("tokenizer.coef.weight", "transformer.adjacency")

    def __init__(self, config: VisualTransformerConfig) -> None:
        super().__init__(config, config.token_width)
        width, (repeats, expansion) = config.width, STAGES[config.depth]
        self.conv1 = nn.Conv2d(config.in_chans, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU(inplace=True)
        self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1)
        block = BasicBlock if expansion == 1 else Bottleneck
        stages, _ = make_blocks((block,) * 3, (width, 2 * width, 4 * width), repeats, width)
        for name, stage in stages:
            for residual in stage.children():
                # The same rate everywhere (Section 5.1's advanced recipe), not one that rises with depth.
                residual.drop_path = DropPath(config.drop_path_rate)
            self.add_module(name, stage)
        self.vt = nn.ModuleList(VisualTransformer(config, index) for index in range(config.num_modules))
        self.reset_classifier(config.num_classes)
        self.init_weights()

    def init_weights(self) -> None:
        """Draws convolutions as torchvision's ResNet does."""
        if self.conv1.weight.is_meta:
            return
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def backbone_name(self) -> str:
        """The classifier with this stem and these stages, by timm's name; torchvision's has the same tensors."""
        return f"resnet{self.config.depth}"

    def backbone_tensors(self) -> dict[str, str]:
        """Names the tensors of stem and stages: {here: in the classifier}."""
        return {name: name for name in self.state_dict() if not name.startswith(("vt.", "fc."))}

    @property
    def stages(self) -> tuple[nn.Module, ...]:
        """The ResNet's stages before the tokens."""
        return self.get_submodule("layer1"), self.get_submodule("layer2"), self.get_submodule("layer3")

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """The maps that can be had, as timm describes them: channels, stride, module; tokens are none."""
        width, expansion = self.config.width, STAGES[self.config.depth][1]
        stages = ((f"layer{stage}", width * 2 ** (stage - 1) * expansion, 2 ** (stage + 1)) for stage in (1, 2, 3))
        # The last module has no projector, and leaves the map as it was.
        projected = self.config.num_modules - 1 if self.config.projector == "attention" else 0
        modules = ((f"vt.{index}", self.config.feature_width, 16) for index in range(projected))
        return [
            {"module": module, "num_chs": channels, "reduction": stride}
            for module, channels, stride in (("act1", width, 2), *stages, *modules)
        ]

    def forward_features(self, images: Images, *, sizes: Tensor | None = None, trace: Trace | None = None) -> Tokens:
        """Returns the tokens after the last module."""
        return self._encode(images, sizes=sizes, trace=trace)

    def _encode(
        self, images: Images, *, sizes: Tensor | None = None, trace: Trace | None = None,
        maps: list[Tensor] | None = None, most: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Returns the tokens; `maps` takes those of `feature_info`, and at `most` of them the last one is returned."""
        check_images(images, self.config.in_chans)
        if sizes is not None and bool((sizes != sizes.new_tensor(images.shape[-2:])).any()):
            raise ConfigError(
                "A VT-ResNet reads padding as a part of the image: give images of one size, without padding."
            )
        maps = [] if maps is None else maps
        maps.append(self.act1(self.bn1(self.conv1(channels_last_on_cpu(images)))))
        if len(maps) == most:
            return maps[-1]
        features = self.maxpool(maps[-1])
        if self.training:
            self._check_norms(len(images), images.shape[2:], features.shape[2:])
        for stage in self.stages:
            features = self._run(stage, features)
            maps.append(features)
            if len(maps) == most:
                return features
        tokens = read = None
        for index, module in enumerate(self.vt):
            features, tokens, read = self._run(module, features, tokens, read, trace, f"module.{index + 1}")
            maps.append(features)
            if len(maps) == most:
                return features
        # Without modules, as `prune_intermediate_layers` may leave it, the map is all there is.
        return features if tokens is None else tokens

    def forward_intermediates(
        self, x: Tensor, indices: int | Sequence[int] | None = None, norm: bool = False, stop_early: bool = False,
        output_fmt: str = "NCHW", intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:  # fmt: skip
        """Returns chosen maps of `feature_info`, as timm's method of this name does; "NLC" has pixels as tokens.

        `norm` is taken for timm's sake: no norm stands behind the maps.
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise ConfigError(f"output_fmt is {output_fmt!r}; maps come out as 'NCHW' or 'NLC'.")
        chosen, maps = unit_indices(len(self.feature_info), indices), list[Tensor]()
        most = max(chosen) + 1 if stop_early and intermediates_only else None
        final = self._encode(x, maps=maps, most=most)
        found = [maps[index] for index in chosen]
        if output_fmt == "NLC":
            found = [each.flatten(2).transpose(1, 2) for each in found]
        return found if intermediates_only else (final, found)

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Removes the layers behind the last of the maps, as timm's method of this name does; returns the indices."""
        chosen = unit_indices(len(self.feature_info), indices)
        last = max(chosen)
        if prune_head:
            self.vt = self.vt[: max(last - 3, 0)]
            self.reset_classifier(0, "")
        for stage in range(last + 1, 4) if prune_head else ():
            setattr(self, f"layer{stage}", nn.Identity())
        if prune_head and last == 0:
            self.maxpool = nn.Identity()
        return chosen

    def _check_norms(self, images: int, size: Sequence[int], grid: Sequence[int]) -> None:
        """Refuses a batch of which a norm would see one value alone."""
        if images * -(-grid[0] // 4) * -(-grid[1] // 4) < 2:
            raise ConfigError(
                f"Its norms learn from more than one cell of a map, and {images} image of {size[0]}x{size[1]} has "
                "one: train on larger images, or on several at once."
            )
        config = self.config
        renews = config.recurrence == "half" and config.num_modules > 1 and config.projector == "attention"
        normed = config.num_tokens // 2 if renews else config.num_tokens
        if config.form == "budget" and images * normed < 2:
            raise ConfigError(
                f"Its norms learn from more than one token, and one image with num_tokens={config.num_tokens} has "
                "one to norm: train on several images at once."
            )

    def parameter_groups(self) -> list[ParameterGroup]:
        """Returns the groups: norms and biases do not decay. The paper's recipes have `optimiser.decay_norms`."""
        return decay_groups(self, exempt=lambda name, parameter: parameter.ndim < 2)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Sorts parameters into a stem and consecutive blocks, for learning rates that decay with depth."""
        blocks = r"^layer(\d+)" if coarse else r"^layer(\d+)\.(\d+)"
        return {"stem": r"^conv1|^bn1", "blocks": blocks, "modules": r"^vt\.(\d+)"}


def _tokenizer(config: VisualTransformerConfig, width: int, *, first: bool) -> nn.Module:
    """Builds a module's tokenizer (Tables 3 and 4)."""
    form, groups, token_width = config.form, config.groups(width), config.token_width
    if config.tokenizer != "pool" and not first and config.recurrence != "none":
        return tokenizers.RecurrentTokenizer(
            width, token_width, form, heads=config.num_heads, groups=groups, renewal=config.recurrence
        )
    shared: dict[str, Any] = {"num_tokens": config.num_tokens, "form": form}
    if config.tokenizer == "pool":
        return tokenizers.PoolingTokenizer(width, token_width, **shared)
    if config.tokenizer == "cluster":
        return tokenizers.ClusteringTokenizer(
            width, token_width, groups=groups, iterations=config.kmeans_iterations, **shared
        )
    return tokenizers.FilterTokenizer(width, token_width, groups=groups, **shared)


def _relation(config: VisualTransformerConfig) -> nn.Module:
    """Builds the relation between tokens (Table 5)."""
    width, form, rate = config.token_width, config.form, config.drop_path_rate
    if config.relation == "attention":
        return TokenTransformer(width, form, heads=config.num_heads, groups=config.token_groups, drop_path_rate=rate)
    return DenseTokens(
        width, form, graph_of=config.num_tokens if config.relation == "graph" else None, drop_path_rate=rate
    )
