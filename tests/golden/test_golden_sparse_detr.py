"""Sparse DETR and Deformable DETR against the released code: every case, in the plain and the fast form."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from golden_cases import Case, folder, normalised, read

from sparsevision.checkpoints.layouts import renamed_to_ours
from sparsevision.kernels.dispatch import plain_operators
from sparsevision.models.sparse_detr.backbone import make_backbone
from sparsevision.models.sparse_detr.config import SparseDETRConfig
from sparsevision.models.sparse_detr.decoder import DeformableDecoder, ObjectQueries
from sparsevision.models.sparse_detr.deformable import DeformableAttention, SamplingLocations, sample_levels
from sparsevision.models.sparse_detr.encoder import SparseEncoder, TokenPyramid
from sparsevision.models.sparse_detr.geometry import (
    embed_boxes,
    level_masks,
    padding_mask,
    proposals,
    sine_encoding,
    token_references,
    valid_ratios,
)
from sparsevision.models.sparse_detr.heads import BoxHead
from sparsevision.models.sparse_detr.network import ProposalProjection, SparseDETR
from sparsevision.models.sparse_detr.selection import (
    TokenScorer,
    TokenSelection,
    attention_map,
    binarise,
    budgets,
    mask_losses,
    select,
)
from sparsevision.outputs import DetectionHead, DetectionOutput
from sparsevision.tasks.detection.criterion import SetCriterion
from sparsevision.tasks.detection.post_processing import PostProcess

SYSTEM = "sparse_detr"
NAMES = sorted(path.stem for path in folder(SYSTEM).glob("*.json"))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LOSSES = {"classes": "loss_ce", "l1": "loss_bbox", "giou": "loss_giou"}
# What the released code logs and trains nothing with: a left-over of softmax DETR, and what a metric says better.
NOT_TRAINED = ("loss.cardinality_error", "loss.class_error", "loss.corr_")


def cases(kind: str) -> list[str]:
    described = {name: json.loads((folder(SYSTEM) / f"{name}.json").read_text())["config"]["kind"] for name in NAMES}
    return [name for name, its_kind in described.items() if its_kind == kind]


@pytest.fixture(params=["plain", "fast"])
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test in both forms of the operator; the fast one is for inference, without gradients."""
    with plain_operators() if request.param == "plain" else nullcontext():
        yield request.param


def shapes_of(case: Case) -> list[tuple[int, int]]:
    return [(height, width) for height, width in case.config["shapes"]]


def check_gradients(case: Case, gradients: dict[str, Tensor | None]) -> None:
    for name, expected in case.grads.items():
        gradient = gradients[name]
        assert gradient is not None, name
        bound = case.tolerance.get(f"grad.{name}", case.tolerance["default"])
        torch.testing.assert_close(
            gradient, expected, **bound, check_dtype=False, msg=lambda m, name=name: f"{name}: {m}"
        )


def load(module: nn.Module, case: Case, ours: str = "", theirs: str = "") -> dict[str, str]:
    """Loads the case's weights strictly; returns {the reference's name: ours} of what the module has."""
    renamed = renamed_to_ours({theirs + name: tensor for name, tensor in case.state.items()}, "sparse_detr")
    module.load_state_dict({name.removeprefix(ours): tensor for name, (_, tensor) in renamed.items()}, strict=True)
    return {found.removeprefix(theirs): name.removeprefix(ours) for name, (found, _) in renamed.items()}


def gradients_of(module: nn.Module, names: dict[str, str], inputs: dict[str, Tensor]) -> dict[str, Tensor | None]:
    parameters = dict(module.named_parameters())
    found = {theirs: parameters[ours].grad for theirs, ours in names.items() if ours in parameters}
    return found | {name: tensor.grad for name, tensor in inputs.items()}


def narrow_config(case: Case, **more: Any) -> SparseDETRConfig:
    """Says the configuration of an encoder's or decoder's case."""
    words = case.config
    return SparseDETRConfig(
        width=words["d_model"], num_levels=words["levels"], num_heads=words["heads"], num_points=words.get("points", 4),
        ffn_width=words.get("ffn", 96), encoder_depth=words.get("layers", 3), decoder_depth=words.get("layers", 3),
        num_classes=words.get("classes", 11), dropout=0.0, selection="all", queries="learned", **more,
    )  # fmt: skip


