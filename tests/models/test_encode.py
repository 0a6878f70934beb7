"""`encode` gives all that a head of any kind stands on: tokens, their regions, and the feature map."""

from __future__ import annotations

import torch

from sparsevision.factory import create_model

SMALL = {"num_tokens": 5, "num_points": 4, "feature_channels": 8, "focusing_width": 64, "cortex_width": 64}


def test_encode_gives_tokens_regions_and_the_feature_map() -> None:
    torch.manual_seed(0)
    model = create_model("sparseformer_nano", cortex_depth=2, **SMALL).eval()
    images = torch.rand(2, 3, 40, 48)
    tokens, rois, features = model.encode(images)
    assert (tokens.shape, rois.shape, features.shape) == ((2, 5, 64), (2, 5, 4), (2, 8, 10, 12))
    assert torch.equal(tokens, model.forward_features(images))
    assert torch.equal(model.forward_head(tokens), model(images))


def test_regions_are_those_that_the_last_unit_ended_with() -> None:
    torch.manual_seed(0)
    model = create_model("sparseformer_nano", cortex_depth=2, **SMALL).eval()
    with torch.no_grad():
        model.cortex[0].adjust.fc.weight.normal_(std=0.1)
    _, moved, _ = model.encode(torch.rand(1, 3, 40, 48))
    assert not torch.allclose(moved, model.tokens.roi.expand_as(moved))


def test_a_class_token_has_no_region() -> None:
    model = create_model("sparseformer_nano", cortex_depth=2, readout="class_token", **SMALL).eval()
    tokens, rois, _ = model.encode(torch.rand(1, 3, 40, 48))
    assert (tokens.shape[1], rois.shape[1]) == (6, 5)


def test_models_name_their_outputs() -> None:
    assert create_model("sparseformer_nano", **SMALL).outputs == "classes"
    assert create_model("sparseformer_nano", head_bias="none", **SMALL).outputs == "embedding"
