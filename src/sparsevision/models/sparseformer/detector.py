"""SparseFormer's detector (A.1): the last regions of the first tokens, adjusted once more, are the boxes.

No code of it was ever released. The paper leaves open, and chosen here are: which tokens detect (the first ones), a
norm in front of the heads, the number of classes (DETR's), and that earlier units have no loss of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from sparsevision.errors import ConfigError
from sparsevision.models.config_checks import Count
from sparsevision.models.parameter_groups import ParameterGroup, decay_groups
from sparsevision.models.sparseformer.config import NUMERICS, SparseFormerConfig
from sparsevision.models.sparseformer.network import SparseFormer, init_linear
from sparsevision.models.sparseformer.rois import RoIInit, adjust_rois, centred
from sparsevision.outputs import DetectionHead, DetectionOutput
from sparsevision.types import Control, Regions, Response, Trace, TraceKind

Tokens = Float[Tensor, "batch tokens cortex_width"]
Rois = Float[Tensor, "batch tokens 4"]


@dataclass(frozen=True, kw_only=True)
class SparseFormerDetectorConfig(SparseFormerConfig):
    """The hyper-parameters of A.1 beside those of the network whose tokens detect.

    Attributes:
        num_classes: classes of objects; the class head has one output more, the background's.
        num_queries: tokens that detect, the first ones; the others sample and attend only.
        auxiliary_heads: "none", or "cortex": the heads are also applied after each cortex unit, for training alone.
        classifier: the named model whose weights the network starts from; its tokens and regions start anew.
    """

    num_tokens: Count = 400
    roi_init: RoIInit = "anywhere"
    focusing_width: int = 320
    cortex_width: int = 640
    num_classes: int = 91
    num_queries: Count = 100
    auxiliary_heads: Literal["none", "cortex"] = "none"
    classifier: str = "sparseformer_small"

    def _check(self) -> None:
        super()._check()
        if self.num_queries > self.num_tokens:
            raise ConfigError(
                f"num_queries is {self.num_queries}, more than the {self.num_tokens} tokens: lower it, or raise "
                "num_tokens."
            )
        later = {operation for order in self.orders[1:] for operation in order}
        if self.auxiliary_heads == "cortex" and "adjust" in later:
            raise ConfigError("auxiliary_heads='cortex' is for regions that only the first cortex unit still adjusts.")
        if self.readout != "mean":
            raise ConfigError("The detector's tokens have regions, which a class token lacks: use readout='mean'.")

    @property
    def background(self) -> int:
        """Outputs of the class head beside those of the classes."""
        return 1


class DetectorHead(nn.Module):
    """Classes of a token by a linear layer; its box by two, as an adjustment of its last region (Eqs. 7 and 8)."""

    def __init__(self, config: SparseFormerDetectorConfig) -> None:
        super().__init__()
        width = config.cortex_width
        self.norm = nn.LayerNorm(width, eps=NUMERICS[config.numerics].norm_eps)
        self.classes = nn.Linear(width, config.num_classes + config.background)
        self.boxes = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, 4)])

    def init_weights(self) -> None:
        """Draws the layers as the network's; boxes start at the regions themselves."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                init_linear(module)
        last = self.boxes[1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)

    def forward(self, tokens: Tokens, rois: Rois) -> tuple[Float[Tensor, "batch tokens outputs"], Rois]:
        """Returns logits, the background's last, and boxes as RoIs."""
        x = self.norm(tokens)
        hidden, last = self.boxes
        return self.classes(x), adjust_rois(rois, last(hidden(x).relu()).to(rois.dtype))


class SparseFormerDetector(nn.Module):
    """The detector. `forward` returns a `DetectionOutput` whose scores are a softmax with a background output.

    Images may be padded at the right and the bottom, `sizes` being their valid sides.
    """

    outputs: ClassVar[Literal["classes", "embedding"]] = "classes"
    controls: ClassVar[Mapping[str, Control]] = {}
    class_heads: ClassVar[tuple[str, ...]] = ("head.classes",)
    traces: ClassVar[tuple[TraceKind, ...]] = ("points", "regions", "response")
    token_tables: ClassVar[tuple[str, ...]] = SparseFormer.token_tables

    def __init__(self, config: SparseFormerDetectorConfig) -> None:
        super().__init__()
        self.config, self.num_classes = config, config.num_classes
        self.backbone = SparseFormer(config.network())
        del self.backbone.head
        self.head = DetectorHead(config)
        self.init_weights()

    def init_weights(self) -> None:
        """Draws the heads, and embeddings from a normal distribution."""
        if self.head.classes.weight.is_meta:
            return
        self.head.init_weights()
        nn.init.normal_(self.backbone.tokens.embedding)

    @property
    def backbone_name(self) -> str:
        """The classifier that the network is of."""
        return self.config.classifier

    def backbone_tensors(self) -> dict[str, str]:
        """Names the network's tensors: {here: in the classifier}. Tokens and regions are drawn anew (A.1)."""
        tensors = {f"backbone.{name}": name for name in self.backbone.state_dict()}
        return {ours: theirs for ours, theirs in tensors.items() if theirs not in self.token_tables}

    def set_gradient_scale(self, scale: float) -> None:
        """Sets the factor on the loss for the clamp of point gradients, as the network's method of this name does."""
        self.backbone.set_gradient_scale(scale)

    def parameter_groups(self) -> list[ParameterGroup]:
        """Returns groups: the early convolution learns at a tenth of the rate; vectors and regions do not decay."""
        spared = {f"backbone.{name}" for name in self.backbone.no_weight_decay()}
        found = []
        for group in decay_groups(self, exempt=lambda name, parameter: parameter.ndim <= 1 or name in spared):
            for early, rate in ((True, 0.1), (False, 1.0)):
                part = [item for item in group.parameters if item[0].startswith("backbone.early_conv.") is early]
                name = f"early_{group.name}" if early else group.name
                found.append(ParameterGroup(name, part, decay=group.decay, lr_scale=rate))
        return [group for group in found if group.parameters]

    def forward(
        self, images: Float[Tensor, "batch chans height width"], *, sizes: Int[Tensor, "batch 2"] | None = None,
        trace: Trace | None = None,
    ) -> DetectionOutput:  # fmt: skip
        """Detects objects in normalised images."""
        states: list[Tensor] | None = [] if self.training and self.config.auxiliary_heads == "cortex" else None
        tokens, rois, _ = self.backbone.encode(images, sizes=sizes, trace=trace, after=states)
        detecting = slice(self.config.num_queries)
        # Regions move while tokens sample; plain units come behind the last that does.
        earlier = {f"cortex.{number}": each for number, each in enumerate((states or [])[:-1], 1)}
        heads = []
        for name, each in {"tokens": tokens, **earlier}.items():
            logits, boxes = self.head(each[:, detecting], rois[:, detecting])
            heads.append(DetectionHead(name, logits, centred(boxes), scores="softmax"))
            if trace is not None and name == "tokens":
                trace.record("boxes", Regions(boxes))
                trace.record("boxes", Response(logits))
        return DetectionOutput(tuple(heads))
