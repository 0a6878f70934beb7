"""The Sparse DETR network: backbone, neck, scorer, sparse encoder, first stage, decoder (Fig. 2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.jit._trace import is_tracing
from torchvision.ops import box_convert

from sparsevision.errors import ConfigError, UnknownNameError
from sparsevision.models.classifier import check_images
from sparsevision.models.parameter_groups import ParameterGroup
from sparsevision.models.sparse_detr import selection as selecting
from sparsevision.models.sparse_detr.backbone import LevelNeck, make_backbone
from sparsevision.models.sparse_detr.config import NUMERICS, SparseDETRConfig
from sparsevision.models.sparse_detr.decoder import (
    DecodedLayer,
    DeformableDecoder,
    LearnedQueries,
    ObjectQueries,
    ProposedQueries,
)
from sparsevision.models.sparse_detr.deformable import DeformableAttention, Shapes
from sparsevision.models.sparse_detr.encoder import SparseEncoder, TokenPyramid
from sparsevision.models.sparse_detr.heads import BoxHead
from sparsevision.models.sparse_detr.selection import Scores, TokenScorer, TokenSelection
from sparsevision.models.sparse_detr.training_queries import (
    QueryGroup,
    Targets,
    disturbed_objects,
    heads_of,
    joined,
    parted,
)
from sparsevision.models.timm_backbone import backbone_tensors
from sparsevision.outputs import DetectionHead, DetectionOutput
from sparsevision.types import Choice, Control, Kept, LevelMaps, Points, Regions, Response, Trace, TraceKind

# The scorer's loss, the only one that the network itself can form.
MASK_LOSS, SALIENCE_LOSS = "mask_prediction", "salience"
# Ways of selection by a scoring network.
LEARNED = ("dam", "salience")

box_corners = partial(box_convert, in_fmt="cxcywh", out_fmt="xyxy")


class ProposalProjection(nn.Module):
    """Projects tokens for the first stage, and for the scorer in front of the encoder, with the same weights."""

    def __init__(self, config: SparseDETRConfig) -> None:
        super().__init__()
        self.project = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], boxes: Float[Tensor, "batch tokens 4"]
    ) -> Float[Tensor, "batch tokens width"]:
        """Returns the tokens projected and normalised; those without a proposal (infinite `boxes`) count as zero."""
        return self.norm(self.project(tokens * boxes[..., :1].isfinite()))


class TokenProposals(NamedTuple):
    """Output of a first stage for every token, and the score by which tokens become queries.

    Boxes are formed when they are asked for: outside of training those of the queries alone are.
    """

    logits: Float[Tensor, "batch tokens classes"]
    foreground: Scores
    projected: Float[Tensor, "batch tokens width"]
    starts: Float[Tensor, "batch tokens 4"]
    head: BoxHead

    def boxes(self, chosen: TokenSelection | None = None) -> Float[Tensor, "batch chosen 4"]:
        """Returns the boxes of chosen tokens, or of all, as fractions of the valid image."""
        starts, projected = self.starts, self.projected
        if chosen is not None:
            starts, projected = chosen.gather(starts), chosen.gather(projected)
        return (starts + self.head.shift(projected)).sigmoid()


class DetectionPass(NamedTuple):
    """All that one pass computes; `forward` makes the output and the trace of it."""

    pyramid: TokenPyramid
    boxes: Float[Tensor, "batch tokens 4"]
    objectness: TokenProposals | None
    scores: Scores | None
    counts: Int[Tensor, " batch"] | int | None
    selection: TokenSelection | None
    memory: TokenPyramid
    states: list[Float[Tensor, "batch chosen width"]]
    proposed: TokenProposals | None
    query_tokens: Int[Tensor, "batch queries"] | None
    layers: list[DecodedLayer]
    trained: list[tuple[QueryGroup, list[DecodedLayer]]]


class SparseDETR(nn.Module):
    """The detector; with `selection="all"` it is Deformable DETR.

    `forward` returns a `DetectionOutput`: in training the heads of every layer and the scorer's loss, else the last
    layer's head alone. Images may be padded at the right and the bottom, `sizes` being their valid sides.
    """

    outputs: ClassVar[Literal["classes", "embedding"]] = "classes"

    def __init__(self, config: SparseDETRConfig) -> None:
        super().__init__()
        self.config, self.numerics = config, NUMERICS[config.numerics]
        self.num_classes = config.num_classes
        self.backbone = make_backbone(config)
        self.neck = LevelNeck(self.backbone.channels, config)
        self.scorer = TokenScorer(config.width) if config.selection == "dam" else None
        self.salience = TokenScorer(config.width) if config.selection == "salience" else None
        self.objectness = BoxHead(config.width, config.num_classes) if config.selection == "objectness" else None
        self.encoder = SparseEncoder(config)
        auxiliary = config.encoder_depth - 1 if config.encoder_heads == "auxiliary" else 0
        self.encoder_heads = nn.ModuleList(BoxHead(config.width, config.num_classes) for _ in range(auxiliary))
        self.proposal = ProposalProjection(config) if config.two_stage else None
        self.query = ProposedQueries(config) if config.two_stage else LearnedQueries(config)
        self.decoder = DeformableDecoder(config)
        self.decoder_heads = nn.ModuleList(
            BoxHead(config.width, config.num_classes) for _ in range(config.num_decoder_heads)
        )
        own = config.two_stage and config.heads == "own"
        self.proposal_head = BoxHead(config.width, config.num_classes) if own else None
        self.init_weights()

    @property
    def controls(self) -> Mapping[str, Control]:
        """Values that may change per call: the share of tokens that the encoder updates."""
        if self.config.selection == "all":
            return {}
        described = "share of the tokens that the encoder updates"
        return {"keep_ratio": Control("keep_ratio", self.config.keep_ratio, 0.01, 1.0, described)}

    @property
    def traces(self) -> tuple[TraceKind, ...]:
        """Kinds of observations in a trace of a pass; all tokens are updated where none are chosen."""
        kinds: tuple[TraceKind, ...] = ("points", "regions", "level_maps", "response")
        return kinds if self.config.selection == "all" else (*kinds, "kept")

    @property
    def choices(self) -> Mapping[str, Choice]:
        """Choices per call: the tokens that the encoder updates, by the ranking that was learned or at random.

        A random choice is what a learned one is measured against.
        """
        learned = self.config.selection
        if learned == "all":
            return {}
        ways = tuple(dict.fromkeys((learned, "random")))
        return {"selection": Choice("selection", learned, ways, "tokens that the encoder updates")}

    @property
    def reads_targets(self) -> bool:
        """Whether training builds something of the targets."""
        return bool(self.config.denoising) or self.salience is not None

    @property
    def class_heads(self) -> tuple[str, ...]:
        """The layers that have one output a class."""
        heads = (name for name, module in self.named_modules() if isinstance(module, BoxHead) and self.num_classes)
        return tuple(f"{name}.classes" for name in heads)

    @property
    def agnostic_heads(self) -> tuple[str, ...]:
        """The layers of `class_heads` that tell objects from what is none, and no classes apart."""
        if self.config.first_stage == "class_specific":
            return ()
        return tuple(name for name in self.class_heads if name.startswith(("proposal_head.", "objectness.")))

    @property
    def backbone_name(self) -> str:
        """The classifier that the backbone is of, by timm's name."""
        return self.backbone.name

    def backbone_tensors(self) -> dict[str, str]:
        """Names the backbone's tensors: {here: in the classifier}."""
        return backbone_tensors(self.backbone)

    def init_weights(self) -> None:
        """Initialises everything behind the backbone as the released code does (Deformable DETR's rules)."""
        if self.neck.level_embed.is_meta:
            return
        for part in filter(None, (self.encoder, self.decoder, self.scorer, self.salience, self.proposal, self.query)):
            for parameter in part.parameters():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)
        for module in self.modules():
            if isinstance(module, DeformableAttention | LearnedQueries | LevelNeck | BoxHead):
                module.init_weights()
        if isinstance(self.query, LearnedQueries):
            # Without proposals the first boxes have sides of sigma(-2) of the image.
            first = self.decoder_heads[0]
            assert isinstance(first, BoxHead)
            first.init_weights(side=-2.0)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], *, sizes: Int[Tensor, "batch 2"] | None = None,
        targets: Targets | None = None, trace: Trace | None = None, keep_ratio: float | None = None,
        selection: str | None = None,
    ) -> DetectionOutput:  # fmt: skip
        """Detects objects in normalised images; boxes are (cx, cy, w, h) as fractions of the valid image.

        `targets`, in training, hold each image's "labels" and "boxes", crowds left out, for networks that read them
        (`reads_targets`). Without them nothing is disturbed for `denoising`, and a "salience" selection cannot learn.
        """
        run = self.run(images, sizes=sizes, targets=targets, keep_ratio=keep_ratio, selection=selection)
        if trace is not None:
            self._record(run, trace)
        last = DetectionHead("decoder", run.layers[-1].logits, run.layers[-1].boxes)
        if not self.training:
            return DetectionOutput((last,))
        return DetectionOutput((last, *self._auxiliary_heads(run)), self._auxiliary_losses(run, targets))

    def run(
        self, images: Float[Tensor, "batch 3 height width"], *, sizes: Int[Tensor, "batch 2"] | None = None,
        targets: Targets | None = None, keep_ratio: float | None = None, selection: str | None = None,
    ) -> DetectionPass:  # fmt: skip
        """Computes one pass and returns all of its parts."""
        self._check(images, keep_ratio, selection)
        if self.training and self.salience is not None and targets is None:
            raise ConfigError(
                "selection='salience' is learned from the targets' boxes: give targets, or call eval() first."
            )
        pyramid, boxes = self.neck(self.backbone(images), images, sizes)
        way = selection or self.config.selection
        scores, objectness = self._scores(pyramid, boxes, way)
        counts: Tensor | int | None = None
        chosen: TokenSelection | None = None
        if scores is not None:
            ratio = self.config.keep_ratio if keep_ratio is None else keep_ratio
            ranked, padding = selecting.without_ties(scores.detach(), boxes[..., 0].isinf()), pyramid.padding
            if padding is None:
                counts = selecting.whole_budget(ranked.shape[1], ratio)
            else:
                counts = selecting.budgets(padding, ratio)
                if self.numerics.ignores_padding or way not in LEARNED:
                    ranked = ranked.masked_fill(padding, -math.inf)
            chosen = selecting.select(ranked, counts)
        tokens, states = self.encoder(pyramid, chosen)
        memory = pyramid._replace(tokens=tokens)
        proposed, query_tokens, groups = self._queries(memory, boxes, targets)
        heads = list(self.decoder_heads) * (self.config.decoder_depth // len(self.decoder_heads))
        layers = self.decoder(groups[0].queries if len(groups) == 1 else joined(groups), memory, heads)
        layers, *others = [layers] if len(groups) == 1 else parted(layers, groups)
        return DetectionPass(
            pyramid=pyramid, boxes=boxes, objectness=objectness, scores=scores, counts=counts, selection=chosen,
            memory=memory, states=states, proposed=proposed, query_tokens=query_tokens, layers=layers,
            trained=list(zip(groups[1:], others, strict=True)),
        )  # fmt: skip

    def _check(self, images: Tensor, keep_ratio: float | None, selection: str | None) -> None:
        check_images(images, 3)
        if is_tracing():
            raise ConfigError(
                "torch.jit.trace has no form for a detector's output: use torch.export.export, and `sparsevision "
                "benchmark --macs` or torch's FlopCounterMode to count operations."
            )
        if keep_ratio is not None and not self.controls:
            raise ConfigError("This model updates all tokens and takes no keep_ratio: omit it.")
        if keep_ratio is not None and not 0 < keep_ratio <= 1:
            raise ConfigError(f"keep_ratio is {keep_ratio}; it must be above 0 and at most 1.")
        if selection is None:
            return
        if self.training:
            raise ConfigError("selection is chosen per call of a trained model: omit it, or call eval() first.")
        known = self.choices["selection"].values if self.choices else ("all",)
        if selection not in known:
            raise UnknownNameError("selection in this model", selection, known)

    def _scores(self, pyramid: TokenPyramid, boxes: Tensor, way: str) -> tuple[Tensor | None, TokenProposals | None]:
        """Ranks the backbone's tokens for the encoder."""
        if way == "all":
            return None, None
        if way == "random":
            return torch.rand(pyramid.tokens.shape[:2], device=pyramid.tokens.device), None
        assert self.proposal is not None
        projected = self.proposal(pyramid.tokens + pyramid.positions, boxes)
        if self.objectness is not None:
            objectness = self._propose(self.objectness, projected, boxes)
            return objectness.foreground, objectness
        scorer = self.scorer if self.salience is None else self.salience
        assert scorer is not None
        if self.numerics.ignores_padding:
            return scorer(projected, pyramid.padding), None
        scores = scorer(projected)
        return scores if pyramid.padding is None else torch.where(pyramid.padding, scores.min(), scores), None

    def _propose(self, head: BoxHead, projected: Tensor, boxes: Tensor) -> TokenProposals:
        logits = head.classes(projected)
        specific = self.config.first_stage == "class_specific"
        foreground = logits.amax(dim=-1) if specific else logits[..., 0]
        return TokenProposals(logits, foreground, projected, boxes, head)

    def _queries(
        self, memory: TokenPyramid, boxes: Tensor, targets: Targets | None
    ) -> tuple[TokenProposals | None, Tensor | None, list[QueryGroup]]:
        """Makes the decoder's queries: a table, or the first stage's best tokens (Efficient DETR).

        In training, further groups of them may follow.
        """
        if isinstance(self.query, LearnedQueries):
            return None, None, [QueryGroup("queries", self.query(memory.tokens.shape[0]))]
        assert self.proposal is not None
        head = self.proposal_head if self.proposal_head is not None else self.decoder_heads[0]
        assert isinstance(head, BoxHead)
        proposed = self._propose(head, self.proposal(memory.tokens, boxes), boxes)
        ranked = proposed.foreground
        if self.numerics.ignores_padding:
            ranked = ranked.masked_fill(boxes[..., 0].isinf(), -math.inf)
        further = self.config.query_groups - 1 if self.training else 0
        wanted, tokens = self.config.num_queries * (1 + further), ranked.shape[1]
        # An exported graph that leaves sizes open is for images of more tokens than queries.
        order = ranked.topk(wanted if isinstance(tokens, torch.SymInt) else min(wanted, tokens), dim=1).indices
        chosen = order[:, : self.config.num_queries]
        groups = [QueryGroup("queries", self._proposed_queries(memory, proposed, chosen))]
        # Each of the others takes its share of the best proposals, so that each has something at every object.
        for number in range(1, 1 + further):
            queries = self._proposed_queries(memory, proposed, order[:, number :: 1 + further])
            groups.append(QueryGroup(f"group.{number}", queries, 1 / further))
        if self.training and self.config.denoising and targets is not None:
            groups += self._denoising(targets, memory)
        return proposed, chosen, groups

    def _proposed_queries(self, memory: TokenPyramid, proposed: TokenProposals, chosen: Tensor) -> ObjectQueries:
        best = TokenSelection(chosen)
        assert isinstance(self.query, ProposedQueries)
        return self.query(proposed.boxes(best).detach(), best.gather(memory.tokens))

    def _denoising(self, targets: Targets, memory: TokenPyramid) -> list[QueryGroup]:
        """Makes queries of disturbed objects, whose content is their class: its weights in the first head."""
        drawn = disturbed_objects(targets, self.num_classes, self.config.denoising)
        if drawn is None:
            return []
        head = self.decoder_heads[0]
        assert isinstance(head, BoxHead)
        assert isinstance(self.query, ProposedQueries)
        classes = head.classes.weight.detach()
        content = F.layer_norm(classes, classes.shape[1:])[drawn.labels]
        queries = self.query(drawn.boxes, content.to(memory.tokens.dtype))
        return [QueryGroup("denoising", queries, 1 / drawn.copies, drawn.copies, drawn.objects, drawn.valid)]

    def _auxiliary_heads(self, run: DetectionPass) -> list[DetectionHead]:
        """Returns the heads that only training reads: earlier decoder layers, first stage, encoder layers."""
        heads = [
            DetectionHead(f"decoder.{index}", layer.logits, layer.boxes) for index, layer in enumerate(run.layers[:-1])
        ]
        labels: Literal["classes", "foreground"]
        labels = "classes" if self.config.first_stage == "class_specific" else "foreground"
        for name, proposed in (("first_stage", run.proposed), ("backbone", run.objectness)):
            if proposed is not None:
                valid = ~run.boxes[..., 0].isinf() if self.numerics.ignores_padding else None
                heads.append(DetectionHead(name, proposed.logits, proposed.boxes(), valid, labels))
        starts, padding = run.boxes, run.pyramid.padding
        valid = ~padding if self.numerics.own_budgets and padding is not None else None
        if run.selection is not None:
            starts = run.selection.gather(starts)
            valid = run.selection.kept if self.numerics.own_budgets else None
        for index, (head, state) in enumerate(zip(self.encoder_heads, run.states, strict=False)):
            assert isinstance(head, BoxHead)
            boxes = (starts + head.shift(state)).sigmoid()
            heads.append(DetectionHead(f"encoder.{index}", head.classes(state), boxes, valid))
        for group, layers in run.trained:
            heads += heads_of(group, layers)
        return heads

    def attention_map(self, run: DetectionPass) -> Scores:
        """Returns the decoder's cross-attention map (DAM): how much of each token the decoder has read."""
        looks = [layer.looks for layer in run.layers]
        return selecting.attention_map(looks, run.pyramid.shapes, centred=self.numerics.centred_map)

    def _auxiliary_losses(self, run: DetectionPass, targets: Targets | None) -> dict[str, Tensor]:
        if run.scores is None or run.counts is None:
            return {}
        if self.salience is not None and targets is not None:
            pyramid, boxes = run.pyramid, [target["boxes"] for target in targets]
            height, width = pyramid.shapes[0]
            sides = pyramid.ratios[:, 0] * pyramid.ratios.new_tensor([width, height])
            target = selecting.salience(pyramid.references, pyramid.shapes, boxes, sides)
            return {SALIENCE_LOSS: selecting.salience_losses(run.scores, target, pyramid.padding)}
        if self.scorer is None:
            return {}
        target = selecting.binarise(self.attention_map(run), run.pyramid.padding, run.counts)
        ignored = run.pyramid.padding if self.numerics.ignores_padding else None
        return {MASK_LOSS: selecting.mask_losses(run.scores, target, ignored)}

    def _record(self, run: DetectionPass, trace: Trace) -> None:
        """Fills a trace: how tokens were scored and which were updated, where queries sampled and what they found.

        The decoder's layers have points and answers; regions are the boxes after each layer, and "proposals" those that
        the first one starts from. Level maps are the scorer's, "expected", and the decoder's, "read" (DAM).
        """
        shapes, ratios = run.pyramid.shapes, run.pyramid.ratios
        if run.selection is not None and trace.wants("kept"):
            trace.record("encoder", Kept(_by_level(run.selection, shapes), tuple(shapes), ratios))
        if trace.wants("level_maps"):
            if run.scores is not None:
                trace.record("scorer", LevelMaps(_maps(run.scores.sigmoid(), shapes), "expected", ratios))
            trace.record("decoder", LevelMaps(_maps(self.attention_map(run), shapes), "read", ratios))
        if run.proposed is not None and run.query_tokens is not None:
            trace.record("proposals", Regions(box_corners(run.proposed.boxes(TokenSelection(run.query_tokens)))))
        levels = torch.arange(len(shapes), device=ratios.device).view(-1, 1)
        for index, layer in enumerate(run.layers):
            name = f"decoder.{index + 1}"
            trace.record(name, Regions(box_corners(layer.boxes)))
            if trace.wants("points"):
                # From fractions of a level's padded map to those of the valid image.
                xy = (layer.looks.locations / ratios[:, None, None, :, None]).flatten(2, -2)
                weight = layer.looks.weights / self.config.num_heads
                level = levels.expand_as(layer.looks.weights).flatten(2)
                trace.record(name, Points(xy, weight.flatten(2), level))
        trace.record(f"decoder.{len(run.layers)}", Response(run.layers[-1].logits))

    def parameter_groups(self) -> list[ParameterGroup]:
        """Returns the published groups: all decay; backbone and predicted places learn at a tenth of the rate."""
        kinds: dict[str, list[tuple[str, nn.Parameter]]] = {"transformer": [], "backbone": [], "places": []}
        for name, parameter in self.named_parameters():
            places = ".offsets." in name or name.startswith("query.reference.")
            if parameter.requires_grad:
                kind = "backbone" if name.startswith("backbone.") else "places" if places else "transformer"
                kinds[kind].append((name, parameter))
        return [
            ParameterGroup(kind, parameters, decay=True, lr_scale=1.0 if kind == "transformer" else 0.1)
            for kind, parameters in kinds.items()
            if parameters
        ]


def _maps(values: Scores, shapes: Shapes) -> tuple[Float[Tensor, "batch _ _"], ...]:
    """Splits one number a token into a map a level."""
    levels = values.split([height * width for height, width in shapes], dim=1)
    return tuple(level.view(-1, *shape) for level, shape in zip(levels, shapes, strict=True))


def _by_level(selection: TokenSelection, shapes: Shapes) -> tuple[Int[Tensor, "batch chosen"], ...]:
    """Returns each level's chosen tokens by their place in the level; -1 where a row belongs to another level."""
    found, first = [], 0
    for height, width in shapes:
        place = selection.indices - first
        here: Bool[Tensor, "batch chosen"] = (place >= 0) & (place < height * width)
        if selection.kept is not None:
            here = here & selection.kept
        found.append(torch.where(here, place, -1))
        first += height * width
    return tuple(found)
