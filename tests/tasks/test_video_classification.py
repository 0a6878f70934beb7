"""Classification of videos: views whose scores are averaged, and the commands on files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sparsevision.cli import main
from sparsevision.data.clips import ClipEvaluationTransform
from sparsevision.data.dataset import Record
from sparsevision.data.videos import Video
from sparsevision.evaluation.evaluate import evaluate
from sparsevision.inference import Predictor
from sparsevision.tasks.video_classification.task import VideoClassificationTask
from sparsevision.types import Batch, Preprocessing
from video_folder import draw_video_folder, moving_square, numbered, numbers_of, save_tiny_teller, write_video

pytest.importorskip("av")
SHOWN = Preprocessing(size=(48, 48), crop_fraction=1.0, mean=(0, 0, 0), std=(1 / 255,) * 3, frames=3, frame_stride=2)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("teller")
    save_tiny_teller(root / "model")
    draw_video_folder(root / "data", train=2, val=3)
    return root


def views(path: Path, **options: Any) -> torch.Tensor:
    transform = ClipEvaluationTransform(replace(SHOWN, **options))
    return transform(Record(Video(str(path)), 0, "video")).image


def test_clips_are_spread_over_the_video_and_crops_over_the_long_side(tmp_path: Path) -> None:
    path = write_video(tmp_path / "long.mp4", numbered(41, (48, 96)), rate=10)
    found = views(path, clips=3, crops=3)
    assert found.shape == (9, 3, 3, 48, 48)
    # A clip spans 6 of 41 frames: from the beginning, from the middle, to the end. A crop shows half of the stripes.
    for clip, first in enumerate((0, 17, 35)):
        parts = [found[3 * clip + side].permute(1, 2, 3, 0).round().clamp(0, 255).byte().numpy() for side in (0, 2)]
        assert numbers_of(np.concatenate(parts, axis=2)) == [first, first + 2, first + 4]


def test_scores_of_views_are_averaged_not_logits() -> None:
    task = VideoClassificationTask(("a", "b"))
    logits = torch.tensor([[9.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.5]])
    batch = Batch(torch.zeros(4, 3, 2, 8, 8), None, ["x", "y"], [0, 1], views=2)
    merged = task.merge(logits, batch).softmax(-1)
    torch.testing.assert_close(merged, logits.softmax(-1).unflatten(0, (2, 2)).mean(1))


def test_evaluate_takes_clips_and_crops(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report, skipped = evaluate(place / "model", str(place / "data"), clips=4, crops=3)
    plain, _ = evaluate(place / "model", str(place / "data"))
    assert not skipped
    assert report.images == plain.images == 6
    assert report.scalars()["loss"] != plain.scalars()["loss"]
    model = Predictor(place / "model")
    preprocessing = replace(model.preprocessing, clips=4, crops=3)
    twelve = Predictor(place / "model", preprocessing=preprocessing)
    paths = sorted((place / "data" / "val").rglob("*.mp4"))
    scores = [dict(zip(result.labels, result.scores, strict=True)) for result in twelve(paths)]
    losses = [-np.log(each[path.parent.name]) for path, each in zip(paths, scores, strict=True)]
    assert report.scalars()["loss"] == pytest.approx(np.mean(losses), abs=1e-5)
    words = ["evaluate", str(place / "model"), "--data", str(place / "data"), "--clips", "4", "--crops", "3", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(report.scalars()["loss"], abs=1e-6)


def test_a_long_file_is_told_window_by_window(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / "long.mp4", moving_square(0, right=True, count=44), rate=8)
    assert main(["predict", str(path), "--model", str(place / "model"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["time"] for line in lines] == pytest.approx([0, 1, 2, 3, 4, 5])
    assert all({each["label"] for each in line["classes"]} == {"left", "right"} for line in lines)
