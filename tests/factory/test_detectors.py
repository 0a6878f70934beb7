"""Detectors by name: made, filled from the released layout, given other classes."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from sparsevision.errors import CheckpointError, ConfigError
from sparsevision.factory import create_model, load_model, task_of
from sparsevision.inference import Predictor
from sparsevision.training.recipe_defaults import choose_recipe
from sparsevision.types import Trace

# Small, but for the backbone: that of the narrowest published form.
NARROW = {"encoder_depth": 2, "decoder_depth": 2, "ffn_width": 32, "num_queries": 5}
GRIDS = ((12, 16), (6, 8), (3, 4), (2, 2))  # of the levels, for images of 96 x 128
OURS = ("neck.level_embed", "neck.levels.3.norm.bias", "scorer.mlp.1.weight", "decoder.layers.1.norm_cross.weight")
THEIRS = (
    "transformer.level_embed",
    "input_proj.3.1.bias",
    "transformer.enc_mask_predictor.layer2.2.weight",
    "transformer.decoder.layers.1.norm1.weight",
)


@cache
def released() -> dict[str, Tensor]:
    """A narrow Sparse DETR's weights under the released code's names, heads under their second names, too."""
    state = create_model("sparse_detr_r50_10", **NARROW).state_dict()
    inner = {
        "proposal.project": "enc_output", "proposal.norm": "enc_output_norm", "query.project": "pos_trans",
        "query.norm": "pos_trans_norm", "neck.level_embed": "level_embed", "scorer.norm": "enc_mask_predictor.layer1.0",
        "scorer.project": "enc_mask_predictor.layer1.1", "scorer.mlp.0": "enc_mask_predictor.layer2.0",
        "scorer.mlp.1": "enc_mask_predictor.layer2.2", "scorer.mlp.2": "enc_mask_predictor.layer2.4",
    }  # fmt: skip
    parts = {
        ".attn.": ".self_attn.", ".offsets.": ".sampling_offsets.", ".weights.": ".attention_weights.",
        ".value.": ".value_proj.", ".output.": ".output_proj.", ".ffn.fc1.": ".linear1.", ".ffn.fc2.": ".linear2.",
    }  # fmt: skip
    heads = ["decoder_heads.0", "decoder_heads.1", "proposal_head", "encoder_heads.0"]
    found = {}
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        if module in inner or name in inner:
            theirs = f"transformer.{inner.get(name) or f'{inner[module]}.{leaf}'}"
        elif name.startswith("neck.levels."):
            theirs = name.replace("neck.levels", "input_proj").replace(".conv.", ".0.").replace(".norm.", ".1.")
        elif name.startswith("backbone."):
            theirs = name.replace("backbone.", "backbone.0.", 1)
        elif name.startswith(("encoder.", "decoder.")):
            norms = {".norm.": ".norm1.", ".ffn.norm.": ".norm2."} if name.startswith("encoder.") else {
                ".norm_cross.": ".norm1.", ".norm_self.": ".norm2.", ".ffn.norm.": ".norm3."}  # fmt: skip
            theirs = f"transformer.{name}"
            for ours, released_name in (*sorted(norms.items(), key=lambda item: -len(item[0])), *parts.items()):
                theirs = theirs.replace(ours, released_name)
        else:
            head = next(head for head in heads if name.startswith(f"{head}."))
            rest = name.removeprefix(f"{head}.").replace("classes.", "").replace("box.", "layers.")
            kind = "class_embed" if ".classes." in name else "bbox_embed"
            theirs = f"{kind}.{heads.index(head)}.{rest}"
            found[f"transformer.decoder.{theirs}"] = tensor
        found[theirs] = tensor
    return found


def test_a_released_file_fills_the_model_under_our_names() -> None:
    model = create_model("sparse_detr_r50_10", checkpoint={"model": released()}, **NARROW)
    named = model.state_dict()
    for ours, theirs in zip(OURS, THEIRS, strict=True):
        assert torch.equal(named[ours], released()[theirs])
    assert model.identity.report.layout == "sparse_detr"
    assert not model.identity.report.missing
    assert model.identity.labels[18] == "dog"
    assert model.identity.labels[12] == "unused 12"


def test_weights_say_what_they_are_but_not_how_many_tokens_they_keep() -> None:
    with pytest.raises(CheckpointError, match="encoder_depth is 2, not 6"):
        create_model("sparse_detr_r50_10", checkpoint=released())
    with pytest.raises(CheckpointError, match="name the model"):
        load_model(released())


def test_other_classes_get_fresh_class_heads_and_keep_the_boxes() -> None:
    model = create_model("sparse_detr_r50_10", checkpoint=released(), num_classes=3, **NARROW)
    fresh = model.identity.report.fresh
    assert len(fresh) == 8
    assert all(".classes." in name for name in fresh)
    assert torch.equal(model.decoder_heads[1].box[0].weight, released()["bbox_embed.1.layers.0.weight"])
    assert model.identity.labels is None
    assert model.num_classes == 3


def test_a_saved_detector_comes_back(tmp_path) -> None:
    model = create_model("sparse_detr_nano", num_queries=7, keep_ratio=0.5).eval()
    model.save_pretrained(tmp_path / "mine")
    again = load_model(tmp_path / "mine").eval()
    assert again.config == model.config
    image = torch.rand(1, 3, 70, 90)
    with torch.inference_mode():
        assert torch.equal(model(image).heads[0].boxes, again(image).heads[0].boxes)


def test_the_share_of_tokens_is_a_control() -> None:
    model = create_model("sparse_detr_nano").eval()
    assert model.controls["keep_ratio"].default == 0.3
    image = torch.rand(1, 3, 128, 128)
    with torch.inference_mode():
        kept = [model.run(image, keep_ratio=ratio).selection.indices.shape[1] for ratio in (0.1, 0.5, 1.0)]
    tokens = 16 * 16 + 8 * 8 + 4 * 4 + 2 * 2
    assert kept == [tokens // 10 + 1, tokens // 2 + 1, tokens]
    for wrong in (0.0, 1.5):
        with pytest.raises(ConfigError, match="keep_ratio"):
            model(image, keep_ratio=wrong)
    with pytest.raises(ConfigError, match="takes no keep_ratio"):
        create_model("deformable_detr_nano")(image, keep_ratio=0.5)


@pytest.mark.parametrize("learned", ["dam", "objectness"])
def test_a_learned_ranking_may_be_exchanged_for_chance(learned: str) -> None:
    model = create_model("sparse_detr_nano", selection=learned, keep_ratio=0.1).eval()
    assert model.choices["selection"].values == (learned, "random")
    image, sizes = torch.rand(1, 3, 128, 128), torch.tensor([[128, 64]])
    with torch.inference_mode():
        own, chosen = (model.run(image, selection=way).selection.indices.sort().values for way in (None, learned))
        drawn = [model.run(image, selection="random").selection.indices.sort().values for _ in range(2)]
        padded = model.run(image, sizes=sizes, selection="random")
    assert own.equal(chosen)
    assert not drawn[0].equal(drawn[1])
    assert drawn[0].shape == own.shape
    assert not padded.pyramid.padding.gather(1, padded.selection.indices).any()
    other = {"dam": "objectness", "objectness": "dam"}[learned]
    with pytest.raises(ConfigError, match=f"Unknown selection in this model: '{other}'"):
        model(image, selection=other)
    with pytest.raises(ConfigError, match="call eval"):
        model.train()(image, selection="random")
    assert not create_model("deformable_detr_nano").choices


@pytest.mark.parametrize("selection", ["objectness", "random"])
def test_other_ways_to_select_run_and_train(selection: str) -> None:
    model = create_model("sparse_detr_nano", selection=selection)
    output = model(torch.rand(2, 3, 64, 96), sizes=torch.tensor([[64, 80], [48, 96]]))
    assert output.auxiliary_losses == {}
    assert ("backbone" in [head.name for head in output.heads]) == (selection == "objectness")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"selection": "dam", "queries": "learned"}, "needs queries='tokens'"),
        ({"selection": "best"}, "'best'"),
        ({"keep_ratio": 0.0}, "keep_ratio is 0"),
        ({"backbone": "resnt50"}, "resnt50"),
        ({"backbone": "vit_tiny_patch16_224"}, "feature maps"),
        ({"num_queries": 0}, "num_queries is 0"),
        ({"in_chans": 1}, "in_chans"),
    ],
)
def test_what_makes_no_detector_is_a_sentence(options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        create_model("sparse_detr_nano", **options)
    assert "\n" not in str(caught.value)


def test_what_works_with_classifiers_says_so() -> None:
    assert task_of("sparse_detr_nano") == "detection"
    with pytest.raises(ConfigError, match="task = 'classification'"):
        choose_recipe("caltech101_nano", data="digits", model="sparse_detr_nano")
    detector = Predictor(create_model("sparse_detr_nano"), "cpu")
    with pytest.raises(ConfigError, match="has no pooled features"):
        detector([], features=True)


@torch.inference_mode()
def test_a_trace_tells_of_tokens_queries_and_boxes() -> None:
    model = create_model("sparse_detr_nano", num_queries=7).eval()
    images, sizes = torch.rand(2, 3, 96, 128), torch.tensor([[96, 128], [64, 96]])
    trace = Trace()
    output = model(images, sizes=sizes, trace=trace, keep_ratio=0.2)
    run = model.run(images, sizes=sizes, keep_ratio=0.2)
    layers = ["decoder.1", "decoder.2", "decoder.3"]
    assert list(trace.points) == layers
    assert list(trace.regions) == ["proposals", *layers]
    assert {name: maps.role for name, maps in trace.level_maps.items()} == {"scorer": "expected", "decoder": "read"}
    assert [tuple(values.shape[1:]) for values in trace.level_maps["decoder"].values] == list(GRIDS)
    read = torch.cat([level.flatten(1) for level in trace.level_maps["decoder"].values], 1)
    assert read.equal(model.attention_map(run))
    centres = trace.regions["decoder.3"].xyxy.unflatten(-1, (2, 2)).mean(-2)
    assert torch.allclose(centres, output.heads[0].boxes[..., :2], atol=1e-6)
    assert trace.response["decoder.3"].logits.equal(output.heads[0].logits)
    weights = trace.points["decoder.1"].weight.sum(-1)
    assert torch.allclose(weights, torch.ones_like(weights), atol=1e-5), "a query's points do not share one"

    one = trace[1]
    kept, scores = one.kept["encoder"], one.level_maps["scorer"].values
    assert kept.ratios[0].tolist() == [0.75, pytest.approx(8 / 12)]
    chosen = [levels.flatten()[found[found >= 0]] for levels, found in zip(scores, kept.indices, strict=True)]
    present = [
        values[: round(values.shape[0] * float(down)), : round(values.shape[1] * float(across))].flatten()
        for values, (across, down) in zip(scores, kept.ratios, strict=True)
    ]
    wanted = torch.cat(present).topk(int(run.counts[1])).values
    assert torch.cat(chosen).sort(descending=True).values.equal(wanted), "not the best of the valid tokens"


@torch.inference_mode()
def test_a_trace_computes_only_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model = create_model("sparse_detr_nano").eval()
    monkeypatch.setattr(model, "attention_map", lambda run: pytest.fail("the map was made for nobody"))
    trace = Trace("kept", "points")
    model(torch.rand(1, 3, 64, 64), trace=trace)
    assert list(trace.kept) == ["encoder"]
    assert not trace.level_maps
    assert not trace.regions
    dense = Trace("kept", "regions")
    create_model("deformable_detr_nano").eval()(torch.rand(1, 3, 64, 64), trace=dense)
    assert not dense.kept
    assert "proposals" in dense.regions