@pytest.mark.parametrize("name", cases("operator"))
def test_operator(name: str, form: str) -> None:
    case = read(SYSTEM, name)
    leaves = {key: case.inputs[key].requires_grad_() for key in ("value", "locations", "weights")}
    read_out = sample_levels(leaves["value"], shapes_of(case), leaves["locations"], leaves["weights"])
    case.check("out", read_out)
    (read_out * case.inputs["grad_out"]).sum().backward()
    check_gradients(case, {key: leaf.grad for key, leaf in leaves.items()})
    with torch.no_grad():
        case.check("out", sample_levels(leaves["value"], shapes_of(case), leaves["locations"], leaves["weights"]))


@pytest.mark.parametrize("name", cases("module"))
def test_module(name: str, form: str) -> None:
    case = read(SYSTEM, name)
    words = case.config
    module = DeformableAttention(
        words["d_model"], num_levels=words["levels"], num_heads=words["heads"], num_points=words["points"]
    )
    names = load(module, case, "encoder.layers.0.attn.", "transformer.encoder.layers.0.self_attn.")
    leaves = {key: case.inputs[key].requires_grad_() for key in ("query", "reference_points", "source")}
    inputs = (*leaves.values(), shapes_of(case), case.inputs["mask"])
    out, looks = module(*inputs)
    case.check("out", out)
    case.check("sampling_locations", looks.locations)
    case.check("attention_weights", looks.weights)
    (out * case.inputs["grad_out"]).sum().backward()
    check_gradients(case, gradients_of(module, names, leaves))
    with torch.no_grad():
        case.check("out", module(*inputs)[0])


@pytest.mark.parametrize("name", cases("module_init"))
def test_module_starts_as_released(name: str) -> None:
    case = read(SYSTEM, name)
    words = case.config
    module = DeformableAttention(
        words["d_model"], num_levels=words["levels"], num_heads=words["heads"], num_points=words["points"]
    )
    renamed = {"sampling_offsets": "offsets", "attention_weights": "weights", "value_proj": "value"}
    for key in case.outputs:
        part, leaf = key.split(".")
        case.check(key, module.get_parameter(f"{renamed.get(part, 'output')}.{leaf}"))


def test_geometry() -> None:
    case = read(SYSTEM, "geometry")
    shapes = shapes_of(case)
    masks = level_masks(case.inputs["mask"], shapes)
    for level, mask in enumerate(masks):
        assert torch.equal(mask, case.outputs[f"mask.{level}"])
        encoded = sine_encoding(mask, case.config["d_model"])
        case.check(f"pos.{level}", encoded.transpose(1, 2).unflatten(-1, shapes[level]))
    ratios = valid_ratios(masks)
    case.check("valid_ratios", ratios)
    case.check("encoder_reference_points", token_references(shapes, ratios).unsqueeze(2) * ratios.unsqueeze(1))
    case.check("proposals_unact", proposals(masks))
    case.check("proposal_pos_embed", embed_boxes(case.inputs["proposals"].sigmoid(), 256))
    padding = torch.cat([mask.flatten(1) for mask in masks], dim=1)
    assert torch.equal((~padding).sum(dim=1), case.outputs["valid_token_nums"])


def test_decoder_attention_map() -> None:
    case = read(SYSTEM, "dam")
    shapes = shapes_of(case)
    inputs = case.inputs
    layers = range(inputs["sampling_locations"].shape[1])
    looks = [SamplingLocations(inputs["sampling_locations"][:, i], inputs["attention_weights"][:, i]) for i in layers]
    attention = attention_map(looks, shapes, centred=False)
    case.check("dam", attention)
    for layer, look in enumerate(looks):
        for head in range(look.weights.shape[2]):
            alone = SamplingLocations(look.locations[:, :, head : head + 1], look.weights[:, :, head : head + 1])
            expected = case.outputs["per_layer_head"][:, layer, head]
            torch.testing.assert_close(attention_map([alone], shapes, centred=False), expected, atol=2e-5, rtol=2e-4)
    scores = inputs["score_logits"].requires_grad_()
    target = binarise(attention, inputs["mask"], inputs["budgets"].long())
    case.check("target", target)
    loss = mask_losses(scores, target).mean()
    case.check("loss_mask_prediction", loss)
    loss.backward()
    check_gradients(case, {"score_logits": scores.grad})
    chosen = TokenSelection(inputs["selected"], torch.ones_like(inputs["selected"], dtype=torch.bool))
    # The part of the attention that falls on the chosen tokens.
    share = (attention.gather(1, chosen.indices).sum(dim=1) / attention.sum(dim=1)).mean()
    case.check("corr_mask_attn_map_dec_all", share)


