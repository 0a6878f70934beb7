"""SparseFormer over time: from image weights, on any number of frames, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sparsevision import create_model
from sparsevision.checkpoints import read_checkpoint, save_checkpoint
from sparsevision.checkpoints.backbones import fill_backbone
from sparsevision.checkpoints.downloads import released_weights
from sparsevision.errors import CheckpointError, ConfigError
from sparsevision.factory import load_model
from sparsevision.kernels.dispatch import plain_operators
from sparsevision.models.registry import variant_named
from sparsevision.models.sparseformer.clip_features import FrameMaps
from sparsevision.packing import pack_weights
from sparsevision.types import Preprocessing, Trace

NAME = "video_sparseformer_nano"
SMALL = {
    "num_tokens": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 16, "focusing_repeats": 2,
    "cortex_width": 32, "cortex_depth": 2, "head_width": 8, "inflation": 3,
}  # fmt: skip
NANO = released_weights(variant_named("sparseformer_nano"))


def small(**options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    model = create_model(NAME, **SMALL | options).eval()
    with torch.no_grad():  # tokens that move, in time, too
        for name, parameter in model.named_parameters():
            if name.endswith(("adjust.fc.weight", "offset.fc.weight")):
                parameter.normal_(0, 0.3)
    return model


def clip(frames: int = 6, batch: int = 2, size: tuple[int, int] = (40, 56)) -> Tensor:
    return torch.rand(batch, 3, frames, *size, generator=torch.Generator().manual_seed(1))


def test_image_weights_inflated_once_answer_as_the_image_network() -> None:
    image = create_model("sparseformer_nano", pretrained=True).eval()
    video = create_model(NAME, checkpoint=NANO, inflation=1).eval()
    images = torch.rand(2, 3, 96, 128)
    with torch.inference_mode():
        torch.testing.assert_close(video(images.unsqueeze(2)), image(images), rtol=1e-5, atol=1e-5)
    assert video.identity.labels == image.identity.labels
    assert video.identity.preprocessing.frames == 16
    assert video.identity.preprocessing.mean == image.identity.preprocessing.mean


def test_copies_of_tokens_tile_the_clip() -> None:
    model = create_model(NAME, checkpoint=NANO, inflation=4)
    state = read_checkpoint(NANO).state
    tubes = model.tokens.roi.detach().view(4, -1, 6)
    for copy in range(4):
        torch.testing.assert_close(tubes[copy][:, [0, 1, 3, 4]], state["tokens.roi"].float())
        assert (tubes[copy][:, 2] == copy / 4).all()
        assert (tubes[copy][:, 5] == (copy + 1) / 4).all()
    torch.testing.assert_close(model.tokens.embedding.detach()[-36:], state["tokens.embedding"].float())


@pytest.mark.parametrize(("init", "extent"), [("zero", 0.0), ("spread", 0.5)])
def test_points_begin_in_the_middle_of_a_tube_or_spread_over_it(init: str, extent: float) -> None:
    fresh, inflated = (
        create_model(NAME, temporal_offset_init=init, **options)
        for options in ({}, {"checkpoint": NANO, "num_classes": 2})
    )
    for model in (fresh, inflated):
        times = model.focusing.offset.bias.detach().view(-1, 3)[:, 2]
        torch.testing.assert_close(times, torch.linspace(-extent, extent, 16))
        trace = Trace("points", "regions")
        with torch.inference_mode():
            model(torch.rand(1, 3, 4, 64, 64), trace=trace)
        points, tubes = trace.points["focusing.1"].xy, trace.regions["focusing.1"].xyxy
        middle = (tubes[..., 2] + tubes[..., 5]) / 2
        torch.testing.assert_close(points[..., 2].mean(-1), middle)
        assert (points[..., 2].std(-1) > 1e-3).all() == (init == "spread")


def test_a_backbone_is_filled_with_the_classifiers_weights() -> None:
    model = create_model(NAME, num_classes=2, inflation=2)
    assert fill_backbone(model, "pretrained") > 100
    torch.testing.assert_close(model.bridge.fc.weight.detach(), read_checkpoint(NANO).state["bridge.fc.weight"].float())


def test_frames_that_are_not_read_are_not_computed_and_nothing_changes() -> None:
    model = create_model(NAME, **SMALL).eval()
    lazy = create_model(NAME, **SMALL, computed_frames="read").eval()
    lazy.load_state_dict(model.state_dict())
    x = clip(frames=24)
    counted: list[int] = []
    lazy.early_conv.register_forward_hook(lambda *call: counted.append(len(call[1][0])))
    with torch.inference_mode():
        torch.testing.assert_close(lazy(x), model(x), rtol=1e-5, atol=1e-5)
    assert 2 * 3 * 2 <= sum(counted) <= 2 * (3 * 2 + 1)
    # With gradients all are computed: what is read changes while it is learned.
    torch.testing.assert_close(lazy(x), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 7])
def test_any_number_of_frames_and_both_forms_of_operators(frames: int) -> None:
    model, x = small(), clip(frames)
    fast = model(x)
    with plain_operators():
        plain = model(x)
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad(answer.square().sum(), model.tokens.roi)[0] for answer in (fast, plain)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4 * float(gradients[0].abs().max()))


def test_borders_are_repeated_in_time_as_in_space() -> None:
    numerics = {"numerics": "bootstrapped", "mixing": "bare"}
    model, x = small(**numerics), clip(3)
    with torch.inference_mode():
        fast = model(x)
        with plain_operators():
            torch.testing.assert_close(model(x), fast, rtol=1e-4, atol=1e-5)


def test_it_is_saved_loaded_and_packed(tmp_path: Path) -> None:
    model, x = small(num_classes=3), clip()
    view = Preprocessing(size=(40, 56), frames=6, clip_seconds=1.5, clips=2, crops=3)
    save_checkpoint(tmp_path / "kept", model, name=NAME, preprocessing=view, labels=("a", "b", "c"))
    again = load_model(tmp_path / "kept").eval()
    assert again.identity.preprocessing == view
    assert again.config == model.config
    with torch.inference_mode():
        torch.testing.assert_close(again(x), model(x))
        pack_weights(again)
        torch.testing.assert_close(again(x), model(x), rtol=1e-4, atol=1e-5)


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    model, x = small().train(), clip(4)
    kept: list[Tensor] = []
    for enabled in (False, True):
        model.set_grad_checkpointing(enabled)
        model.zero_grad()
        model(x).square().sum().backward()
        kept.append(model.early_conv.weight.grad.clone())
    torch.testing.assert_close(*kept)


def test_memory_of_a_frame_is_made_frame_by_frame() -> None:
    sizes: list[int] = []

    def early(frames: Tensor) -> Tensor:
        sizes.append(len(frames))
        return frames[:, :, ::4, ::4]

    with torch.inference_mode():
        maps = FrameMaps(clip(5), early)
    assert sizes == [1] * 10
    torch.testing.assert_close(maps.maps[7], clip(5)[1, :, 2, ::4, ::4])


def test_what_does_not_fit_is_refused() -> None:
    model = small()
    with pytest.raises(ConfigError, match=r"clips of shape \(batch, 3, frames, height, width\); it was given"):
        model(torch.rand(1, 3, 40, 56))
    with pytest.raises(ConfigError, match="one size, unpadded"):
        model(clip(2), sizes=torch.tensor([[40, 50], [40, 56]]))
    with pytest.raises(CheckpointError, match="'sparseformer_nano'; 'video_sparseformer_tiny' starts from those of"):
        create_model("video_sparseformer_tiny", checkpoint=NANO)
    with pytest.raises(ConfigError, match="inflation"):
        create_model(NAME, inflation=0)
    with pytest.raises(ConfigError, match="early_conv"):
        create_model(NAME, image_feature="rgb")
