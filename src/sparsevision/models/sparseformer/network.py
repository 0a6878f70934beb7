"""The SparseFormer network: early features, focusing unit, bridge, cortex, head (Section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparsevision.errors import ConfigError
from sparsevision.models.classifier import Classifier, Images, check_images, unit_indices
from sparsevision.models.parameter_groups import ParameterGroup, decay_groups
from sparsevision.models.sparseformer.config import NUMERICS, SparseFormerConfig, SparseFormerNumerics
from sparsevision.models.sparseformer.image_features import EarlyConv, PatchEmbedding
from sparsevision.models.sparseformer.rois import first_rois
from sparsevision.models.sparseformer.unit import SampledMap, SparseFormerUnit
from sparsevision.types import Regions, Trace, TraceKind

Tokens = Float[Tensor, "batch tokens cortex_width"]


class TokenTable(nn.Module):
    """Initial tokens: embeddings (N or 1, d) and regions (N, 4), and the class token if there is one."""

    def __init__(self, config: SparseFormerConfig) -> None:
        super().__init__()
        self.config, self.num_tokens = config, config.sampling_tokens
        rows = 1 if config.embeddings == "shared" else self.num_tokens
        self.embedding = nn.Parameter(torch.empty(rows, config.token_width))
        shape = (self.num_tokens, 2 * config.axes)
        self.roi = nn.Parameter(torch.empty(shape), requires_grad=not config.looks_are_fixed)
        self.cls = nn.Parameter(torch.empty(1, config.cortex_width)) if config.readout == "class_token" else None

    def init_weights(self) -> None:
        """Draws the embeddings, and lays the regions on a grid (A.3, Table 9)."""
        nn.init.trunc_normal_(self.embedding, std=1.0, a=-2.0, b=2.0)
        with torch.no_grad():
            self.roi.copy_(self.first_rois())
        if self.cls is not None:
            nn.init.normal_(self.cls)

    def first_rois(self) -> Float[Tensor, "tokens corners"]:
        """Returns the regions that training begins with."""
        return first_rois(self.config.num_tokens, self.config.roi_init)

    def forward(self, batch: int) -> tuple[Float[Tensor, "batch tokens width"], Float[Tensor, "batch tokens corners"]]:
        """Returns the tokens and their regions, once for every image of the batch."""
        tokens, rois = self.embedding.expand(batch, self.num_tokens, -1), self.roi.expand(batch, -1, -1)
        # Views of parameters ask for gradients even where there are none, and tools that count operations stumble.
        return (tokens, rois) if torch.is_grad_enabled() else (tokens.detach(), rois.detach())


class TokenBridge(nn.Module):
    """Widens the tokens between the focusing unit and the cortex."""

    def __init__(self, config: SparseFormerConfig, eps: float) -> None:
        super().__init__()
        width = config.cortex_width
        self.fc = nn.Linear(config.focusing_width, width)
        self.norm = nn.LayerNorm(width, eps=eps) if config.bridge == "norm" else nn.Identity()

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens out_width"]:
        """Returns the tokens in the width of the cortex."""
        return self.norm(self.fc(tokens))


class NormedHead(nn.Module):
    """The norm behind the pooling, and the classifier."""

    def __init__(self, config: SparseFormerConfig) -> None:
        super().__init__()
        width, bias = config.cortex_width, config.head_bias == "learned"
        self.norm = nn.LayerNorm(width, eps=NUMERICS[config.numerics].norm_eps)
        self.fc: nn.Module = nn.Linear(width, config.num_classes, bias=bias) if config.num_classes else nn.Identity()


class SparseFormer(Classifier):
    """The network: early features once, the focusing unit L_f times, the cortex, the head.

    Takes any height and width. `forward` returns logits (B, K).
    """

    traces: ClassVar[tuple[TraceKind, ...]] = ("points", "regions", "response")
    first_conv: ClassVar[str] = "early_conv"
    token_tables: ClassVar[tuple[str, ...]] = ("tokens.roi", "tokens.embedding")
    poolings: ClassVar[tuple[str, ...]] = ("avg", "token", "")
    _table: ClassVar[type[TokenTable]] = TokenTable

    def __init__(self, config: SparseFormerConfig) -> None:
        super().__init__(config, config.cortex_width)
        numerics = NUMERICS[config.numerics]
        self.early_conv = _image_feature(config, numerics)
        self.tokens = self._table(config)
        repeats, order = config.focusing_repeats, config.focusing_order
        rates = torch.linspace(0, config.drop_path_rate, repeats + config.cortex_depth, device="cpu").tolist()
        if repeats:
            self.focusing = SparseFormerUnit(config, config.focusing_width, order=order, drop_rates=rates[:repeats])
        self.bridge = TokenBridge(config, numerics.norm_eps) if repeats else nn.Identity()
        self.cortex = nn.ModuleList(
            SparseFormerUnit(config, config.cortex_width, order=order, drop_rates=[rate])
            for order, rate in zip(config.orders, rates[repeats:], strict=True)
        )
        # The class token takes no part in sampling, so it enters after the last unit that samples.
        self.class_token_at = 1 + max((i for i, order in enumerate(config.orders) if "sample" in order), default=-1)
        self.head = NormedHead(config)
        self.pool = "token" if config.readout == "class_token" else "avg"
        self.init_weights()

    def init_weights(self) -> None:
        """Initialises as the released codes do (A.3, and where the two differ, by `numerics`)."""
        if self.head.norm.weight.is_meta:
            return  # there is nothing to draw, and drawing from a normal distribution there imports for seconds
        for module in self.modules():
            if isinstance(module, nn.Linear):
                init_linear(module)
        for module in self.modules():
            part: Any = module
            if part is not self and hasattr(part, "init_weights"):
                part.init_weights()

    @property
    def outputs(self) -> Literal["classes", "embedding"]:
        """Whether the outputs are logits of classes, or an embedding, as of the models that were trained with CLIP."""
        return self.config.outputs

    @property
    def sampling_macs(self) -> int:
        """Multiply-adds of the sampling of one image or clip, which no counter knows: four or eight a value read."""
        config = self.config
        samplings = config.focusing_repeats * ("sample" in config.focusing_order)
        samplings += sum("sample" in order for order in config.orders)
        return config.sampling_tokens * config.num_points * config.sampled_channels * 2**config.axes * samplings

    def forward_features(self, images: Images, *, sizes: Tensor | None = None, trace: Trace | None = None) -> Tokens:
        """Returns the tokens after the last cortex unit, the class token first if there is one."""
        return self.encode(images, sizes=sizes, trace=trace)[0]

    def encode(
        self, images: Images, *, sizes: Tensor | None = None, trace: Trace | None = None,
        after: list[Tensor] | None = None,
    ) -> tuple[Tokens, Float[Tensor, "batch sampling corners"], Any]:  # fmt: skip
        """Returns the tokens after the last cortex unit, the regions that they ended with, and the feature map.

        The class token stands first if there is one; it has no region. `after` takes the tokens after each cortex unit.
        """
        view = self._view(images, sizes)._replace(trace=trace)
        tokens, rois = self.tokens(images.shape[0])
        if trace is not None:
            trace.record("initial", Regions(rois))
        for repeat in range(self.config.focusing_repeats):
            seen = view._replace(repeat=repeat, stage=f"focusing.{repeat + 1}")
            tokens, rois = self._run(self.focusing, tokens, rois, seen)
        tokens = self.bridge(tokens)
        for index, unit in enumerate(self.cortex):
            if index == self.class_token_at and self.tokens.cls is not None:
                tokens = torch.cat([self.tokens.cls.expand(tokens.shape[0], 1, -1), tokens], dim=1)
            tokens, rois = self._run(unit, tokens, rois, view._replace(stage=f"cortex.{index + 1}"))
            if after is not None:
                after.append(tokens)
        return tokens, rois, view.features

    def _view(self, images: Images, sizes: Tensor | None) -> SampledMap:
        check_images(images, self.config.in_chans)
        return SampledMap(self.early_conv(images), _valid_share(images, sizes))

    def _normed(self, tokens: Tensor) -> Tensor:
        return self.head.norm(tokens)

    def set_gradient_scale(self, scale: float) -> None:
        """Sets the factor on the loss for the clamp of point gradients (mixed precision with a gradient scaler)."""
        for unit in self.modules():
            if isinstance(unit, SparseFormerUnit):
                unit.gradient_scale = scale

    def parameter_groups(self) -> list[ParameterGroup]:
        """Returns the groups of the released recipe: vectors (norms, biases) and the RoI table do not decay."""
        return decay_groups(self, exempt=lambda name, parameter: parameter.ndim <= 1 or name in self.no_weight_decay())

    # timm's verbs, which other tools call

    def no_weight_decay(self) -> set[str]:
        """Names the parameters with two axes that do not decay."""
        return {"tokens.roi"}

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Gives the head fresh outputs (0: none, the features come out), and optionally another pooling."""
        super().reset_classifier(num_classes, global_pool)
        if isinstance(self.head.fc, nn.Linear):
            init_linear(self.head.fc)

    def forward_intermediates(
        self, x: Tensor, indices: int | Sequence[int] | None = None, norm: bool = False, stop_early: bool = False,
        output_fmt: str = "NLC", intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:  # fmt: skip
        """Returns the tokens after chosen cortex units, as timm's method of this name does with blocks.

        `stop_early` is taken for timm's sake: the last units are run all the same.
        """
        if output_fmt != "NLC":
            raise ConfigError(f"output_fmt is {output_fmt!r}; tokens that lie on no grid come out as 'NLC' only.")
        chosen, after = unit_indices(len(self.cortex), indices), list[Tensor]()
        final = self.encode(x, after=after)[0]
        tokens = [self.head.norm(after[index]) if norm else after[index] for index in chosen]
        return tokens if intermediates_only else (final, tokens)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Sorts parameters into a stem and consecutive blocks, for learning rates that decay with depth."""
        first, last = (-1,), (99999,)
        blocks = [(r"^focusing", first), (r"^bridge", first), (r"^cortex\.(\d+)", None), (r"^head\.norm", last)]
        return {"stem": r"^early_conv|^tokens", "blocks": r"^focusing|^bridge|^cortex" if coarse else blocks}


def init_linear(linear: nn.Linear) -> None:
    """Draws a linear layer as released: truncated at an absolute ±2, which at this deviation cuts nothing."""
    nn.init.trunc_normal_(linear.weight, std=0.02, a=-2.0, b=2.0)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)


def _image_feature(config: SparseFormerConfig, numerics: SparseFormerNumerics) -> nn.Module:
    """Builds the feature map's part (Table 3d); "RGB" is the normalised image itself."""
    eps, unbiased = numerics.channel_norm_eps, numerics.channel_norm_unbiased
    if config.image_feature == "rgb":
        return nn.Identity()
    kind = EarlyConv if config.image_feature == "early_conv" else PatchEmbedding
    return kind(config.in_chans, config.feature_channels, eps=eps, unbiased=unbiased)


def _valid_share(images: Tensor, sizes: Tensor | None) -> Tensor | None:
    """Turns valid sizes (height, width) into factors (x, y) on fractions of the valid image."""
    if sizes is None:
        return None
    padded = sizes.new_tensor(images.shape[-2:])
    return (sizes / padded).flip(-1).float().view(-1, 1, 1, 2)
