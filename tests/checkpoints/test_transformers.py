"""Weights of Hugging Face's Deformable DETR load from memory and from their folders, and give their outputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection, ResNetConfig

from sparsevision.errors import CheckpointError
from sparsevision.factory import create_model, load_model

SMALL: dict[str, Any] = {
    "use_pretrained_backbone": False, "use_timm_backbone": True, "backbone": "resnet50", "encoder_layers": 2,
    "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_queries": 10,
    "disable_custom_kernels": True,
}  # fmt: skip
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("deformable_detr_r50", {"num_labels": 91}),
    "refined": (
        "deformable_detr_refined_r50",
        {
            "with_box_refine": True, "use_timm_backbone": False, "backbone": None, "encoder_n_points": 2,
            "decoder_n_points": 2, "backbone_config": ResNetConfig(out_features=["stage2", "stage3", "stage4"]),
        },
    ),
    "two-stage": (
        "deformable_detr_two_stage_r50",
        {
            "with_box_refine": True, "two_stage": True, "two_stage_num_proposals": 10, "backbone": "resnet18",
            "encoder_n_points": 3, "id2label": {0: "cell", 1: "platelet", 2: "debris"}, "num_feature_levels": 3,
        },
    ),
}  # fmt: skip


@cache
def theirs(form: str) -> nn.Module:
    torch.manual_seed(0)
    model = DeformableDetrForObjectDetection(DeformableDetrConfig(**{**SMALL, **FORMS[form][1]})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Offsets and boxes start at zero, with which nothing would be compared.
            parameter.add_((0.3 if "reference" in name else 0.03) * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(0.1 * torch.rand_like(buffer))
    return model


@cache
def answers(form: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two images of different sizes in a batch, and what transformers says of them."""
    generator = torch.Generator().manual_seed(1)
    images, sizes = torch.zeros(2, 3, 96, 128), torch.tensor([[96, 100], [64, 128]])
    mask = torch.zeros(2, 96, 128, dtype=torch.long)
    for index, (height, width) in enumerate(sizes.tolist()):
        images[index, :, :height, :width] = torch.randn(3, height, width, generator=generator)
        mask[index, :height, :width] = 1
    with torch.inference_mode():
        output = theirs(form)(pixel_values=images, pixel_mask=mask)
    return images, sizes, output.logits, output.pred_boxes


def insist_on_their_answers(model: nn.Module, form: str) -> None:
    images, sizes, logits, boxes = answers(form)
    with torch.inference_mode():
        head = model.eval()(images, sizes=sizes).heads[0]
    assert boxes.std(dim=1).mean() > 5e-3
    torch.testing.assert_close(head.logits, logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(head.boxes, boxes, atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", FORMS)
def test_a_saved_folder_says_everything(form: str, tmp_path: Path) -> None:
    theirs(form).save_pretrained(tmp_path)
    model = load_model(tmp_path)
    insist_on_their_answers(model, form)
    assert model.identity.name == FORMS[form][0]
    assert model.identity.report.layout == "transformers"
    assert [*model.identity.report.missing, *model.identity.report.unexpected] == []
    assert (model.config.num_queries, model.config.num_points) == (10, 2 if form == "refined" else 4)
    assert model.config.numerics == "released"


@pytest.mark.parametrize("form", FORMS)
def test_a_state_dict_tells_all_but_what_leaves_no_trace(form: str) -> None:
    asked = {"num_queries": 10, "backbone": "resnet18"} if form == "two-stage" else {}
    model = create_model(FORMS[form][0], checkpoint=theirs(form).state_dict(), **asked)
    insist_on_their_answers(model, form)


def newer(name: str) -> str:
    name = name.replace(".conv_encoder.", ".").replace(".out_proj.", ".o_proj.")
    return name if ".mlp." in name else name.replace(".fc", ".mlp.fc")


def older(name: str) -> str:
    name = newer(name).replace("model.backbone.", "model.backbone.conv_encoder.")
    return name.replace(".o_proj.", ".out_proj.").replace(".mlp.fc", ".fc")


@pytest.mark.parametrize("version", [newer, older])
def test_names_of_every_version_are_read(version: Callable[[str], str]) -> None:
    state = {version(name): tensor.clone() for name, tensor in theirs("plain").state_dict().items()}
    assert "class_embed.1.weight" in state  # the one head of all layers, again
    insist_on_their_answers(load_model({"state_dict": state}), "plain")


def test_ninety_one_outputs_are_coco() -> None:
    assert load_model(theirs("plain").state_dict()).identity.labels[18] == "dog"


def test_other_outputs_are_called_what_the_folder_says(tmp_path: Path) -> None:
    theirs("two-stage").save_pretrained(tmp_path)
    assert load_model(tmp_path).identity.labels == ("cell", "platelet", "debris")
    assert create_model("deformable_detr_two_stage_r50", checkpoint=tmp_path, num_classes=5).num_classes == 5


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"activation_function": "gelu"}, "activation_function is 'gelu'"),
        ({"encoder_attention_heads": 4}, "encoder_attention_heads is 4 and decoder_attention_heads 8"),
        ({"encoder_attention_heads": "many", "decoder_attention_heads": "many"}, "positive whole number"),
        ({"backbone_config": {"model_type": "swin"}}, "of type 'swin'"),
        ({"backbone_config": {"model_type": "timm_backbone", "backbone": "resnet34"}}, "missing"),
        ({"num_feature_levels": 4, "two_stage_num_proposals": 0}, "num_queries is 0"),
        ({"dropout": "much"}, "dropout is 'much'"),
    ],
)
def test_what_a_folder_asks_for_in_vain_is_a_sentence(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    theirs("two-stage").save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, **changed}))
    with pytest.raises(CheckpointError, match=said) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_half_a_projection_is_not_joined() -> None:
    state = theirs("two-stage").state_dict()
    del state["model.decoder.layers.1.self_attn.k_proj.weight"]
    with pytest.raises(CheckpointError, match=r"1 missing \(decoder\.layers\.1\.self_attn\.in_proj_weight\), 2 unexp"):
        create_model("deformable_detr_two_stage_r50", checkpoint=state, backbone="resnet18")
    state["model.decoder.layers.1.self_attn.k_proj.weight"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match="3 unexpected"):
        create_model("deformable_detr_two_stage_r50", checkpoint=state, backbone="resnet18")


def test_another_form_is_named_in_the_refusal() -> None:
    with pytest.raises(CheckpointError, match="holds weights of 'deformable_detr_r50'"):
        create_model("deformable_detr_refined_r50", checkpoint=theirs("plain").state_dict())
