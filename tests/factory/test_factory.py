"""Models by name: options checked, names helped along, timm's models behind the same door."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from sparsevision.checkpoints import read_checkpoint, save_checkpoint
from sparsevision.errors import CheckpointError, ConfigError, UnknownNameError
from sparsevision.factory import (
    check_name,
    create_model,
    list_models,
    load_model,
    open_model,
    preprocessing_of,
    summarise_models,
)
from sparsevision.models import registry
from sparsevision.models.published import count_parameters, counted_parameters
from sparsevision.models.registry import Weights, variants
from sparsevision.types import Preprocessing

SMALL = {"num_tokens": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 64, "cortex_width": 64}
PEER = "timm/test_vit"


def test_options_reach_the_configuration() -> None:
    model = create_model("sparseformer_nano", num_classes=7, in_chans=1, cortex_depth=3, focusing_repeats=0, **SMALL)
    assert model(torch.rand(2, 1, 40, 40)).shape == (2, 7)
    assert (model.config.cortex_depth, len(model.cortex), model.config.focusing_repeats) == (3, 3, 0)
    assert model.identity.preprocessing == preprocessing_of("sparseformer_nano")
    assert model.identity.report is None


def test_a_changed_depth_keeps_the_bootstrapped_order() -> None:
    with torch.device("meta"):
        for depth in (2, 12):
            config = create_model("sparseformer_augreg_base", cortex_depth=depth).config
            assert config.orders == (("sample", "encode"), *[("attention", "ffn")] * (depth - 1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_tokns": 4}, "configuration: 'num_tokns'; the nearest are 'num_tokens'"),
        ({"num_tokens": "many"}, "num_tokens is 'many', which it cannot be"),
        ({"num_tokens": 0}, "num_tokens is 0; it must be at least 1"),
        ({"decoding": "adaptiv"}, "decoding is 'adaptiv'.*'adaptive', 'static' or 'linear'"),
        ({"drop_path_rate": 1.5}, r"drop_path_rate is 1\.5"),
        ({"num_classes": -1}, "num_classes is -1"),
        ({"in_chans": 0}, "in_chans is 0"),
        ({"num_classes": "ten"}, "num_classes is 'ten'"),
        ({"cortex_orders": [["attention", "think"]], "cortex_depth": 1}, "think"),
        ({"pretrained": True, "checkpoint": {}}, "choose one source of weights"),
    ],
)
def test_a_wrong_option_is_one_sentence(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        create_model("sparseformer_nano", **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"), [("sparsformer_tiny", "sparseformer_tiny"), ("timm/resnt18", "'resnet18'"), ("", "the first are")]
)
def test_an_unknown_name_gets_the_nearest(name: str, said: str) -> None:
    for ask in (create_model, preprocessing_of, check_name):
        with pytest.raises(UnknownNameError, match=said):
            ask(name)


def test_an_unknown_name_is_cut() -> None:
    with pytest.raises(UnknownNameError) as caught:
        create_model("9" * 100_000)
    assert len(str(caught.value)) < 400


def test_models_are_listed_by_pattern() -> None:
    assert list_models() == sorted(variants())
    assert list_models("*clip*") == ["sparseformer_clip_base", "sparseformer_clip_large"]
    assert list_models("nothing*") == []
    assert "timm/resnet18" in list_models("timm/resnet*")


@pytest.mark.slow
def test_the_numbers_of_parameters_are_those_of_the_models() -> None:
    with torch.device("meta"):
        counts = {name: count_parameters(create_model(name)) for name in list_models()}
    assert counted_parameters() == counts  # in models/parameters.json


def test_the_summary_counts_parameters_without_making_them() -> None:
    (summary,) = summarise_models("sparseformer_tiny")
    assert (summary.parameters, summary.input_size, summary.reported) == (31_522_212, (224, 224), 81.0)
    (peer,) = summarise_models("timm/resnet18")
    assert (peer.parameters, peer.input_size) == (None, (224, 224))
    with pytest.raises(UnknownNameError, match="nearest"):
        summarise_models("sparsformer_tiny")


def test_a_path_or_a_name_opens_a_model(tmp_path: Path) -> None:
    model = create_model("sparseformer_nano", num_classes=2, **SMALL)
    model.save_pretrained(tmp_path / "mine")
    assert open_model(tmp_path / "mine").num_classes == 2
    with pytest.raises(UnknownNameError, match="'sparseformer_nano'"):
        open_model("sparseformer_nanno")
    with pytest.raises(CheckpointError, match="No checkpoint was found at"):
        open_model("runs/mine/best")


def test_a_bare_state_dict_of_no_registered_model_wants_a_name() -> None:
    model = create_model("sparseformer_nano", **SMALL)
    with pytest.raises(CheckpointError, match="name the model"):
        load_model(model.state_dict())
    again = create_model("sparseformer_nano", checkpoint=model.state_dict(), **SMALL)
    assert torch.equal(again.tokens.embedding, model.tokens.embedding)


def test_a_peer_is_timms_model_and_saves_and_loads_as_ours_do(tmp_path: Path) -> None:
    peer = create_model(PEER, num_classes=3).eval()
    assert type(peer) is type(timm.create_model("test_vit"))
    labels = ("ant", "bee", "cat")
    save_checkpoint(tmp_path / "p", peer, name=PEER, preprocessing=preprocessing_of(PEER), labels=labels)
    again = load_model(tmp_path / "p").eval()
    size = preprocessing_of(PEER).size
    images = torch.rand(1, 3, *size)
    assert torch.equal(peer(images), again(images))
    assert again.identity.labels == labels
    stored = read_checkpoint(tmp_path / "p")
    assert create_model(PEER, checkpoint=dict(stored.state), **dict(stored.config)).num_classes == 3


def test_a_peers_weights_in_timms_names_load_with_a_fresh_head() -> None:
    state = timm.create_model("test_vit").state_dict()
    peer = create_model(PEER, checkpoint=state, num_classes=4)
    assert peer.identity.report.fresh == ["head.weight", "head.bias"]
    assert torch.equal(peer.pos_embed, state["pos_embed"])
    assert create_model(PEER, checkpoint=state).num_classes == 1000


def test_a_peers_wrong_option_and_unreachable_weights_are_sentences() -> None:
    with pytest.raises(ConfigError, match="'num_tokens' of a timm model is not accepted"):
        create_model(PEER, num_tokens=3)
    with pytest.raises(CheckpointError, match="could not fetch the weights"):
        create_model(PEER, pretrained=True)


def test_a_tag_names_one_of_a_models_weights(tmp_path: Path) -> None:
    assert "sparseformer_nano.caltech101" in list_models("sparseformer_n*.*")
    assert "sparseformer_nano" not in list_models("*.*")
    tagged, first = (open_model(name) for name in ("sparseformer_nano.caltech101", "sparseformer_nano"))
    assert torch.equal(tagged.head.fc.weight, first.head.fc.weight)
    # What is trained on is no longer what was published.
    kept = save_checkpoint(
        tmp_path, tagged, name="sparseformer_nano.caltech101", preprocessing=tagged.identity.preprocessing, labels=None
    )
    assert load_model(kept).identity.name == "sparseformer_nano"
    for make in (open_model, create_model):
        with pytest.raises(UnknownNameError, match=r"nearest are 'sparseformer_nano\.caltech101'"):
            make("sparseformer_nano.caltech")
    assert create_model("timm/resnet18.a1_in1k").num_classes == 1000


def test_a_second_tag_has_weights_and_a_view_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sparsevision.models.sparseformer import variants as module

    torch.manual_seed(1)
    model, view = create_model("sparseformer_nano", **SMALL), Preprocessing(size=(96, 96), fit="stretch")
    place = save_checkpoint(
        tmp_path / "w.safetensors", model, name="sparseformer_nano", preprocessing=view, labels=None
    )
    assert place.name == "w.safetensors"  # where a download would be kept
    other = Weights(location="https://nowhere.test/w.safetensors", source="test", preprocessing=view)
    monkeypatch.setenv("SPARSEVISION_CACHE", str(tmp_path))
    nano = module.VARIANTS["sparseformer_nano"]
    two = replace(nano, weights={**nano.weights, "other": other})
    monkeypatch.setattr(module, "VARIANTS", {**module.VARIANTS, "sparseformer_nano": two})
    registry._variants_of.cache_clear()
    try:
        assert "sparseformer_nano.other" in list_models("sparseformer_nano.*")
        assert preprocessing_of("sparseformer_nano.other") == view != preprocessing_of("sparseformer_nano")
        opened = open_model("sparseformer_nano.other")
        assert torch.equal(opened.head.fc.weight, model.head.fc.weight)
        assert create_model("sparseformer_nano.other").identity.preprocessing == view
        assert open_model("sparseformer_nano").identity.preprocessing.size == (128, 128)
    finally:
        registry._variants_of.cache_clear()


def test_outputs_are_taken_by_the_names_of_their_classes() -> None:
    published = open_model("sparse_detr_nano")
    turned = create_model("sparse_detr_nano", pretrained=True, labels=("Platelets", "RBC", "WBC"))
    fewer = create_model("sparse_detr_nano", pretrained=True, labels=("bubble", "WBC"))
    assert published.identity.labels == ("RBC", "WBC", "Platelets")
    assert turned.identity.labels == ("Platelets", "RBC", "WBC")
    assert (turned.identity.report.classes, fewer.identity.report.classes) == ((3, 3), (1, 2))
    # Thresholds are of the classes that they were chosen for.
    assert turned.identity.class_metadata.thresholds is None
    for name in (f"{head}.weight" for head in published.class_heads):
        theirs, ours, two = (model.state_dict()[name] for model in (published, turned, fewer))
        assert torch.equal(ours, theirs[[2, 0, 1]])
        assert torch.equal(two[1], theirs[1])
        assert not torch.equal(two[0], theirs[0])
    same = create_model("sparse_detr_nano", pretrained=True, labels=published.identity.labels)
    assert same.identity == replace(published.identity, report=same.identity.report)
    with pytest.raises(ConfigError, match="2 labels for num_classes = 3"):
        create_model("sparse_detr_nano", labels=("a", "b"), num_classes=3)


def test_a_background_output_stays_the_last(tmp_path: Path) -> None:
    small = {"num_tokens": 6, "num_queries": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 16,
             "cortex_width": 32, "cortex_depth": 2, "head_width": 8}  # fmt: skip
    first = create_model("sparseformer_detector_nano", labels=("a", "b", "c"), **small)
    view = Preprocessing(size=(64, 96), fit="short")
    kept = save_checkpoint(
        tmp_path, first, name="sparseformer_detector_nano", preprocessing=view, labels=("a", "b", "c")
    )
    turned = create_model("sparseformer_detector_nano", checkpoint=kept, labels=("c", "d"))
    theirs, ours = first.head.classes.weight, turned.head.classes.weight
    assert torch.equal(ours[[0, 2]], theirs[[2, 3]])


def test_a_head_that_tells_no_classes_apart_keeps_its_outputs(tmp_path: Path) -> None:
    config = {"first_stage": "class_agnostic", "width": 32, "num_heads": 4, "ffn_width": 32, "encoder_depth": 1,
              "decoder_depth": 1, "encoder_heads": "none", "backbone": "test_efficientnet",
              "backbone_options": ()}  # fmt: skip
    first = create_model("sparse_detr_nano", labels=("a", "b", "c"), **config)
    view = Preprocessing(size=(64, 96), fit="short")
    kept = save_checkpoint(tmp_path, first, name="sparse_detr_nano", preprocessing=view, labels=("a", "b", "c"))
    turned = create_model("sparse_detr_nano", checkpoint=kept, labels=("c", "b"))
    assert turned.agnostic_heads == ("proposal_head.classes",)
    pairs = [(model.proposal_head.classes.weight, model.decoder_heads[0].classes.weight) for model in (first, turned)]
    (proposal, decoder), (theirs, moved) = pairs
    assert torch.equal(theirs, proposal[:2])
    assert torch.equal(moved, decoder[[2, 1]])


def test_synsets_name_the_outputs_of_a_released_model(tmp_path: Path) -> None:
    from sparsevision.checkpoints.labels import imagenet_labels, imagenet_synsets, rows_by_name

    assert rows_by_name(imagenet_labels(), imagenet_synsets()) is None
    assert rows_by_name(imagenet_labels(), imagenet_synsets()[4:6]) == [4, 5]
    assert rows_by_name(("a", "b"), ("b", "c")) == [1, None]


def test_released_image_weights_still_start_a_model_of_videos() -> None:
    image = create_model("sparseformer_nano", num_classes=1000)
    released = replace(read_checkpoint(image.state_dict()), layout="v1", model_name=None, config=None, labels=None)
    model = create_model("video_sparseformer_nano", checkpoint=released, labels=("left", "right"))
    assert (model.num_classes, model.identity.labels) == (2, ("left", "right"))


def test_timms_models_take_outputs_by_name_too(tmp_path: Path) -> None:
    first = create_model("timm/test_vit", labels=("a", "b"))
    view = preprocessing_of("timm/test_vit")
    kept = save_checkpoint(tmp_path, first, name="timm/test_vit", preprocessing=view, labels=("a", "b"))
    turned = create_model("timm/test_vit", checkpoint=kept, labels=("b", "a"))
    assert torch.equal(turned.head.weight, first.head.weight[[1, 0]])
    assert turned.identity.labels == ("b", "a")