@pytest.mark.parametrize("name", cases("scorer"))
def test_scorer(name: str) -> None:
    case = read(SYSTEM, name)
    config = narrow_config(case)
    module = nn.ModuleDict({"scorer": TokenScorer(config.width), "proposal": ProposalProjection(config)})
    load(module, case, theirs="transformer.")
    padding, tokens = case.inputs["mask"], case.inputs["tokens"]
    # The case leaves proposals out: only padding counts as zero.
    boxes = torch.zeros(*padding.shape, 4).masked_fill(padding.unsqueeze(-1), torch.inf)
    projected = module["proposal"](tokens, boxes)
    case.check("normed_tokens", projected)
    scores = module["scorer"](projected)
    case.check("raw_logits", scores)
    masked = torch.where(padding, scores.min(), scores)
    case.check("masked_logits", masked)
    counts = budgets(padding, case.config["rho"])
    assert torch.equal(counts, case.outputs["budgets"].long())
    selection = select(masked, counts)
    assert selection.kept is not None
    for image, indices in enumerate(selection.indices):
        assert torch.equal(indices[selection.kept[image]], case.outputs[f"selected.{image}"])


def pyramid_of(case: Case) -> TokenPyramid:
    shapes, inputs = shapes_of(case), case.inputs
    tokens = inputs["tokens"] if "tokens" in inputs else inputs["memory"]
    positions = inputs.get("pos", torch.zeros_like(tokens))
    references = token_references(shapes, inputs["valid_ratios"])
    return TokenPyramid(tokens, positions, references, inputs["mask"], inputs["valid_ratios"], shapes)


@pytest.mark.parametrize("name", cases("encoder"))
def test_encoder(name: str, form: str) -> None:
    case = read(SYSTEM, name)
    config = narrow_config(case)
    module = nn.ModuleDict({"encoder": SparseEncoder(config)})
    if case.config["aux_heads"]:
        module["encoder_heads"] = nn.ModuleList(BoxHead(config.width, config.num_classes) for _ in range(2))
    state = {f"transformer.encoder.{key}": tensor for key, tensor in case.state.items()}
    heads = {key: tensor for key, tensor in state.items() if "_embed" in key}
    for key in heads:  # in this case the encoder's heads count from 0, in a whole model from the decoder's on
        index = int(key.split(".")[3])
        rest = key.split(".", 4)[4]
        state[f"{key.split('.')[2]}.{index + 1}.{rest}"] = state.pop(key)
    renamed = renamed_to_ours(state, "sparse_detr")
    module.load_state_dict({ours: tensor for ours, (_, tensor) in renamed.items()}, strict=True)
    pyramid = pyramid_of(case)
    selection = None
    if "selected" in case.inputs:
        indices = case.inputs["selected"]
        selection = TokenSelection(indices, torch.arange(indices.shape[1]) < case.inputs["budgets"].unsqueeze(1))
    pyramid.tokens.requires_grad_()
    memory, states = module["encoder"](pyramid, selection)
    case.check("memory", memory)
    if selection is not None:
        unchosen = torch.ones(memory.shape[:2], dtype=torch.bool)
        for image, (indices, kept) in enumerate(zip(*selection, strict=True)):
            unchosen[image, indices[kept]] = False
        assert torch.equal(memory[unchosen], pyramid.tokens[unchosen])
        starts = selection.gather(case.inputs["proposals"])
        for layer, head in enumerate(module["encoder_heads"]):
            case.check(f"aux.{layer}.logits", head.classes(states[layer]))
            case.check(f"aux.{layer}.boxes", (starts + head.shift(states[layer])).sigmoid())
    (memory * case.inputs["grad_out"]).sum().backward()
    names = {theirs.removeprefix("transformer.encoder."): ours for ours, (theirs, _) in renamed.items()}
    check_gradients(case, gradients_of(module, names, {"tokens": pyramid.tokens}))
    with torch.no_grad():
        case.check("memory", module["encoder"](pyramid, selection)[0])


