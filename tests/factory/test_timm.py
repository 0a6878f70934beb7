"""After `import sparsevision.timm`, timm's verbs do with our models what timm's documentation says."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import timm
import torch
from timm.data import create_transform, resolve_data_config
from timm.optim import create_optimizer_v2, param_groups_layer_decay
from torch import nn

import sparsevision.timm
from sparsevision.errors import CheckpointError, ConfigError
from sparsevision.factory import list_models

SMALL = {"num_tokens": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 64, "cortex_width": 64}
IMAGES = torch.linspace(0, 1, 2 * 3 * 40 * 40).view(2, 3, 40, 40)


def _make(**options: object) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("sparseformer_nano", cortex_depth=3, **SMALL, **options).eval()


def test_timm_lists_our_models() -> None:
    # timm's models are classifiers.
    classifiers = [name for name in list_models("sparseformer*") if not {"segmenter", "detector"} & {*name.split("_")}]
    assert timm.list_models("sparseformer*") == classifiers
    assert "sparseformer_tiny.imagenet1k" in timm.list_pretrained("sparseformer*")
    assert sparsevision.timm.sparseformer_tiny.__module__ == "sparsevision.timm"


def test_the_whole_tiny_is_made_by_name() -> None:
    model = timm.create_model("sparseformer_tiny")
    assert sum(parameter.numel() for parameter in model.parameters()) == 31_522_212
    assert model.num_classes == model.default_cfg["num_classes"] == 1000


def test_outputs_follow_num_classes_global_pool_and_in_chans() -> None:
    assert _make(num_classes=5)(IMAGES).shape == (2, 5)
    assert _make(num_classes=0)(IMAGES).shape == (2, 64)
    assert _make(num_classes=0, global_pool="")(IMAGES).shape == (2, 4, 64)
    assert _make(in_chans=1)(IMAGES[:, :1]).shape == (2, 101)


def test_features_are_the_tokens_and_the_head_finishes_them() -> None:
    model = _make(num_classes=5)
    tokens = model.forward_features(IMAGES)
    assert tokens.shape == (2, 4, model.num_features)
    assert model.forward_head(tokens, pre_logits=True).shape == (2, model.num_features)
    assert torch.equal(model.forward_head(tokens), model(IMAGES))
    model.reset_classifier(7)
    assert model(IMAGES).shape == (2, 7)
    assert model.get_classifier().out_features == 7


def test_intermediates_are_the_tokens_after_each_unit() -> None:
    model = copy.deepcopy(_make())
    final, tokens = model.forward_intermediates(IMAGES)
    assert [tuple(each.shape) for each in tokens] == [(2, 4, 64)] * 3
    assert torch.equal(tokens[-1], final)
    (last,) = model.forward_intermediates(IMAGES, indices=1, norm=True, intermediates_only=True)
    assert torch.equal(last, model.head.norm(final))
    chosen = model.forward_intermediates(IMAGES, indices=[0, -1], intermediates_only=True)
    assert torch.equal(chosen[0], tokens[0])
    assert torch.equal(chosen[1], tokens[2])
    assert not any(unit._forward_hooks for unit in model.cortex)
    for wrong in ({"indices": 9}, {"indices": [3]}, {"output_fmt": "NCHW"}):
        with pytest.raises(ConfigError):
            model.forward_intermediates(IMAGES, **wrong)


def test_feature_maps_are_refused_with_the_way_out() -> None:
    with pytest.raises(ConfigError, match=r"no feature maps.*forward_intermediates"):
        _make(features_only=True)


def test_layer_decay_gives_earlier_layers_smaller_rates() -> None:
    model = _make()
    scale = {}
    for group in param_groups_layer_decay(model, layer_decay=0.5, no_weight_decay_list=model.no_weight_decay()):
        for parameter in group["params"]:
            scale[id(parameter)] = group["lr_scale"]
    by_name = {name: scale[id(parameter)] for name, parameter in model.named_parameters()}
    ordered = [
        "early_conv.weight", "focusing.attn.qkv.weight", "cortex.0.attn.qkv.weight", "cortex.1.attn.qkv.weight",
        "cortex.2.attn.qkv.weight", "head.fc.weight",
    ]  # fmt: skip
    assert [by_name[name] for name in ordered] == [2.0**-step for step in range(5, -1, -1)]
    assert by_name["tokens.roi"] == by_name["early_conv.weight"]
    assert len(create_optimizer_v2(model, opt="adamw", layer_decay=0.7).param_groups) > 2


def test_timm_prepares_images_as_the_models_want_them() -> None:
    settings = resolve_data_config({}, model=_make())
    assert settings["input_size"] == (3, 160, 160)
    assert create_transform(**settings) is not None


def test_weights_in_any_layout_load_through_timms_overlay(tmp_path: Path) -> None:
    import sparsevision

    torch.manual_seed(3)
    theirs = sparsevision.create_model("sparseformer_nano", cortex_depth=3, **SMALL)
    torch.save(
        {"model_ema": {f"module.{name}": value for name, value in theirs.state_dict().items()}}, tmp_path / "w.pth"
    )
    overlay = {"file": str(tmp_path / "w.pth")}
    same = _make(pretrained=True, pretrained_cfg_overlay=overlay)
    grey = _make(pretrained=True, pretrained_cfg_overlay=overlay, num_classes=5, in_chans=1)
    assert torch.equal(same.head.fc.weight, theirs.head.fc.weight)
    assert torch.equal(grey.tokens.roi, theirs.tokens.roi)
    assert torch.allclose(grey.early_conv.weight, theirs.early_conv.weight.sum(1, keepdim=True))
    assert grey.num_classes == 5


def test_published_weights_that_cannot_be_fetched_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSEVISION_CACHE", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", _no_network)
    with pytest.raises(CheckpointError, match=r"sparseformer_t_imagenet1k\.pth on a machine that can"):
        timm.create_model("sparseformer_tiny", pretrained=True)


def _no_network(*_: object, **__: object) -> None:
    raise OSError("no network")


def test_copies_go_their_own_way() -> None:
    model = _make()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        model.tokens.embedding += 1
    assert not torch.equal(twin.forward_intermediates(IMAGES)[0], model.forward_intermediates(IMAGES)[0])
