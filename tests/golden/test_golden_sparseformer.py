"""SparseFormer against the released codes: every image case, in the plain and in the fast form of the operators."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from golden_cases import Case, folder, normalised, read
from sparseformer_cases import OPERATIONS, config_of, gradients_of, load

from sparsevision.checkpoints.layouts import renamed_to_ours
from sparsevision.kernels.dispatch import plain_operators
from sparsevision.models.registry import variants
from sparsevision.models.sparseformer.config import NUMERICS, PLAIN, SparseFormerConfig
from sparsevision.models.sparseformer.image_features import EarlyConv
from sparsevision.models.sparseformer.mixing import AdaptiveMixing
from sparsevision.models.sparseformer.network import SparseFormer
from sparsevision.models.sparseformer.rois import adjust_rois, encode_rois, first_rois, grid_offsets
from sparsevision.models.sparseformer.sampling import clamp_gradient, decode_points, sample_points
from sparsevision.models.sparseformer.unit import SampledMap, SparseFormerUnit
from sparsevision.types import Trace

SYSTEM = "sparseformer"
# In test_golden_video.py.
VIDEO = {
    "module_points_3d",
    "module_roi_adjust_3d",
    "module_sampling_3d",
    "video_btsp_small_r3_t4",
    "video_small_inflate_r3",
    "video_small_r1_t1",
    "video_small_r2_t5_grad",
    "video_tiny_inflate_r1_t4",
    "video_tiny_inflate_r4_t8",
}
MODULES = {
    "module_early_conv_v1",
    "module_early_conv_v2",
    "module_roi_adjust",
    "module_points_v1",
    "module_points_v2_degenerate",
    "module_sampling_v1",
    "module_sampling_v1_scale",
    "module_sampling_v2_border",
    "module_mixing_v1",
    "module_mixing_v2_nobias",
    "module_position_encoding",
    "module_focusing_stage_v1",
    "module_focusing_stage_btsp",
    "module_cortex_stage_v1",
    "module_cortex_stage_clip",
    "init_grids",
}
NAMES = sorted(path.stem for path in folder(SYSTEM).glob("*.json"))
WHOLE_MODELS = [name for name in NAMES if name not in MODULES | VIDEO]


@pytest.fixture(params=["plain", "fast"], autouse=True)
def form(request: pytest.FixtureRequest) -> Any:
    with plain_operators() if request.param == "plain" else nullcontext():
        yield request.param


def test_every_case_is_known() -> None:
    assert set(NAMES) <= MODULES | VIDEO | set(WHOLE_MODELS)
    assert len(WHOLE_MODELS) == 18
    assert set(NAMES) >= MODULES


# Full-size models take seconds each to draw their weights; the small configurations run with the unit tests.
@pytest.mark.parametrize(
    "name", [name if "small_config" in name else pytest.param(name, marks=pytest.mark.slow) for name in WHOLE_MODELS]
)
def test_whole_model(name: str) -> None:
    case = read(SYSTEM, name)
    model = SparseFormer(config_of(case.config, case.state)).eval()
    names = load(model, case.state)
    embeddings: list[Tensor] = []
    for unit in model.modules():
        if isinstance(unit, SparseFormerUnit):
            unit.register_forward_hook(lambda _, __, output: embeddings.append(output[0]))
    trace = Trace("points", "regions")
    if "image" in case.inputs:
        variant = (
            "sparseformer_clip_base"
            if "clip" in name
            else "sparseformer_augreg_base"
            if "btsp" in name
            else "sparseformer_tiny"
        )
        preprocessing = variants()[variant].preprocessing
        x = normalised(case.inputs["image"], preprocessing.mean, preprocessing.std)
    else:
        x = case.inputs["x"].requires_grad_(bool(case.grads))
    model.set_gradient_scale(case.config.get("scale", 1.0))
    with torch.set_grad_enabled(bool(case.grads)):
        logits = model(x, trace=trace)
    case.check("logits" if "logits" in case.outputs else "features", logits)
    _check_stages(case, model, embeddings, trace)
    if case.grads:
        (logits * case.inputs["w"]).sum().backward()
        case.check_gradients(gradients_of(model, names, {"x": x}))


def _check_stages(case: Case, model: SparseFormer, embeddings: list[Tensor], trace: Trace) -> None:
    """Compares tokens after every unit, the points of every sampling, and the regions, where the case has them."""

    def first(key: str, tensor: Tensor) -> Tensor:
        return tensor[: len(case.outputs[key])]

    for index, embedding in enumerate(embeddings):
        if (key := f"stage{index}.embedding") in case.outputs:
            case.check(key, first(key, embedding))
    for index, stage in enumerate(trace.points):
        if (key := f"sample{index}.points") in case.outputs:
            case.check(key, first(key, trace.points[stage].xy))
    if case.config.get("layout") == "v1":
        for index in range(len(trace.regions) - 1):
            if (key := f"stage{index}.roi") in case.outputs:
                case.check(key, first(key, list(trace.regions.values())[index + 1].xyxy))
    if (key := "final_normed_embedding") in case.outputs:
        case.check(key, first(key, model.head.norm(embeddings[-1])).squeeze(0).view_as(case.outputs[key]))


@pytest.mark.slow
def test_one_file_of_weights_gives_both_codes_numbers() -> None:
    case = read(SYSTEM, "v2_tiny_from_v1")
    model = SparseFormer(SparseFormerConfig()).eval()
    load(model, case.state)
    preprocessing = variants()["sparseformer_tiny"].preprocessing
    with torch.inference_mode():
        case.check("logits_v1_numerics", model(normalised(case.inputs["image"], preprocessing.mean, preprocessing.std)))


# ------------------------------------------------------------------------------------------ single modules


@pytest.mark.parametrize("layout", ["v1", "v2"])
def test_early_convolution(layout: str) -> None:
    case = read(SYSTEM, f"module_early_conv_{layout}")
    numerics = NUMERICS[layout]
    module = EarlyConv(
        3, case.config["conv_dim"], eps=numerics.channel_norm_eps, unbiased=numerics.channel_norm_unbiased
    )
    module.load_state_dict({name.removeprefix("conv1."): tensor for name, tensor in case.state.items()})
    x = case.inputs["x"].requires_grad_()
    features = module(x)
    case.check("feat", features)
    with torch.inference_mode():
        case.check("feat", module(x))
    (features * case.inputs["w_feat"]).sum().backward()
    case.check_gradients({"x": x.grad, "conv1.weight": module.weight.grad, "conv1.bias": module.bias.grad})


def test_region_adjustment() -> None:
    case = read(SYSTEM, "module_roi_adjust")
    roi, delta = case.inputs["roi"].requires_grad_(), case.inputs["delta"].requires_grad_()
    moved = adjust_rois(roi, delta)
    case.check("roi", moved)
    (moved * case.inputs["w_roi"]).sum().backward()
    case.check_gradients({"roi": roi.grad, "delta": delta.grad})


@pytest.mark.parametrize("name", ["module_points_v1", "module_points_v2_degenerate"])
def test_points(name: str) -> None:
    case = read(SYSTEM, name)
    roi, offset = case.inputs["roi"].requires_grad_(), case.inputs["offset"].requires_grad_()
    points = decode_points(roi, offset.unflatten(-1, (-1, 2)), eps=NUMERICS[case.config["numerics"]].offset_eps)
    case.check("points", points)
    (points * case.inputs["w_points"]).sum().backward()
    case.check_gradients({"roi": roi.grad, "offset": offset.grad})


@pytest.mark.parametrize("name", ["module_sampling_v1", "module_sampling_v1_scale", "module_sampling_v2_border"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_sampling(name: str, memory_format: torch.memory_format) -> None:
    case = read(SYSTEM, name)
    features, points = case.inputs["feat"].requires_grad_(), case.inputs["points"].requires_grad_()
    looked = clamp_gradient(points, case.config["scale"] / features.shape[2]) if case.config["clamp"] else points
    sampled = sample_points(features.contiguous(memory_format=memory_format), looked, case.config["padding"])
    case.check("sampled", sampled)
    (sampled * case.inputs["w_sampled"]).sum().backward()
    case.check_gradients({"feat": features.grad, "points": points.grad})


@pytest.mark.parametrize("name", ["module_mixing_v1", "module_mixing_v2_nobias"])
def test_mixing(name: str) -> None:
    case = read(SYSTEM, name)
    words = case.config
    biased = words.get("mixing_bias", True)
    numerics = NUMERICS["v1" if words["layout"] == "v1" else "bootstrapped"]
    points = words["in_points"]
    module = AdaptiveMixing(
        words["query_dim"],
        channels=words["in_dim"],
        num_points=points,
        out_points=points if words["layout"] == "v1" else max(points, 32),
        hidden=words.get("pg_inner_dim", words["query_dim"] // 4),
        biases=biased,
        eps=numerics.generator_norm_eps,
    )
    prefix = "layers.0.adaptive_mixing."
    renamed = renamed_to_ours({prefix + key: value for key, value in case.state.items()}, "v1" if biased else "v2")
    names = {
        theirs.removeprefix(prefix): ours.removeprefix("focusing.mixing.") for ours, (theirs, _) in renamed.items()
    }
    module.load_state_dict({names[key]: value for key, value in case.state.items()})
    sampled, query = case.inputs["sampled"].requires_grad_(), case.inputs["query"].requires_grad_()
    out = module(sampled, query)
    case.check("out", out)
    (out * case.inputs["w_out"]).sum().backward()
    case.check_gradients(gradients_of(module, names, {"sampled": sampled, "query": query}))


def test_region_encoding() -> None:
    case = read(SYSTEM, "module_position_encoding")
    case.check("pe", encode_rois(case.inputs["roi"], case.config["dim"]))


@pytest.mark.parametrize(
    "name",
    ["module_focusing_stage_v1", "module_focusing_stage_btsp", "module_cortex_stage_v1", "module_cortex_stage_clip"],
)
def test_unit(name: str) -> None:
    case = read(SYSTEM, name)
    words = case.config
    shape = {
        "num_points": words.get("num_sampling_points", 9),
        "feature_channels": words.get("conv_dim", words.get("img_feat_dim", 12)),
    }
    bootstrapped: dict[str, Any] = {
        "numerics": "bootstrapped",
        "head_width": 64,
        "generator_width": 24,
        "mixing": "bare",
        "adjustment": "mlp",
        "stage_embedding": "learned",
        "cortex_activation": "quick_gelu" if words.get("quick_gelu") else "gelu",
    }
    config = SparseFormerConfig(**shape, **bootstrapped if words["layout"] == "v2" else {})
    plain = not words.get("sampling_enabled", False) and words.get("ops", ["ATTN", "MLP"]) == ["ATTN", "MLP"]
    order = (
        PLAIN if plain else tuple(OPERATIONS[op] for op in words["ops"]) if "ops" in words else config.focusing_order
    )
    repeats = words.get("repeats", 1)
    unit = SparseFormerUnit(config, words["dim"], order=order, drop_rates=[0.0] * repeats).eval()
    names = load(unit, case.state, prefix="layers.0.")
    inputs = {key: value.requires_grad_() for key, value in case.inputs.items() if not key.startswith("w_")}
    tokens, rois = inputs["embedding"], inputs.get("roi", torch.zeros(2, inputs["embedding"].shape[1], 4))
    view = SampledMap(inputs.get("feat", torch.zeros(2, 12, 4, 4)), None)
    for repeat in range(repeats):
        tokens, rois = unit(tokens, rois, view._replace(repeat=repeat))
    case.check("embedding", tokens)
    loss = (tokens * case.inputs["w_embedding"]).sum()
    if "roi" in case.outputs:
        case.check("roi", rois)
        loss = loss + (rois * case.inputs["w_roi"]).sum()
    loss.backward()
    case.check_gradients(gradients_of(unit, names, inputs))


def test_initial_grids() -> None:
    case = read(SYSTEM, "init_grids")
    for name in case.outputs:
        kind, _, number = name.partition(".")
        count = int(number[1:])
        case.check(name, first_rois(count) if kind == "token_roi" else grid_offsets(count).flatten())