@pytest.mark.parametrize("name", cases("decoder"))
def test_decoder(name: str, form: str) -> None:
    case = read(SYSTEM, name)
    refined = case.config["refine"]
    config = narrow_config(case, boxes="refined" if refined else "direct")
    decoder, inputs = DeformableDecoder(config), case.inputs
    heads = nn.ModuleList(BoxHead(config.width, config.num_classes) for _ in range(config.decoder_depth))
    state = {key if "_embed" in key else f"transformer.decoder.{key}": tensor for key, tensor in case.state.items()}
    renamed = {ours: tensor for ours, (_, tensor) in renamed_to_ours(state, "sparse_detr").items()}
    decoder.load_state_dict({k.removeprefix("decoder."): v for k, v in renamed.items() if k.startswith("decoder.")})
    boxes = {k.removeprefix("decoder_heads."): v for k, v in renamed.items() if k.startswith("decoder_heads.")}
    heads.load_state_dict({**heads.state_dict(), **boxes}, strict=True)
    pyramid = pyramid_of(case)
    leaves = {"memory": pyramid.tokens.requires_grad_(), "queries": inputs["queries"].requires_grad_()}
    queries = ObjectQueries(inputs["queries"], inputs["query_pos"], inputs["reference_points"])
    layers = decoder(queries, pyramid, list(heads))
    case.check("hidden", torch.stack([layer.content for layer in layers]))
    if refined:
        case.check("references", torch.stack([layer.boxes for layer in layers]))
    case.check("sampling_locations", torch.stack([layer.looks.locations for layer in layers], dim=1))
    case.check("attention_weights", torch.stack([layer.looks.weights for layer in layers], dim=1))
    (torch.stack([layer.content for layer in layers]) * inputs["grad_out"]).sum().backward()
    check_gradients(case, {key: leaf.grad for key, leaf in leaves.items()})
    with torch.no_grad():
        case.check("hidden", torch.stack([layer.content for layer in decoder(queries, pyramid, list(heads))]))


def targets_of(case: Case) -> list[dict[str, Tensor]]:
    count = 1 + max(int(key.split(".")[1]) for key in case.inputs if key.startswith("target."))
    return [{part: case.inputs[f"target.{i}.{part}"] for part in ("labels", "boxes")} for i in range(count)]


def check_losses(case: Case, heads: dict[str, DetectionHead], auxiliary_losses: dict[str, Tensor]) -> Tensor:
    """Checks matches and losses of heads, given by the reference's suffixes and names, and returns the total."""
    targets = targets_of(case)
    criterion, images = SetCriterion(), torch.tensor(float(len(targets)))
    objects = torch.tensor(float(sum(len(target["labels"]) for target in targets)))
    total = torch.zeros(())
    checked = set()
    for suffix, head in heads.items():
        stored = suffix_name(suffix)
        labels = [target["labels"] * (head.labels == "classes") for target in targets]
        matches = torch.stack(criterion.matcher(head, labels, [one["boxes"] for one in targets]), dim=1)
        first = 0
        for image, each in enumerate(labels):
            expected = case.outputs[f"match.{stored}.{image}"]
            pairs = matches[matches[:, 0] == image, 1:] - torch.tensor([0, first])
            assert torch.equal(pairs, expected[expected[:, 0].argsort()]), (suffix, image)
            first += len(each)
        losses = criterion.of_head(head, targets, objects, images)
        for ours, theirs in LOSSES.items():
            checked.add(f"loss.{theirs}{suffix}")
            case.check(f"loss.{theirs}{suffix}", losses[ours])
        total = total + sum(criterion.weighted(losses).values())
    for loss in auxiliary_losses.values():
        checked.add("loss.loss_mask_prediction")
        case.check("loss.loss_mask_prediction", loss.mean())
        total = total + loss.mean()
    case.check("total", total)
    assert checked == {key for key in case.outputs if key.startswith("loss.") and not key.startswith(NOT_TRAINED)}
    return total


def suffix_name(suffix: str) -> str:
    """Turns the reference's suffix of a loss into its name for a head."""
    if suffix in ("", "_enc"):
        return suffix[1:] or "main"
    return f"aux_enc.{suffix[5:]}" if suffix.startswith("_enc_") else f"aux.{suffix[1:]}"


@pytest.mark.parametrize("name", cases("losses"))
def test_losses(name: str) -> None:
    case = read(SYSTEM, name)
    leaves = {key: leaf.requires_grad_() for key, leaf in case.inputs.items() if not key.startswith("target.")}
    first_stage = "classes" if case.config["eff_specific_head"] else "foreground"
    heads = {}
    for key in leaves:
        if not key.endswith("logits"):
            continue
        stored = key.removesuffix("logits").removesuffix(".")
        suffix = {"": "", "enc": "_enc"}.get(stored, "_" + stored.replace("aux_enc.", "enc_").replace("aux.", ""))
        boxes = leaves[key.replace("logits", "boxes")]
        heads[suffix] = DetectionHead(stored, leaves[key], boxes, labels=first_stage if stored == "enc" else "classes")
    check_losses(case, heads, {}).backward()
    check_gradients(case, {key: leaf.grad for key, leaf in leaves.items()})


