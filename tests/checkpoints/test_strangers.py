"""Files of strangers: nothing in them executes or reaches the network, and what no model has is one sentence."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import sparsevision.timm  # noqa: F401
from sparsevision.checkpoints import cost, save_checkpoint, timm_models
from sparsevision.errors import CheckpointError, ConfigError, SparseVisionError
from sparsevision.factory import create_model, list_models, load_model, model_of, preprocessing_of
from sparsevision.inference import Predictor
from sparsevision.types import Preprocessing
from tiny_detector import save_tiny_detector

Make = Callable[..., nn.Module]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a file reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refused)


class Evil:
    """A pickle that leaves a mark where it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    torch.save({"state_dict": Evil(tmp_path / "executed")}, tmp_path / "evil.pth")
    return tmp_path / "evil.pth"


def change(folder: Path, **fields: Any) -> Path:
    content = json.loads((folder / "config.json").read_text())
    content["config"] |= {name: value for name, value in fields.items() if name != "model"}
    content["model"] = fields.get("model", content["model"])
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def timms(folder: Path) -> Path:
    model = create_model("timm/test_efficientnet", num_classes=3)
    return save_checkpoint(
        folder, model, name="timm/test_efficientnet", preprocessing=Preprocessing((32, 32)), labels=None
    )


@pytest.mark.parametrize(
    "options",
    [
        {"checkpoint_path": "EVIL"}, {"pretrained": True}, {"pretrained_cfg": {"file": "EVIL"}},
        {"pretrained_cfg_overlay": {"file": "EVIL"}}, {"cache_dir": "/tmp"}, {"scriptable": True},
        {"features_only": True}, {"global_pool": "../../x"}, {"img_size": 10**7}, {"depth": 10**5},
        {"drop_rate": [0.1] * 100}, {"act_layer": "os.system"}, {"window_size": 112}, {"img_size": 5000},
    ],
)  # fmt: skip
def test_a_file_sets_only_what_belongs_to_a_timm_network(options: dict[str, Any], evil: Path, tmp_path: Path) -> None:
    given = json.loads(json.dumps(options).replace("EVIL", str(evil)))
    folder = change(timms(tmp_path / "x"), **given)
    with pytest.raises(CheckpointError, match=r"is refused|which no model has") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    detector = save_tiny_detector(tmp_path / "y")
    change(detector, backbone_options=[[name, value] for name, value in given.items()])
    with pytest.raises(SparseVisionError):
        load_model(detector)
    assert not (tmp_path / "executed").exists()


def test_a_timm_network_takes_no_options_that_its_file_could_not_have(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'features_only' of a timm model is not accepted"):
        create_model("timm/test_vit", features_only=True)
    model = create_model("timm/test_vit", num_classes=3, depth=1, embed_dim=48)
    folder = save_checkpoint(
        tmp_path / "x", model, name="timm/test_vit", preprocessing=Preprocessing((32, 32)), labels=None
    )
    assert len(load_model(folder).blocks) == 1


@pytest.mark.parametrize(
    "name",
    ["hf-hub:evil/x", "local-dir:/tmp", "../../x", "timm/test_efficientnet", "test_vit", "vit_tiny_patch16_224", "",
     "test_efficientnet.no_such_tag", "naflexvit_base_patch16_gap", "x" * 10_000],
)  # fmt: skip
def test_a_backbone_is_an_architecture_with_maps_and_nothing_else(name: str, tmp_path: Path) -> None:
    folder = change(save_tiny_detector(tmp_path / "x"), backbone=name)
    with pytest.raises(SparseVisionError) as caught:
        load_model(folder)
    assert len(str(caught.value)) < 1500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["timm/hf-hub:evil/x", "timm/local-dir:/tmp", "timm/../x", "timm/resnet18/../x"])
