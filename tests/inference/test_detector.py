"""A detector behind the same predictor as a classifier: what counts, in pixels of the original, whatever the batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coco_folder import draw_coco_folder
from sparsevision.errors import ConfigError
from sparsevision.factory import load_model
from sparsevision.inference import Predictor
from sparsevision.tasks.detection.result import DetectionResult
from sparsevision.types import ClassMetadata, Preprocessing
from tiny_detector import METADATA, save_tiny_detector


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_detector(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def predictor(weights: Path) -> Predictor:
    return Predictor(load_model(weights), "cpu", batch_size=8)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted((draw_coco_folder(tmp_path_factory.mktemp("shapes") / "data") / "train").iterdir())


def close(one: DetectionResult, other: DetectionResult) -> bool:
    same = (one.name, one.labels, one.category_ids) == (other.name, other.labels, other.category_ids)
    return same and np.allclose(one.boxes, other.boxes, atol=0.01) and np.allclose(one.scores, other.scores, atol=1e-4)


def test_one_a_list_and_a_stream(predictor: Predictor, images: list[Path]) -> None:
    one = predictor(images[1])
    assert isinstance(one, DetectionResult)
    assert one.labels
    assert list(one.scores) == sorted(one.scores, reverse=True)
    assert dict(zip(one.labels, one.category_ids, strict=True)) == {"disc": 3, "square": 7}
    assert sum(one.counts().values()) == len(one.labels)
    several = predictor(images[:3])
    assert close(several[1], one)
    assert all(map(close, predictor.stream(iter(images[:3])), several))


def test_images_of_one_size_are_batched_and_none_is_padded(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = np.random.default_rng(0)
    shapes = [(60, 80), (80, 60), (60, 80), (90, 50)]
    arrays = [draws.integers(0, 255, (*shape, 3), dtype=np.uint8) for shape in shapes]
    batches = []
    own = predictor.model.forward
    monkeypatch.setattr(
        predictor.model, "forward", lambda images, **rest: batches.append(images.shape) or own(images, **rest)
    )
    together = predictor(arrays)
    assert sorted(shape[0] for shape in batches) == [1, 1, 2]
    for result, array in zip(together, arrays, strict=True):
        alone = predictor([array])[0]
        assert np.allclose(result.boxes, alone.boxes, atol=0.01)
        assert result.geometry.original_size == array.shape[:2]


def test_boxes_are_in_pixels_of_the_original(predictor: Predictor) -> None:
    small = Image.effect_noise((80, 60), 80).convert("RGB")
    large = small.resize((800, 600), Image.Resampling.NEAREST)
    for image in (small, large):
        boxes = np.array(predictor(image, threshold=0).boxes) / [*image.size, *image.size]
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        assert (centres > -0.01).all()
        assert (centres < 1.01).all()
        assert centres.max() > 0.5


def test_what_counts_goes_by_the_weights_or_by_the_user(tmp_path: Path, images: list[Path]) -> None:
    everything = Predictor(save_tiny_detector(tmp_path / "x", class_metadata=ClassMetadata()), "cpu")
    all_of_it = everything(images[3], threshold=0)
    assert len(all_of_it.labels) == 16  # 8 queries, 2 classes
    scores: dict[str, list[float]] = {"disc": [], "square": []}
    for label, score in zip(all_of_it.labels, all_of_it.scores, strict=True):
        scores[label].append(score)
    metadata = ClassMetadata((3, 7), (scores["disc"][1] - 1e-4, scores["square"][2] - 1e-4))
    carried = Predictor(save_tiny_detector(tmp_path / "y", class_metadata=metadata), "cpu")
    assert carried(images[3]).counts() == {"disc": 2, "square": 3}
    assert len(carried(images[3], threshold=0).labels) == 16
    assert min(everything(images[3]).scores) >= 0.5
    assert everything(images[3]).category_ids[0] in (0, 1)


def test_a_control_of_the_model_is_given_per_call(predictor: Predictor, images: list[Path]) -> None:
    few, all_tokens = (
        predictor(images[1], trace="kept", keep_ratio=ratio).trace.kept["encoder"].indices for ratio in (0.1, 1.0)
    )
    kept = [sum(int((level >= 0).sum()) for level in levels) for levels in (few, all_tokens)]
    assert kept[0] == pytest.approx(0.1 * kept[1], abs=1)


def test_a_trace_rides_along(predictor: Predictor, images: list[Path]) -> None:
    plain, traced = predictor(images[1]), predictor(images[:2], trace=True)[1]
    assert close(plain, traced)
    assert traced.trace.points["decoder.2"].xy.ndim == 3
    assert plain.trace is None


def test_a_detector_opened_here_runs_packed_and_answers_alike(
    weights: Path, predictor: Predictor, images: list[Path]
) -> None:
    assert close(Predictor(weights, "cpu")(images[1]), predictor(images[1]))


def test_supervision_takes_the_result(predictor: Predictor, images: list[Path]) -> None:
    pytest.importorskip("supervision")
    result = predictor(images[1])
    found = result.to_supervision()
    assert len(found) == len(result.labels)
    assert found.xyxy == pytest.approx(np.array(result.boxes), abs=1e-3)
    assert list(found.class_id) == list(result.category_ids)
    assert list(found.data["class_name"]) == list(result.labels)
    assert len(predictor(images[1], threshold=1).to_supervision()) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"keep_ratio": 0}, r"keep_ratio is 0; it must be from 0\.01 to 1"),
        ({"keep_ratio": float("nan")}, "keep_ratio is nan"),
        ({"top_k": 3}, "takes no top_k: what may be chosen for it is threshold, max_objects"),
        ({"features": True}, "has no pooled features"),
    ],
)
def test_a_wrong_request_is_one_sentence(predictor: Predictor, options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        predictor([], **options)


def test_what_a_model_cannot_take_is_one_sentence(predictor: Predictor) -> None:
    with pytest.raises(ConfigError, match="shown whole images"):
        Predictor(predictor.model, "cpu", preprocessing=Preprocessing())
    dense = load_model_of("all")
    with pytest.raises(ConfigError, match="takes no keep_ratio"):
        Predictor(dense, "cpu")([], keep_ratio=0.5)
    assert METADATA.thresholds


def load_model_of(selection: str) -> torch.nn.Module:
    from sparsevision.factory import create_model
    from tiny_detector import OPTIONS

    return create_model("sparse_detr_nano", **{**OPTIONS, "selection": selection})
