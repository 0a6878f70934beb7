"""What goes into a predictor decides what comes out; nothing that cannot be read stops a long run."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from sparsevision.checkpoints import save_checkpoint
from sparsevision.errors import ConfigError, UnknownNameError, UnreadableImageError
from sparsevision.factory import create_model
from sparsevision.inference import Predictor
from sparsevision.inference.images import Frame
from sparsevision.packing import is_packed
from sparsevision.tasks.labels.result import ClassificationResult
from sparsevision.types import Preprocessing, UnreadResult

SMALL = {"num_tokens": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 64, "cortex_width": 64}
LABELS = ("ant", "bee", "cat")


def _predictor(**options: object) -> Predictor:
    torch.manual_seed(0)
    model = create_model("sparseformer_nano", num_classes=3, cortex_depth=1, **SMALL)
    return Predictor(model, "cpu", **{"labels": LABELS, "batch_size": 3, **options})


def _array(number: int = 0, height: int = 40, width: int = 56) -> NDArray[np.uint8]:
    ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
    return np.roll(ramp, 7 * number).astype(np.uint8)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(5)]
    for number, path in enumerate(paths):
        Image.fromarray(_array(number)).save(path)
    return paths


def test_one_in_gives_one_out_of_whatever_kind(files: list[Path]) -> None:
    predictor = _predictor()
    encoded = files[0].read_bytes()
    for image in (files[0], str(files[0]), encoded, _array(), Image.fromarray(_array()), Image.open(files[0])):
        result = predictor(image)
        assert isinstance(result, ClassificationResult)
        assert set(result.labels) == set(LABELS)
        assert result.scores == pytest.approx(predictor(files[0]).scores, abs=1e-6)
    assert predictor(files[0]).name == str(files[0])
    assert predictor(_array()).name == "image 0"
    assert sum(result.scores) == pytest.approx(1)
    assert list(result.scores) == sorted(result.scores, reverse=True)


def test_a_list_gives_a_list_in_its_order(files: list[Path]) -> None:
    predictor = _predictor()
    results = predictor(files)
    assert [result.name for result in results] == [str(path) for path in files]
    for path, result in zip(files, results, strict=True):
        assert result.scores == pytest.approx(predictor(path).scores, abs=1e-6)
    assert predictor([]) == []
    assert len(predictor((files[0],))) == 1


def test_an_endless_stream_is_read_one_batch_ahead() -> None:
    taken = 0

    def camera() -> Iterator[NDArray[np.uint8]]:
        nonlocal taken
        for number in count():
            taken += 1
            yield _array(number)

    stream = _predictor(batch_size=3).stream(camera())
    assert taken == 0
    assert next(stream).name == "image 0"
    assert taken == 3
    assert [next(stream).name for _ in range(3)] == [f"image {number}" for number in (1, 2, 3)]
    assert taken == 6
    stream.close()


def test_what_cannot_be_read_keeps_its_place_and_is_counted_and_named(files: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not an image")
    predictor = _predictor()
    images = [
        files[0],
        broken,
        tmp_path / "nix.jpg",
        _array().astype(float),
        files[1],
        7,
        np.zeros((0, 4, 3), np.uint8),
        Image.new("RGB", (0, 0)),
        Image.new("L", (0, 5)),
        Frame(image=Image.new("RGBA", (3, 0)), video="a.mp4", number=7, time=0.2),
    ]
    results = predictor(images)
    assert [isinstance(result, UnreadResult) for result in results] == [number not in (0, 4) for number in range(10)]
    assert [results[0].name, results[4].name] == [str(files[0]), str(files[1])]
    names = [str(broken), str(tmp_path / "nix.jpg"), "image 3", "image 5", "image 6", "image 7", "image 8"]
    names.append("a.mp4#frame 7")
    assert [one.name for one in predictor.skipped] == names
    assert all(one.reason and "\n" not in one.reason for one in predictor.skipped)
    unread = [result for result in results if isinstance(result, UnreadResult)]
    assert [(one.name, one.reason) for one in predictor.skipped] == [(one.name, one.reason) for one in unread]
    assert unread[0].to_dict() == {"name": str(broken), "error": unread[0].reason}
    with pytest.raises(UnreadableImageError, match=r"broken\.jpg"):
        predictor([files[0], broken], unreadable="raise")
    assert len(list(predictor.stream([broken, files[0]]))) == 1
    assert len(predictor.skipped) == 1
    with pytest.raises(UnreadableImageError, match=r"broken\.jpg"):
        predictor(broken)


def test_images_of_unequal_sizes_come_back_in_order_and_unchanged(tmp_path: Path) -> None:
    whole = Preprocessing(size=(48, 48), fit="whole")
    predictor = _predictor(preprocessing=whole, batch_size=8)
    images = [_array(number, *((40, 56) if number % 2 else (56, 40))) for number in range(5)]
    results = predictor(images)
    assert [result.name for result in results] == [f"image {number}" for number in range(5)]
    for image, result in zip(images, results, strict=True):
        assert result.scores == pytest.approx(predictor(image).scores, abs=1e-5)
        assert result.geometry.original_size == image.shape[:2]


def test_traces_and_features_ride_along_when_asked_for() -> None:
    predictor = _predictor()
    plain, full = predictor(_array()), predictor([_array(), _array(1)], trace=True, features=True)
    assert plain.trace is None
    assert plain.features is None
    assert full[0].scores == pytest.approx(plain.scores, abs=1e-6)
    assert full[1].features.shape == (64,)
    assert full[1].trace.points["cortex.1"].xy.shape == (4, 4, 2)
    assert full[1].trace.response["head"].logits.shape == (4, 3)
    points = predictor(_array(), trace="points").trace
    assert points.points
    assert not points.regions
    torch.testing.assert_close(predictor.model.head.fc(full[0].features).softmax(-1).max().item(), plain.scores[0])


def test_top_k_is_how_many_classes_are_named() -> None:
    predictor = _predictor()
    assert len(predictor(_array(), top_k=1).labels) == 1
    assert len(predictor(_array(), top_k=50).labels) == 3
    with pytest.raises(ConfigError, match="top_k is 0"):
        predictor(_array(), top_k=0)


def test_outputs_without_names_are_numbered_and_an_embedding_has_none() -> None:
    model = create_model("sparseformer_nano", num_classes=3, **SMALL)
    assert set(Predictor(model, "cpu")(_array()).labels) == {"0", "1", "2"}
    model = create_model("sparseformer_nano", num_classes=3, head_bias="none", **SMALL)
    predictor = Predictor(model, "cpu")
    with pytest.raises(ConfigError, match="ask for its features"):
        predictor(_array())
    result = predictor(_array(), features=True)
    assert (result.labels, result.features.shape) == ((), (3,))


def test_a_saved_folder_answers_as_the_model_did(tmp_path: Path) -> None:
    predictor = _predictor()
    predictor.model.save_pretrained(tmp_path / "x")
    answer, expected = Predictor(tmp_path / "x", "cpu", labels=LABELS)(_array()), predictor(_array())
    assert answer.labels == expected.labels
    # A model that the predictor opened itself runs with packed weights: equal to rounding.
    assert answer.scores == pytest.approx(expected.scores, abs=1e-6)


def test_a_predictor_can_be_sent_to_another_process_and_copied(tmp_path: Path) -> None:
    made = _predictor()
    made.model.save_pretrained(tmp_path / "x")
    opened = Predictor(str(tmp_path / "x"), "cpu", labels=LABELS, batch_size=2)
    for predictor in (made, opened):
        expected = predictor(_array())
        for again in (pickle.loads(pickle.dumps(predictor)), copy.deepcopy(predictor), copy.copy(predictor)):
            answer = again(_array())
            assert (answer.labels, answer.scores) == (expected.labels, pytest.approx(expected.scores, abs=1e-6))
            assert (again.batch_size, again.labels) == (predictor.batch_size, predictor.labels)
            assert again.preprocessing == predictor.preprocessing


@pytest.mark.slow
def test_two_spawned_processes_give_the_results_of_one(tmp_path: Path) -> None:
    _predictor().model.save_pretrained(tmp_path / "x")
    predictor = Predictor(str(tmp_path / "x"), "cpu", labels=LABELS)
    images = [_array(number) for number in range(4)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        together = [result for half in pool.map(predictor, [images[:2], images[2:]]) for result in half]
    for result, expected in zip(together, predictor(images), strict=True):
        assert (result.labels, result.scores) == (expected.labels, pytest.approx(expected.scores, abs=1e-6))


def test_a_peer_predicts_too() -> None:
    predictor = Predictor(create_model("timm/test_vit", num_classes=3), "cpu", labels=LABELS)
    assert predictor(_array(), features=True).features.ndim == 1
    with pytest.raises(ConfigError, match="does not record what it looks at"):
        predictor(_array(), trace=True)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: _predictor(batch_size=0), "batch_size is 0"),
        (lambda: _predictor(labels=("ant",)), "3 outputs and was given 1 labels"),
        (lambda: Predictor(torch.nn.Linear(2, 2)), "give preprocessing="),
        (lambda: Predictor(create_model("sparseformer_nano"), "quantum"), "The device 'quantum' cannot be used"),
        (lambda: _predictor()(count()), "use `stream`"),
        (lambda: _predictor()(io.BytesIO(b"x")), "is not an image"),
        (lambda: _predictor()(_array(), trace="pionts"), "'points'"),
    ],
)
def test_a_wrong_request_is_one_sentence(make, said: str) -> None:
    with pytest.raises((ConfigError, UnknownNameError), match=said):
        make()


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_a_model_of_another_precision_gets_its_images_in_it(precision: torch.dtype, tmp_path: Path) -> None:
    predictor = _predictor()
    expected = predictor(_array())
    predictor.model.to(precision)
    found = predictor(_array(), trace=True, features=True)
    assert found.scores == pytest.approx(expected.scores, abs=0.02)
    torch.manual_seed(0)
    model = create_model("sparseformer_nano", num_classes=3, cortex_depth=1, **SMALL)
    view = Preprocessing(size=(32, 32))
    path = save_checkpoint(tmp_path / "own", model, name="sparseformer_nano", preprocessing=view, labels=LABELS)
    packed = Predictor(path, "cpu")
    if is_packed(packed.model):
        packed.model.to(precision)
        with pytest.raises(ConfigError, match=r"packed in torch.float32 and cannot become .*: convert the model"):
            packed(_array())