def test_a_file_names_a_registered_model(name: str, tmp_path: Path) -> None:
    with pytest.raises(SparseVisionError):
        load_model(change(timms(tmp_path / "x"), model=name))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("focusing_repeats", 10**6), ("cortex_depth", 10**5), ("head_width", 0), ("head_width", -4),
        ("focusing_width", -64), ("num_points", 0), ("num_tokens", 5000), ("num_points", 5000), ("in_chans", -1),
        ("generator_width", 0),
        ("num_classes", -5), ("offset_scale", "x"), ("cortex_orders", [["sample"] * 3]), ("numerics", "v9"),
        ("focusing_order", ["nothing"]), ("image_feature", 7), ("drop_path_rate", 2.0), ("cortex_width", 0),
    ],
)  # fmt: skip
def test_what_no_model_has_is_one_sentence(field: str, value: object, small: Make, tmp_path: Path) -> None:
    folder = save_checkpoint(
        tmp_path / "x", small(), name="sparseformer_nano", preprocessing=Preprocessing((32, 32)), labels=None
    )
    with pytest.raises(CheckpointError) as caught:
        load_model(change(folder, **{field: value}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("encoder_depth", 10**6), ("num_levels", 1000), ("num_points", 10**9), ("width", 0), ("num_heads", 0),
        ("num_queries", -1), ("num_queries", 20_000), ("num_classes", 0),
        ("selection", "all the best"), ("keep_ratio", 7),
    ],
)  # fmt: skip
def test_what_no_detector_has_is_one_sentence(field: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_model(change(save_tiny_detector(tmp_path / "x"), **{field: value}))
    assert "\n" not in str(caught.value)


def test_a_description_is_bounded(small: Make, tmp_path: Path) -> None:
    folder = save_checkpoint(
        tmp_path / "x", small(), name="sparseformer_nano", preprocessing=Preprocessing((32, 32)), labels=None
    )
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.rstrip().removesuffix("}") + ', "more": "' + "x" * 45_000_000 + '"}')
    with pytest.raises(CheckpointError, match="too large"):
        load_model(folder)
    (folder / "config.json").write_text(text.replace("32", "8192", 2))
    with pytest.raises(CheckpointError, match="sizes must be 1 to 4096 and 8 million pixels at most"):
        load_model(folder)


def test_huge_weights_are_a_sentence_and_not_nan(small: Make, tmp_path: Path) -> None:
    model = small()
    with torch.no_grad():
        model.head.fc.weight.fill_(3e38)
    folder = save_checkpoint(
        tmp_path / "x", model, name="sparseformer_nano", preprocessing=Preprocessing((32, 32)), labels=("a", "b", "c")
    )
    with pytest.raises(CheckpointError, match=r"is not a number \(NaN\): its weights, though finite"):
        Predictor(folder, "cpu")(torch.randint(0, 255, (40, 40, 3), dtype=torch.uint8).numpy())


# -------------------------------------------------------------------- models that would take all memory, or never end


def test_a_timm_network_is_compared_before_it_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices, make = [], timm_models.make_bare

    def noted(*arguments: Any, **options: Any) -> nn.Module:
        devices.append(torch.get_default_device().type)
        return make(*arguments, **options)

    monkeypatch.setattr(timm_models, "make_bare", noted)
    folder = timms(tmp_path / "x")
    content = json.loads((folder / "config.json").read_text()) | {"model": "timm/vit_base_patch16_224", "config": {}}
    (folder / "config.json").write_text(json.dumps(content))
    devices.clear()
    with pytest.raises(CheckpointError, match="do not fit the model"):
        load_model(folder)
    assert devices == ["meta"]


@pytest.mark.parametrize(
    ("options", "size", "said"),
    [
        ({}, (160, 160), None),
        ({"dynamic_img_size": False}, (320, 320), "does not take an image of 320 x 320 pixels"),
        ({"dynamic_img_size": True}, (320, 320), None),
        ({"dynamic_img_size": True, "patch_size": 2}, (2048, 2048), "far more than any published model: lower the si"),
        ({"patch_size": 0}, (160, 160), r"is refused: timm makes no test_vit of it"),
    ],
)  # fmt: skip
def test_a_timm_network_takes_the_images_of_its_description(
    options: dict[str, Any], size: tuple[int, int], said: str | None, tmp_path: Path
) -> None:
    model = create_model(
        "timm/test_vit", num_classes=3, **{key: value for key, value in options.items() if value != 0 or value is False}
    )
    folder = save_checkpoint(
        tmp_path / "x", model, name="timm/test_vit", preprocessing=Preprocessing(size), labels=None
    )
    change(folder, **options)
    if said is None:
        assert load_model(folder).num_classes == 3
    else:
        with pytest.raises(CheckpointError, match=said):
            load_model(folder)


