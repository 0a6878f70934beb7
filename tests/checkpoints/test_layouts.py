"""Released state dicts load strictly, in either layout, and nothing is guessed or left at random."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sparsevision.checkpoints import load_into, read_checkpoint
from sparsevision.checkpoints.layouts import detect_layout, renamed_to_ours
from sparsevision.errors import CheckpointError
from sparsevision.factory import create_model, load_model

RELEASED = {
    "v1/tiny": ("sparseformer_tiny", "v1", "v1"),
    "v1/small": ("sparseformer_small", "v1", "v1"),
    "v1/base": ("sparseformer_base", "v1", "v1"),
    "v2/v1_tiny": ("sparseformer_tiny", "v2", "v2"),
    "v2/v1_small": ("sparseformer_small", "v2", "v2"),
    "v2/v1_base": ("sparseformer_base", "v2", "v2"),
    "v2/btsp_augreg_base": ("sparseformer_augreg_base", "bootstrapped", "bootstrapped"),
    "v2/btsp_augreg_large": ("sparseformer_augreg_large", "bootstrapped", "bootstrapped"),
    "v2/btsp_openai_clip_base": ("sparseformer_clip_base", "bootstrapped", "bootstrapped"),
    "v2/btsp_openai_clip_large": ("sparseformer_clip_large", "bootstrapped", "bootstrapped"),
}
State = dict[str, Tensor]
Released = Callable[[str], State]


@pytest.mark.parametrize("key", RELEASED)
def test_a_released_state_dict_fills_its_model_to_the_last_tensor(key: str, released: Released) -> None:
    name, layout, numerics = RELEASED[key]
    with torch.device("meta"):
        model = create_model(name, checkpoint=released(key))
    report = model.identity.report
    assert report.layout == layout
    assert model.config.numerics == numerics
    assert report.loaded == len(released(key)) == len(model.state_dict())
    assert [*report.missing, *report.unexpected, *report.fresh, *report.adapted] == []


@pytest.mark.parametrize("key", RELEASED)
def test_renaming_is_one_to_one_and_keeps_every_tensor(key: str, released: Released) -> None:
    state = released(key)
    named = renamed_to_ours(state, detect_layout(state))
    assert sorted(original for original, _ in named.values()) == sorted(state)
    assert all(tensor is state[original] for original, tensor in named.values())


@pytest.mark.parametrize("key", RELEASED)
def test_the_variant_is_recognised_by_the_shapes_alone(key: str, released: Released) -> None:
    with torch.device("meta"):
        assert load_model(released(key)).identity.name == RELEASED[key][0]


def test_values_arrive_where_their_names_say(shapes: dict[str, dict[str, list[int]]]) -> None:
    torch.manual_seed(0)
    v1 = {name: torch.randn(shape) for name, shape in shapes["v1/tiny"].items()}
    model = create_model("sparseformer_tiny", checkpoint=v1)
    for theirs, ours in {
        "token_roi.weight": "tokens.roi",
        "layers.0.ln_attn.weight": "focusing.attn.norm.weight",
        "layers.0.ffn.0.bias": "focusing.ffn.norm.bias",
        "layers.2.adaptive_mixing.parameter_generator.1.weight": "cortex.0.mixing.reduce.weight",
        "layers.2.roi_adjust_module.1.weight": "cortex.0.adjust.fc.weight",
        "layers.9.attn.in_proj_bias": "cortex.7.attn.qkv.bias",
        "head.classifier.weight": "head.fc.weight",
    }.items():
        assert torch.equal(model.state_dict()[ours], v1[theirs]), ours


def test_two_layers_of_adjustment_keep_their_order(released: Released) -> None:
    named = renamed_to_ours(released("v2/btsp_augreg_base"), "bootstrapped")
    assert named["focusing.adjust.hidden.weight"][0] == "layers.0.roi_adjust_module.1.weight"
    assert named["focusing.adjust.fc.weight"][0] == "layers.0.roi_adjust_module.3.weight"


@pytest.mark.parametrize("key", ["v2/v1_tiny", "v2/btsp_augreg_base"])
def test_a_head_under_its_former_name_is_taken(key: str, released: Released) -> None:
    former = {"norm.": "head.norm.", "proj.": "head.classifier."}
    state = {}
    for name, tensor in released(key).items():
        old = next((prefix for prefix in former if name.startswith(prefix)), None)
        state[former[old] + name.removeprefix(old) if old else name] = tensor
    with torch.device("meta"):
        assert create_model(RELEASED[key][0], checkpoint=state).identity.report.loaded == len(state)


def test_a_missing_stage_embedding_becomes_zeros_with_a_warning(released: Released) -> None:
    state = {name: torch.zeros(tensor.shape) for name, tensor in released("v2/btsp_augreg_base").items()}
    del state["layers.0.stage_embedding.weight"]
    model = create_model("sparseformer_augreg_base")
    with pytest.warns(UserWarning, match=r"focusing\.stage_embedding.*zeros"):
        report = load_into(model, read_checkpoint(state))
    assert report.missing == ["focusing.stage_embedding"]
    assert not model.focusing.stage_embedding.any()


@pytest.mark.parametrize("wrap", ["model_ema", "model", "model_best", "state_dict", "nested"])
def test_training_files_are_unwrapped(wrap: str, released: Released) -> None:
    prefixed = {f"module.{name}": tensor for name, tensor in released("v1/tiny").items()}
    other = released("v1/small")
    content = {
        "model_ema": {"model_ema": prefixed, "model": other, "model_best": other, "epoch": 3},
        "model": {"model_ema": None, "model": prefixed, "optimizer": {}, "max_accuracy": 81.0},
        "model_best": {"model_best": prefixed},
        "state_dict": {"state_dict": prefixed},
        "nested": {"model": {"state_dict": {f"_orig_mod.{name}": tensor for name, tensor in prefixed.items()}}},
    }[wrap]
    with torch.device("meta"):
        assert load_model(content).identity.name == "sparseformer_tiny"


def test_a_tensor_under_two_names_is_refused(released: Released) -> None:
    state = released("v2/v1_tiny")
    state["head.classifier.weight"] = state["proj.weight"]
    with pytest.raises(CheckpointError, match=r"'head\.fc\.weight' twice, as 'proj\.weight' and 'head\.classifier"):
        read_checkpoint(state)


def test_another_variant_is_named_in_the_refusal(released: Released) -> None:
    with (
        torch.device("meta"),
        pytest.raises(CheckpointError, match=r"num_tokens is 64, not 49.*like sparseformer_small\."),
    ):
        create_model("sparseformer_tiny", checkpoint=released("v1/small"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("layers.3.ffn.1.bias"), r"1 missing \(cortex\.1\.ffn\.fc1\.bias\)"),
        (lambda s: s.update({"layers.3.extra": s["head.norm.bias"]}), r"1 unexpected \(layers\.3\.extra\)"),
        (
            lambda s: s.update({"layers.0.ffn.1.bias": torch.empty(7, device="meta")}),
            r"focusing\.ffn\.fc1\.bias is \(7,\), not \(1024,\)",
        ),
        (lambda s: s.update({"layers.0.ffn.1.bias": torch.empty(1024, dtype=torch.int8)}), r"of type torch\.int8"),
    ],
    ids=["missing", "unexpected", "shape", "integer"],
)
def test_strictness_names_the_tensor(change: Callable[[State], object], said: str, released: Released) -> None:
    state = released("v1/tiny")
    change(state)
    with torch.device("meta"), pytest.raises(CheckpointError, match=said):
        create_model("sparseformer_tiny", checkpoint=state)


def test_tensors_of_some_other_network_are_refused() -> None:
    with pytest.raises(CheckpointError, match="none of the known layouts"):
        create_model("sparseformer_nano", checkpoint={"conv1.weight": torch.zeros(2, 2)})


def test_a_head_of_another_size_is_fresh_only_when_asked_for(released: Released) -> None:
    state = released("v1/tiny")
    state["head.classifier.weight"] = torch.empty(10, 512, device="meta")
    state["head.classifier.bias"] = torch.empty(10, device="meta")
    with torch.device("meta"):
        kept = create_model("sparseformer_tiny", checkpoint=state)
        fresh = create_model("sparseformer_tiny", checkpoint=state, num_classes=1000)
        without = create_model("sparseformer_tiny", checkpoint=state, num_classes=0)
        plain = create_model("sparseformer_tiny")
        with pytest.raises(CheckpointError, match="num_classes=N asks for a fresh head"):
            load_into(plain, read_checkpoint(state))
    assert kept.num_classes == 10
    assert kept.identity.report.fresh == []
    assert fresh.identity.report.fresh == ["head.fc.weight", "head.fc.bias"]
    assert "fresh: head.fc.weight" in str(fresh.identity.report)
    assert without.identity.report.unexpected == ["head.classifier.weight", "head.classifier.bias"]


def test_more_tokens_are_initialised_anew_only_when_asked_for(released: Released) -> None:
    state = {name: torch.zeros(tensor.shape) for name, tensor in released("v1/tiny").items()}
    with pytest.raises(CheckpointError, match=r"num_tokens is 49, not 100; fresh_tokens=True"):
        create_model("sparseformer_tiny", checkpoint=state, num_tokens=100)
    model = create_model("sparseformer_tiny", checkpoint=state, num_tokens=100, fresh_tokens=True)
    assert sorted(model.identity.report.fresh) == ["tokens.embedding", "tokens.roi"]
    assert model.tokens.roi.shape == (100, 4)
    assert model.tokens.roi[:, 2:].min() > 0
    assert not model.early_conv.weight.any()


def test_numerics_given_win_over_the_layout(released: Released) -> None:
    with torch.device("meta"):
        model = create_model("sparseformer_tiny", checkpoint=released("v2/v1_tiny"), numerics="v1")
    assert model.config.numerics == "v1"


def test_the_first_convolution_is_summed_for_grey_images(shapes: dict[str, dict[str, list[int]]]) -> None:
    state = {name: torch.rand(shape) for name, shape in shapes["v1/tiny"].items()}
    model = create_model("sparseformer_tiny", checkpoint=state, in_chans=1)
    expected = state["feat_extractor.conv1.weight"].sum(1, keepdim=True)
    assert torch.allclose(model.early_conv.weight, expected)
    assert model.identity.report.adapted == ["early_conv.weight"]