def test_best_detections() -> None:
    case = read(SYSTEM, "postprocess")
    head = DetectionHead("decoder", case.inputs["logits"], case.inputs["boxes"])
    for image, found in enumerate(PostProcess(case.config["keep"])(head, case.inputs["sizes"])):
        case.check(f"scores.{image}", found.scores)
        case.check(f"boxes.{image}", found.boxes)
        assert torch.equal(found.labels, case.outputs[f"labels.{image}"])


def padded_batch(case: Case) -> tuple[Tensor, Tensor]:
    planes = [normalised(case.inputs[f"image.{i}"], MEAN, STD) for i in (0, 1) if f"image.{i}" in case.inputs]
    sizes = torch.tensor([one.shape[1:] for one in planes])
    images = torch.zeros(len(planes), 3, *sizes.amax(dim=0).tolist())
    for place, one in zip(images, planes, strict=True):
        place[:, : one.shape[1], : one.shape[2]] = one
    return images, sizes


@pytest.mark.parametrize("name", cases("features"))
def test_backbone_features(name: str) -> None:
    case = read(SYSTEM, name)
    config = SparseDETRConfig(backbone={"resnet50": "resnet50", "swin-t": "swin_tiny"}[case.config["backbone"]])
    backbone = make_backbone(config).eval()
    load(backbone, case, "backbone.", "backbone.0.")
    images, sizes = padded_batch(case)
    with torch.no_grad():
        maps = backbone(images)
    masks = level_masks(padding_mask(images, sizes), [tuple(level.shape[2:]) for level in maps])
    for level, (features, mask) in enumerate(zip(maps, masks, strict=True)):
        case.check(f"features.{level}", features)
        assert torch.equal(mask, case.outputs[f"mask.{level}"])


def config_of(words: list[str]) -> SparseDETRConfig:
    """Says the switches of the released training script in our fields."""
    given = set(words)

    def value(name: str, default: str) -> str:
        return words[words.index(name) + 1] if name in given else default

    two_stage, rho = "--two_stage" in given, float(value("--rho", "0"))
    return SparseDETRConfig(
        backbone={"resnet50": "resnet50", "swin-t": "swin_tiny"}[value("--backbone", "resnet50")],
        selection="dam" if rho else "all",
        keep_ratio=rho or 1.0,
        queries=("tokens" if "--eff_query_init" in given else "boxes") if two_stage else "learned",
        first_stage="class_specific" if "--eff_specific_head" in given else "class_agnostic",
        boxes="refined" if two_stage or "--with_box_refine" in given else "direct",
        heads="own" if given & {"--with_box_refine", "--use_enc_aux_loss"} else "shared",
        encoder_heads="auxiliary" if "--use_enc_aux_loss" in given else "none",
        encoder_depth=int(value("--enc_layers", "6")),
        decoder_depth=int(value("--dec_layers", "6")),
        ffn_width=int(value("--dim_feedforward", "1024")),
        num_queries=int(value("--num_queries", "300")),
        dropout=float(value("--dropout", "0.1")),
    )


def reference_names(output: DetectionOutput) -> dict[str, DetectionHead]:
    """Gives heads the reference's suffixes."""
    renamed = {"decoder": "", "first_stage": "_enc"}
    return {
        renamed.get(head.name, "_" + head.name.replace("decoder.", "").replace("encoder.", "enc_")): head
        for head in output.heads
    }


WHOLE = cases("model")