@pytest.mark.parametrize(
    ("bound", "value", "said"),
    [("_MEBIBYTES", 0, "MiB of memory"), ("_MOST_OPERATIONS", 1000, "billion operations"),
     ("_MOST_CALLS", 100, "in 101 steps"), ("_MOST_TABLES", -1, "of tables beside its weights")],
)  # fmt: skip
def test_what_takes_more_than_published_models_is_not_built(
    bound: str, value: int, said: str, small: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_checkpoint(
        tmp_path / "x", small(), name="sparseformer_nano", preprocessing=Preprocessing((32, 32)), labels=None
    )
    detector = save_tiny_detector(tmp_path / "y")
    assert load_model(folder).config.num_tokens == 4
    monkeypatch.setattr(cost, bound, value)
    for each in (folder, detector):
        with pytest.raises(CheckpointError, match=said) as caught:
            load_model(each)
        assert bound == "_MOST_TABLES" or re.search(r"num_(tokens|queries) \(\d+\)", str(caught.value))


@pytest.mark.parametrize(
    "name", ["sparseformer_nano", "sparse_detr_nano", "deformable_detr_nano", "vt_resnet18", "video_sparseformer_nano"]
)
def test_the_cost_of_a_registered_model_is_accepted(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=5)
    cost.check_cost(model, preprocessing_of(name).input_shape(), name)
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", list_models())
def test_the_cost_of_every_registered_model_is_accepted(name: str) -> None:
    test_the_cost_of_a_registered_model_is_accepted(name)


# ------------------------------------------------------------------------------------- layouts of other programs


@pytest.mark.parametrize("nested", ["state_dict_ema", "model_ema", "ema", "ema_state_dict", "ema.module", "ema_model"])
def test_averaged_weights_are_taken_first(small: Make, nested: str, tmp_path: Path) -> None:
    weights = small().state_dict()
    key, _, inner = nested.partition(".")
    averaged = {"decay": 0.9, inner: weights} if inner else weights
    content = {"epoch": 1, "state_dict": {name: 0 * each for name, each in weights.items()}, key: averaged}
    torch.save(content, tmp_path / "timm.pth.tar")
    again = small(num_classes=3)
    loaded = create_model("sparseformer_nano", checkpoint=tmp_path / "timm.pth.tar", **again.identity.options, **SMALL)
    assert torch.equal(loaded.head.fc.weight, weights["head.fc.weight"])


SMALL = {
    "num_tokens": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 64, "cortex_width": 64,
    "cortex_depth": 2, "num_classes": 3,
}  # fmt: skip


@pytest.mark.parametrize("key", ["state_dict", "net", "model_state", "weights", ""])
@pytest.mark.parametrize(
    "prefix", ["model.", "module.", "net.", "model._orig_mod.", "model.module.", "_orig_mod.module."]
)
def test_what_holds_the_network_in_a_training_loop_is_taken_off(
    small: Make, key: str, prefix: str, tmp_path: Path
) -> None:
    weights = small().state_dict()
    held = {f"{prefix}{name}": each for name, each in weights.items()}
    # Of the loop itself, and of weights that are not averaged.
    held |= {"criterion.weight": torch.ones(3), "n_averaged": torch.tensor(5)}
    held |= {f"old.{name}": 0 * each for name, each in weights.items()} if prefix == "net." else {}
    torch.save({key: held, "pytorch-lightning_version": "2.5"} if key else held, tmp_path / "last.ckpt")
    loaded = create_model("sparseformer_nano", checkpoint=tmp_path / "last.ckpt", **SMALL)
    assert torch.equal(loaded.head.fc.weight, weights["head.fc.weight"])


def test_a_folder_opens_as_timms_local_dir(small: Make, tmp_path: Path) -> None:
    model: Any = small()
    model.save_pretrained(tmp_path / "x")
    again = timm.create_model(f"local-dir:{tmp_path / 'x'}", pretrained=True).eval()
    images = torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(again(images), model(images))
        torch.testing.assert_close(load_model(tmp_path / "x").eval()(images), model(images))
    assert model_of(tmp_path / "x")[0] == "sparseformer_nano"


def test_what_predicts_is_not_saved(small: Make, tmp_path: Path) -> None:
    folder = save_checkpoint(
        tmp_path / "x", small(), name="sparseformer_nano", preprocessing=Preprocessing((32, 32)), labels=("a", "b", "c")
    )
    with pytest.raises(CheckpointError, match="packed for predicting and cannot be saved"):
        Predictor(folder, "cpu").model.save_pretrained(tmp_path / "y")


@pytest.mark.parametrize("refined", [False, True])
def test_aliases_of_one_head_are_one_head(refined: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"queries": "learned", "selection": "all", "boxes": "refined" if refined else "direct", "num_classes": 3,
               "heads": "own" if refined else "shared", "encoder_depth": 1, "decoder_depth": 3, "ffn_width": 64,
               "encoder_heads": "none", "backbone": "test_efficientnet", "backbone_options": (),
               "denoising": 0}  # fmt: skip
    model = create_model("deformable_detr_nano", **options)
    state = released_names(model, refined)
    save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / "plain.safetensors")
    again = create_model("deformable_detr_nano", checkpoint=tmp_path / "plain.safetensors", **options)
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def released_names(model: Any, refined: bool) -> dict[str, torch.Tensor]:
    """Gives a model's tensors the released code's names, heads as often as it writes them."""
    from sparsevision.models.sparse_detr.released_layout import DetrNames

    own = model.state_dict()
    layers = {f"transformer.{stack}.layers.{i}.{part}" for stack in ("encoder", "decoder") for i in range(3)
              for part in PARTS}  # fmt: skip
    candidates = {name for name in layers if "encoder" not in name or "cross_attn" not in name}
    candidates |= {"transformer.level_embed", "query_embed.weight", "transformer.reference_points.weight",
                   "transformer.reference_points.bias"}  # fmt: skip
    candidates |= {f"input_proj.{i}.{j}.{leaf}" for i in range(4) for j in (0, 1) for leaf in ("weight", "bias")}
    candidates |= {f"backbone.0.body.{name.removeprefix('backbone.body.')}" for name in own if "backbone" in name}
    heads = {f"class_embed.{i}.{leaf}" for i in range(3) for leaf in ("weight", "bias")}
    heads |= {f"bbox_embed.{i}.layers.{j}.{leaf}" for i in range(3) for j in range(3) for leaf in ("weight", "bias")}
    names = DetrNames(candidates | (heads if refined else {name for name in heads if ".0." in name.split("layers")[0]}))
    state = {theirs: own[names(theirs)] for theirs in candidates if names(theirs) in own}
    for theirs in heads:
        kind, _, rest = theirs.partition(".")
        index, _, leaf = rest.partition(".")
        state[theirs] = own[names(theirs if refined else f"{kind}.0.{leaf}")]
        if refined:
            state[f"transformer.decoder.{kind}.{index}.{leaf}"] = state[theirs]
    return state


ATTENTION = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")
LEAVES = ("weight", "bias")
PARTS = [f"self_attn.{part}.{leaf}" for part in ATTENTION for leaf in LEAVES]
PARTS += [f"cross_attn.{part}.{leaf}" for part in ATTENTION for leaf in LEAVES]
PARTS += [f"{part}.{leaf}" for part in ("norm1", "norm2", "norm3", "linear1", "linear2") for leaf in LEAVES]
PARTS += ["self_attn.in_proj_weight", "self_attn.in_proj_bias", "self_attn.out_proj.weight", "self_attn.out_proj.bias"]


def test_names_of_strangers_reach_the_terminal_escaped_and_cut(tmp_path: Path, capsys) -> None:
    from sparsevision.cli import main

    folder = change(timms(tmp_path / "x"), **{"\x1b[2J\u202e" + "long" * 1000: 1})
    assert main(["predict", "x.jpg", "--model", str(folder)]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert len(said) < 1200


def test_a_wrong_configuration_of_our_own_is_a_config_error() -> None:
    with pytest.raises(ConfigError):
        create_model("sparseformer_nano", focusing_repeats=10**6)
