"""VT-ResNets through the factory: ResNets' weights, fresh heads and tokens, other channels, what cannot be built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sparsevision import Trace, create_model
from sparsevision.checkpoints import save_checkpoint
from sparsevision.checkpoints.backbones import fill_backbone
from sparsevision.errors import CheckpointError, ConfigError, UnknownNameError
from sparsevision.factory import load_model
from sparsevision.models.visual_transformer.tokenizers import k_means
from sparsevision.training.distillation import logits_and_features
from sparsevision.types import Preprocessing

NARROW: dict[str, Any] = {
    "width": 8, "feature_width": 64, "token_width": 64, "num_heads": 4, "group_width": 16, "num_classes": 5,
}  # fmt: skip
IMAGES = (2, 3, 64, 96)


def narrow(name: str = "vt_resnet18", **more: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model(name, **{**NARROW, **more}).eval()


def saved(model: torch.nn.Module, folder: Path) -> Path:
    labels = tuple("abcde")[: model.num_classes]
    return save_checkpoint(folder, model, name="vt_resnet18", preprocessing=Preprocessing(), labels=labels)


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_resnets_weights_fill_stem_and_stages(library: str, tmp_path: Path) -> None:
    import timm
    import torchvision

    make = timm.create_model if library == "timm" else torchvision.models.get_model
    theirs = make("resnet18").eval()
    save_file({name: tensor.contiguous() for name, tensor in theirs.state_dict().items()}, tmp_path / "r18.safetensors")
    model = create_model("vt_resnet18", num_classes=5).eval()
    filled = fill_backbone(model, str(tmp_path / "r18.safetensors"))
    assert filled == sum(not name.startswith(("layer4.", "fc.")) for name in theirs.state_dict())
    assert torch.equal(model.layer3[1].bn2.running_var, theirs.layer3[1].bn2.running_var)
    grey = create_model("vt_resnet18", num_classes=5, in_chans=1)
    assert fill_backbone(grey, str(tmp_path / "r18.safetensors")) == filled
    torch.testing.assert_close(grey.conv1.weight, theirs.conv1.weight.sum(1, keepdim=True))
    with pytest.raises(CheckpointError, match="give the weights of the backbone"):
        fill_backbone(create_model("vt_resnet34", num_classes=5), str(tmp_path / "r18.safetensors"))


def test_weights_say_what_model_they_are_of(tmp_path: Path) -> None:
    model = narrow(recurrence="half", num_tokens=6)
    images = torch.rand(IMAGES)
    with torch.inference_mode():
        assert torch.equal(load_model(saved(model, tmp_path / "vt")).eval()(images), model(images))
    whole = create_model("vt_resnet50")
    assert load_model(whole.state_dict()).identity.name == "vt_resnet50"
    shaped = create_model("vt_resnet18", num_classes=7).state_dict()
    assert load_model(shaped).num_classes == 7


def test_a_head_and_tokens_start_fresh_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = saved(narrow(), tmp_path / "vt")
    wider = create_model("vt_resnet18", checkpoint=folder, num_classes=3, num_tokens=9, fresh_tokens=True)
    assert set(wider.identity.report.fresh) == {"fc.weight", "fc.bias", "vt.0.tokenizer.coef.weight"}
    with pytest.raises(CheckpointError, match=r"num_tokens is 16, not 9; fresh_tokens=True"):
        create_model("vt_resnet18", checkpoint=folder, num_tokens=9)


def test_another_number_of_channels_takes_the_sum_of_the_first_weights(tmp_path: Path) -> None:
    model = narrow()
    grey = create_model("vt_resnet18", checkpoint=saved(model, tmp_path / "vt"), in_chans=1)
    torch.testing.assert_close(grey.conv1.weight, model.conv1.weight.sum(dim=1, keepdim=True))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"depth": 19}, "depth"),
        ({"num_heads": 7}, "does not divide by num_heads"),
        ({"token_groups": 5}, "does not divide by token_groups"),
        ({"group_width": 20}, "does not divide into groups"),
        ({"feature_width": 96}, "do not divide into the 6 groups of feature_width 96"),
        ({"token_width": 17, "num_heads": 8, "token_groups": 1}, "must be even"),
        ({"num_tokens": 0}, "must be at least 1"),
        ({"num_tokens": 1, "recurrence": "half"}, "num_tokens must be at least 2"),
        ({"drop_path_rate": 1.0}, "below 1"),
        ({"kmeans_iterations": -1}, "must be at least 0"),
    ],
)
def test_what_cannot_be_built_is_one_sentence(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        narrow(**fields)
    assert len(str(caught.value).splitlines()) == 1


def test_an_unknown_form_gets_the_known_ones() -> None:
    with pytest.raises((UnknownNameError, ConfigError), match="relation"):
        narrow(relation="atention")


@pytest.mark.parametrize(
    "fields",
    [
        {"tokenizer": "pool"}, {"tokenizer": "cluster", "kmeans_iterations": 2}, {"recurrence": "none"},
        {"recurrence": "half"}, {"relation": "graph"}, {"relation": "none"}, {"projector": "none"},
        {"form": "equation"}, {"num_tokens": 7}, {"relation": "none", "token_width": 66, "token_groups": 1},
    ],
)  # fmt: skip
def test_every_form_takes_any_size_and_learns(fields: dict[str, Any]) -> None:
    model = narrow(**fields).train()
    model(torch.rand(3, 3, 50, 70)).square().sum().backward()
    # k-means passes no gradient on; everything else learns.
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_trace_says_where_tokens_were_read() -> None:
    trace = Trace()
    with torch.inference_mode():
        narrow()(torch.rand(IMAGES), trace=trace)
    assert list(trace.token_maps) == ["module.1", "module.2"]
    for found in trace.token_maps.values():
        for maps in (found.read, found.interaction):
            assert maps.shape == (2, 16, 4, 6)
            torch.testing.assert_close(maps.sum(dim=(2, 3)), torch.ones(2, 16))
    assert trace.has >= {"token_maps", "token_maps.read", "token_maps.interaction", "response"}
    assert trace.response["head"].logits.shape == (2, 16, 5)
    half = Trace("token_maps")
    with torch.inference_mode():
        narrow(recurrence="half")(torch.rand(IMAGES), trace=half)
    # Half of the tokens stayed, and so did the places where they were read; they stand before the new ones.
    first, second = (half.token_maps[f"module.{index}"].read for index in (1, 2))
    assert torch.equal(second[:, :8], first[:, 8:])
    interaction = half.token_maps["module.2"].interaction
    torch.testing.assert_close(interaction.sum(dim=(2, 3)), torch.ones(2, 16))


def test_without_a_projector_the_first_modules_places_stay() -> None:
    trace = Trace("token_maps")
    with torch.inference_mode():
        narrow(projector="none")(torch.rand(IMAGES), trace=trace)
    assert torch.equal(trace.token_maps["module.1"].read, trace.token_maps["module.2"].read)
    assert trace.token_maps["module.2"].interaction is not None


@pytest.mark.parametrize("fields", [{"num_tokens": 1}, {"num_tokens": 3, "recurrence": "half"}])
def test_one_token_to_norm_is_refused_in_training(fields: dict[str, Any]) -> None:
    model, image = narrow(**fields), torch.rand(1, 3, 64, 64)
    assert model(image).shape == (1, 5)
    with pytest.raises(ConfigError, match="more than one token"):
        model.train()(image)


def test_recomputing_activations_leaves_statistics_alone() -> None:
    plain, thrifty = narrow().train(), narrow().train()
    thrifty.set_grad_checkpointing()
    images = torch.rand(IMAGES)
    for model in (plain, thrifty):
        model(images).square().sum().backward()
    for (name, one), (_, other) in zip(plain.named_buffers(), thrifty.named_buffers(), strict=True):
        torch.testing.assert_close(other, one, msg=name)
    for one, other in zip(plain.parameters(), thrifty.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad)


def test_a_black_image_has_clusters_in_half_precision() -> None:
    model = narrow(tokenizer="cluster").bfloat16()
    assert model(torch.zeros(1, 3, 64, 64, dtype=torch.bfloat16)).isfinite().all()
    black = torch.zeros(1, 8, 4, 4, dtype=torch.float16)
    assert k_means(black, 4, 1).isfinite().all()


def test_distilling_features_keeps_the_students_dropout() -> None:
    model = narrow(dropout=0.9)
    model.dropout.train()
    images = torch.rand(IMAGES)
    torch.manual_seed(1)
    logits, pooled = logits_and_features(model, images)
    torch.manual_seed(1)
    assert torch.equal(logits, model(images))
    assert not torch.equal(model.fc(pooled), logits)


def test_padding_is_refused() -> None:
    model, images = narrow(), torch.rand(IMAGES)
    assert model(images, sizes=torch.tensor([[64, 96], [64, 96]])).shape == (2, 5)
    with pytest.raises(ConfigError, match="reads padding as a part of the image"):
        model(images, sizes=torch.tensor([[64, 96], [64, 80]]))


def test_timm_makes_them() -> None:
    import timm

    import sparsevision.timm  # noqa: F401

    model = timm.create_model("vt_resnet18", num_classes=4, drop_path_rate=0.1, drop_rate=0.2)
    assert model.config.dropout == 0.2
    assert timm.create_model("vt_resnet18", dropout=0.3).config.dropout == 0.3
    maps = timm.create_model("vt_resnet18", features_only=True)(torch.rand(1, 3, 64, 64))
    assert [tuple(each.shape[1:]) for each in maps] == [
        (64, 32, 32),
        (64, 16, 16),
        (128, 8, 8),
        (256, 4, 4),
        (512, 4, 4),
    ]
    layers = timm.models.group_parameters(model, model.group_matcher(), reverse=True)
    ordered = ["conv1.weight", "layer1.0.conv1.weight", "layer3.1.bn2.bias", "vt.0.tokenizer.coef.weight",
               "vt.1.tokenizer.key.weight", "fc.weight"]  # fmt: skip
    assert [layers[name] for name in ordered] == sorted({layers[name] for name in ordered})
    assert model.default_cfg["classifier"] == "fc"
    assert model.default_cfg["first_conv"] == "conv1"
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 4)
    assert timm.list_models("vt_resnet*") == ["vt_resnet18", "vt_resnet34", "vt_resnet50", "vt_resnet101"]
