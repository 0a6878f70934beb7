"""The segmenters: backbones and their weights, tokens from a classifier, paths that agree, and what is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sparsevision import create_model
from sparsevision.checkpoints.backbones import fill_backbone
from sparsevision.errors import CheckpointError, ConfigError
from sparsevision.factory import load_model
from sparsevision.kernels.dispatch import plain_operators
from sparsevision.measure.cost_table import count_rows
from sparsevision.models.sparseformer import segmenter, segmenter_published
from sparsevision.models.sparseformer.segmenter import location_bias
from sparsevision.models.visual_transformer import fpn_published
from sparsevision.models.visual_transformer.fpn import FPNSegmenter
from sparsevision.models.visual_transformer.fpn_config import FPNConfig
from sparsevision.types import Trace

SMALL = {"width": 16, "token_width": 32, "num_heads": 4, "groups": 4, "head_width": 16, "head_groups": 4}


@pytest.mark.parametrize("neck", ["tokens", "pyramid"])
@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_resnet", "test_convnext", "resnet18"])
def test_any_timm_backbone(backbone: str, neck: str) -> None:
    model = create_model("vt_fpn_r50", num_classes=3, backbone=backbone, neck=neck, **SMALL).eval()
    with torch.no_grad():
        for size in ((64, 96), (33, 70)):
            head = model(torch.randn(1, 3, *size)).heads[0]
            assert head.logits.shape == (1, 3, -(-size[0] // 4), -(-size[1] // 4))
            assert head.stride == 4


def test_a_backbone_without_the_maps_is_refused() -> None:
    with pytest.raises(ConfigError, match="timm makes no feature maps of strides 4 to 32"):
        create_model("vt_fpn_r50", backbone="test_vit", **SMALL)
    with pytest.raises(ConfigError, match="head_width is 16, which does not divide by head_groups, 5"):
        FPNConfig(head_width=16, head_groups=5)


@pytest.mark.parametrize("name", ["resnet50", "resnet101"])
def test_torchvisions_weights_fill_the_backbone(name: str, tmp_path: Path) -> None:
    import torchvision

    theirs = getattr(torchvision.models, name)(weights=None).eval()
    torch.manual_seed(0)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    model = FPNSegmenter(FPNConfig(backbone=name, neck="pyramid", **SMALL)).eval()
    assert fill_backbone(model, str(tmp_path / "weights.safetensors")) == len(model.backbone.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))
        for stage, found in zip(range(1, 5), model.backbone(images), strict=True):
            x = getattr(theirs, f"layer{stage}")(x)
            # Folded norms round otherwise, and a hundred layers with random norms enlarge that.
            assert (found - x).abs().max() < 1e-4 * x.abs().max()


def test_the_stem_and_the_first_stage_rest_as_in_detectron2() -> None:
    model = create_model("fpn_r50")
    resting = {name.split(".")[1] for name, each in model.named_parameters() if not each.requires_grad}
    assert resting >= {"conv1", "layer1"}
    assert not resting & {"layer2", "layer3", "layer4"}
    nano = create_model("vt_fpn_nano")
    rates = {group.name: group.lr_scale for group in nano.parameter_groups()}
    assert rates == {"backbone_decay": 0.3, "decay": 1.0, "no_decay": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("costs", [fpn_published.COSTS, segmenter_published.COSTS], ids=["fpn", "segmenter"])
def test_published_costs_are_met(costs: object) -> None:
    table = count_rows(costs)
    assert table.agrees, table.cells()
    assert len(table.counted) == (9 if costs is fpn_published.COSTS else 3)


# --------------------------------------------------------------------------------------------- SparseFormer's segmenter


def test_it_starts_from_a_classifier_with_tokens_of_its_own_number() -> None:
    shipped = create_model("sparseformer_nano", pretrained=True).state_dict()
    for tokens in (36, 100):
        model = create_model("sparseformer_segmenter_nano", num_tokens=tokens)
        fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        number = fill_backbone(model, "pretrained")
        assert number == fill_backbone(model, "sparseformer_nano") == len(model.backbone_tensors()) - 2 * (tokens != 36)
        state = model.state_dict()
        assert torch.equal(state["backbone.early_conv.weight"], shipped["early_conv.weight"])
        for name in ("tokens.roi", "tokens.embedding"):
            assert torch.equal(state[f"backbone.{name}"], shipped[name] if tokens == 36 else fresh[f"backbone.{name}"])
    with pytest.raises(CheckpointError, match="holds no"):
        fill_backbone(create_model("sparseformer_segmenter_nano"), "sparse_detr_nano")


def test_only_a_map_of_stride_4_is_restored() -> None:
    for options in ({"image_feature": "rgb"}, {"readout": "class_token"}, {"restored_heads": 3}):
        with pytest.raises(ConfigError):
            create_model("sparseformer_segmenter_nano", **options)


def test_the_bias_is_minus_the_squared_distance_in_sides_of_the_region() -> None:
    rois = torch.tensor([[[0.2, 0.1, 0.6, 0.9], [0.5, 0.5, 0.5, 0.5]]])
    bias = location_bias(rois, torch.Size((4, 8)), (1, 3)).view(1, 2, 2, 8)
    x, y = 2.5 / 8, 1.5 / 4
    assert bias[0, 0, 0, 2] == pytest.approx(-(((x - 0.4) / 0.4) ** 2) - ((y - 0.5) / 0.8) ** 2)
    assert bias.isfinite().all()


@pytest.mark.parametrize("block", [1 << 15, 97])
def test_blocks_change_no_number(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = create_model("sparseformer_segmenter_nano", num_classes=5).eval()
    for module in model.decoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    monkeypatch.setattr(segmenter, "BLOCK", block)
    images = torch.randn(2, 3, 75, 130)
    with torch.no_grad():
        fast = model(images).heads[0].logits
        with plain_operators():
            plain = model(images).heads[0].logits
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)
    assert fast.shape == (2, 5, 19, 33)


def test_what_is_recorded() -> None:
    images = torch.randn(1, 3, 70, 100)
    trace = Trace()
    with torch.no_grad():
        create_model("sparseformer_segmenter_nano").eval()(images, trace=trace)
    given = trace.token_maps["restored"].given
    assert given.shape == (1, 100, 18, 25)
    torch.testing.assert_close(given.sum(1), torch.ones(1, 18, 25))
    assert trace.token_maps["restored"].read is None
    assert {"token_maps.given", "points", "regions"} <= trace.has
    trace = Trace("token_maps")
    with torch.no_grad():
        create_model("vt_fpn_nano").eval()(images, trace=trace)
    # Of the padding to 96 x 128 nothing is shown.
    shapes = [maps.read.shape[2:] for maps in trace.token_maps.values()]
    assert shapes == [(18, 25), (9, 13), (5, 7), (3, 4)]
    for maps in trace.token_maps.values():
        torch.testing.assert_close(maps.read.sum((2, 3)), torch.ones(1, 8))
        torch.testing.assert_close(maps.given.sum(1), torch.ones(1, *maps.given.shape[2:]))


def test_images_that_were_padded_are_refused() -> None:
    for name in ("vt_fpn_nano", "sparseformer_segmenter_nano"):
        model, images = create_model(name).eval(), torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            whole = model(images, sizes=torch.tensor([[64, 64]])).heads[0].logits
            assert torch.equal(whole, model(images).heads[0].logits)
        with pytest.raises(ConfigError, match="images of one size, unpadded"):
            model(images, sizes=torch.tensor([[60, 64]]))


def test_weights_are_saved_and_found_again(tmp_path: Path) -> None:
    from sparsevision.checkpoints import save_checkpoint
    from sparsevision.types import Preprocessing

    model = create_model("sparseformer_segmenter_nano", num_classes=4, num_tokens=25)
    view = Preprocessing(size=(64, 128), fit="short")
    save_checkpoint(
        tmp_path / "net", model, name="sparseformer_segmenter_nano", preprocessing=view, labels=tuple("abcd")
    )
    found = load_model(tmp_path / "net")
    assert found.config == model.config
    assert found.identity.preprocessing == view


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["vt_fpn_nano", "sparseformer_segmenter_nano"])
def test_half_precision(name: str, kind: torch.dtype) -> None:
    torch.manual_seed(0)
    model, images = create_model(name, num_classes=3).eval(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        exact = model(images).heads[0].logits
        half = model.to(kind)(images.to(kind)).heads[0].logits
    assert half.dtype == kind
    assert (half.float() - exact).abs().max() < 0.35 * exact.abs().max()


def test_one_value_to_learn_from_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="Batch norms cannot learn from one value"):
        create_model("vt_fpn_nano").train()(torch.randn(1, 3, 32, 32))