@pytest.mark.parametrize("name", [name for name in WHOLE if name.startswith("model_")])
def test_narrow_model(name: str) -> None:
    case = read(SYSTEM, name)
    config = config_of(case.config["args"])
    model = SparseDETR(config).train()
    names = load(model, case)
    images, sizes = padded_batch(case)
    run = model.run(images, sizes=sizes)
    output = model(images, sizes=sizes)
    heads = reference_names(output)
    for suffix, head in heads.items():
        prefix = "" if not suffix else f"{suffix_name(suffix)}."
        if f"{prefix}logits" in case.outputs:
            case.check(f"{prefix}logits", head.logits)
            case.check(f"{prefix}boxes", head.boxes)
    if run.proposed is not None and run.query_tokens is not None:
        assert torch.equal(run.query_tokens, case.outputs["query_tokens"])
        if "enc.foreground" in case.outputs:
            case.check("enc.foreground", run.proposed.foreground)
    if run.selection is not None and run.scores is not None and run.counts is not None:
        case.check("score_logits", run.scores)
        assert torch.equal(run.counts, case.outputs["budgets"].long())
        assert torch.equal(run.selection.indices, case.outputs["selected_padded"])
        case.check("dam", model.attention_map(run))
        unchosen = torch.ones(run.pyramid.padding.shape, dtype=torch.bool)
        for image, (indices, kept) in enumerate(zip(*run.selection, strict=True)):
            unchosen[image, indices[kept]] = False
        assert torch.equal(run.memory.tokens[unchosen], run.pyramid.tokens[unchosen])
    check_losses(case, heads, output.auxiliary_losses)
    # A gradient jumps where a point enters the next cell. In single precision the processor decides on which side of
    # the border the nearest points of these cases lie; in double precision they lie where the reference's do.
    output = model.double()(images.double(), sizes=sizes)
    check_losses(case, reference_names(output), output.auxiliary_losses).backward()
    gradients = gradients_of(model, names, {})
    check_gradients(case, gradients)
    listed = case.config["grad_norm_names"]
    norms = torch.stack([gradient.norm() for gradient in (gradients[key] for key in listed) if gradient is not None])
    case.check("grad_norms", norms)
    assert all(gradients.get(key) is None for key in case.config["no_grad_names"])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in WHOLE if name.startswith("full_")])
def test_published_model(name: str, form: str) -> None:
    case = read(SYSTEM, name)
    config = config_of(case.config["args"])
    model = SparseDETR(config).eval()
    load(model, case)
    images, sizes = padded_batch(case)
    with torch.no_grad():
        run = model.run(images, sizes=sizes)
    assert run.proposed is not None
    assert run.query_tokens is not None
    assert run.scores is not None
    assert run.selection is not None
    case.check("enc.foreground", run.proposed.foreground)
    case.check("score_logits", run.scores)
    case.check("dam", model.attention_map(run))
    for image, (indices, kept) in enumerate(zip(*run.selection, strict=True)):
        expected = case.outputs[f"selected.{image}"]
        assert torch.equal(indices[kept].sort().values, expected.sort().values)
    # Scores of neighbouring queries lie so near to each other that their order is not certain: rows by their tokens.
    order, stored = run.query_tokens.argsort(dim=1), case.outputs["query_tokens"].argsort(dim=1)
    assert torch.equal(run.query_tokens.gather(1, order), case.outputs["query_tokens"].gather(1, stored))
    for key, found in (("logits", run.layers[-1].logits), ("boxes", run.layers[-1].boxes)):
        expected = case.outputs[key]
        torch.testing.assert_close(
            found.gather(1, order.unsqueeze(-1).expand_as(found)),
            expected.gather(1, stored.unsqueeze(-1).expand_as(expected)),
            **case.tolerance.get(key, case.tolerance["default"]),
        )


GROUPS = folder(SYSTEM) / "parameter_groups"


@pytest.mark.parametrize("name", sorted(path.stem for path in GROUPS.glob("*.json")))
def test_parameter_groups(name: str) -> None:
    described = json.loads((GROUPS / f"{name}.json").read_text())
    backbone = "swin_tiny" if name.startswith("swin") else "resnet50"
    sparse = ["--with_box_refine", "--two_stage", "--eff_query_init", "--eff_specific_head"]
    words = {"deformable": [], "efficient": sparse, "sparse": [*sparse, "--use_enc_aux_loss", "--rho", "0.1"]}
    arguments = words[name.split("_detr")[0].rsplit("_", 1)[1]]
    config = config_of([*arguments, *(["--backbone", "swin-t"] if backbone == "swin_tiny" else [])])
    with torch.device("meta"):
        model = SparseDETR(config)
    listed = {key: group["lr"] for group in described["groups"] for key in group["names"]}
    state = {name: torch.tensor(float(number)) for number, name in enumerate(listed)}
    ours = {mine: key for mine, (key, _) in renamed_to_ours(state, "sparse_detr").items()}
    found = {ours[key]: 2e-4 * group.lr_scale for group in model.parameter_groups() for key, _ in group.parameters}
    assert found == pytest.approx(listed)
    assert all(group.decay for group in model.parameter_groups())
