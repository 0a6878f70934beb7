"""The video network against the released library's: every video case, in the plain and in the fast form."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))
from golden_cases import Case, folder, normalised, read
from sparseformer_cases import config_of, gradients_of, load

from sparsevision.checkpoints.layouts import renamed_to_ours
from sparsevision.kernels.dispatch import plain_operators
from sparsevision.models.sparseformer.clip_features import sample_frames
from sparsevision.models.sparseformer.config import NUMERICS
from sparsevision.models.sparseformer.network import SparseFormer
from sparsevision.models.sparseformer.rois import adjust_rois
from sparsevision.models.sparseformer.sampling import decode_points
from sparsevision.models.sparseformer.unit import SparseFormerUnit
from sparsevision.models.sparseformer.video import VideoSparseFormer, VideoSparseFormerConfig, inflated
from sparsevision.types import Trace

SYSTEM = "sparseformer"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(params=["plain", "fast"], autouse=True)
def form(request: pytest.FixtureRequest) -> Any:
    with plain_operators() if request.param == "plain" else nullcontext():
        yield request.param


def video_config(case: Case, **options: Any) -> VideoSparseFormerConfig:
    image = config_of(case.config, case.state)
    return VideoSparseFormerConfig(**asdict(image), inflation=case.config["replicates"], **options)


def image_tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our names; the released code stores the convolution of each frame with an axis more."""
    renamed = renamed_to_ours(state, "v2" if "cls_embedding.weight" not in state else "bootstrapped")
    return {ours: squeezed(tensor) for ours, (_, tensor) in renamed.items()}


def squeezed(tensor: Tensor) -> Tensor:
    return tensor.squeeze(2) if tensor.ndim == 5 else tensor


@pytest.mark.parametrize("lazy", ["all", "read"])
@pytest.mark.parametrize("name", ["video_small_r1_t1", "video_small_r2_t5_grad", "video_btsp_small_r3_t4"])
def test_video(name: str, lazy: str) -> None:
    case = read(SYSTEM, name)
    model = VideoSparseFormer(video_config(case, computed_frames=lazy)).eval()
    names = load(model, {key: squeezed(tensor) for key, tensor in case.state.items()})
    with torch.inference_mode():
        check(case, model, case.inputs["x"], "")
    if not case.grads:
        return
    x = case.inputs["x"].requires_grad_()
    (check(case, model, x, "") * case.inputs["w"]).sum().backward()
    found = gradients_of(model, names, {"x": x})
    key = "feat_extractor.conv1.weight"
    case.check_gradients(found | {key: found[key].unsqueeze(2)})


INFLATED = sorted(path.stem for path in folder(SYSTEM).glob("video_*_inflate_*.json"))


def test_the_small_case_of_inflation_is_there() -> None:
    assert "video_small_inflate_r3" in INFLATED


# Networks of full size are not shipped, and take seconds.
@pytest.mark.parametrize(
    "name", [name if "small" in name else pytest.param(name, marks=pytest.mark.slow) for name in INFLATED]
)
def test_inflated_image_weights(name: str) -> None:
    case = read(SYSTEM, name)
    config = video_config(case)
    model, ours = VideoSparseFormer(config).eval(), image_tensors(case.state)
    tensors = inflated(ours, config)
    model.load_state_dict(tensors)
    theirs = renamed_to_ours(
        {key.removeprefix("inflated."): value for key, value in case.outputs.items() if key.startswith("inflated.")},
        "v2",
    )
    assert theirs or "tiny" in name
    for ours_name, (_, tensor) in theirs.items():
        torch.testing.assert_close(tensors[ours_name], tensor, rtol=0, atol=1e-7)
    for key, clip in case.inputs.items():
        with torch.inference_mode():
            if clip.dtype == torch.uint8:
                clip = normalised(clip.transpose(1, 2), *IMAGENET).transpose(1, 2)
            check(case, model, clip, f"{key}.")


def check(case: Case, model: VideoSparseFormer, clip: Tensor, prefix: str) -> Tensor:
    embeddings: list[Tensor] = []
    hooks = [
        unit.register_forward_hook(lambda _, __, output: embeddings.append(output[0]))
        for unit in model.modules()
        if isinstance(unit, SparseFormerUnit)
    ]
    trace = Trace("points", "regions")
    logits: Tensor = model(clip, trace=trace)
    for hook in hooks:
        hook.remove()
    case.check(f"{prefix}logits", logits)
    found = {f"{prefix}stage{index}.embedding": embedding for index, embedding in enumerate(embeddings)}
    found |= {f"{prefix}sample{index}.points": points.xy for index, points in enumerate(trace.points.values())}
    compared = [case.check(key, tensor) for key, tensor in found.items() if key in case.outputs]
    assert len(compared) > 3
    return logits


def test_one_frame_is_the_image() -> None:
    case = read(SYSTEM, "video_small_inflate_r3")
    config = video_config(case)
    one = VideoSparseFormerConfig(**asdict(config) | {"inflation": 1})
    image, ours = SparseFormer(config_of(case.config, case.state)).eval(), image_tensors(case.state)
    video = VideoSparseFormer(one).eval()
    image.load_state_dict(ours)
    video.load_state_dict(inflated(ours, one))
    x = case.inputs["x1"]
    with torch.inference_mode():
        torch.testing.assert_close(video(x), image(x[:, :, 0]), rtol=1e-5, atol=1e-6)


def test_tubes_are_adjusted() -> None:
    case = read(SYSTEM, "module_roi_adjust_3d")
    roi, delta = case.inputs["roi"].requires_grad_(), case.inputs["delta"].requires_grad_()
    moved = adjust_rois(roi, delta)
    case.check("roi", moved)
    (moved * case.inputs["w_roi"]).sum().backward()
    case.check_gradients({"roi": roi.grad, "delta": delta.grad})


def test_points_in_time() -> None:
    case = read(SYSTEM, "module_points_3d")
    roi, offset = case.inputs["roi"].requires_grad_(), case.inputs["offset"].requires_grad_()
    points = decode_points(roi, offset.unflatten(-1, (-1, 3)), eps=NUMERICS["v2"].offset_eps)
    case.check("points", points)
    (points * case.inputs["w_points"]).sum().backward()
    case.check_gradients({"roi": roi.grad, "offset": offset.grad})


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_sampling_in_time(memory_format: torch.memory_format) -> None:
    case = read(SYSTEM, "module_sampling_3d")
    features, points = case.inputs["feat"].requires_grad_(), case.inputs["points"].requires_grad_()
    batch, _, frames = features.shape[:3]
    maps = features.transpose(1, 2).flatten(0, 1).contiguous(memory_format=memory_format)
    sampled = sample_frames(maps, torch.arange(batch * frames).view(batch, frames), points, case.config["padding"])
    case.check("sampled", sampled)
    (sampled * case.inputs["w_sampled"]).sum().backward()
    case.check_gradients({"feat": features.grad, "points": points.grad})
