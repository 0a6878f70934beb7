"""Classification of videos: views whose scores are averaged, and the commands on files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sparsevision.cli import main
from sparsevision.data.clips import ClipEvaluationTransform, clip_seconds
from sparsevision.data.dataset import Record
from sparsevision.data.videos import Video
from sparsevision.evaluation.evaluate import evaluate
from sparsevision.inference import Predictor
from sparsevision.inference.clips import Clip, ClipReader, clips_of
from sparsevision.inference.images import Frame
from sparsevision.inference.video import with_frames
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
    for clip, first in enumerate((0, 18, 35)):
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
    assert report.tables()[0].heading.startswith(f"{report.images} videos: ")
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


@pytest.mark.parametrize("options", [
    {"frames": 4, "clip_seconds": 1.0}, {"frames": 5, "frame_stride": 3}, {"frames": 16, "clip_seconds": 0.75},
    {"frames": 3, "frame_stride": 7, "clips": 4, "crops": 3},
])  # fmt: skip
@pytest.mark.parametrize("all_frames", [True, False])
def test_a_window_has_the_frames_that_the_same_part_of_a_file_has(
    tmp_path: Path, options: dict[str, Any], all_frames: bool
) -> None:
    rate = 12
    shown = Preprocessing(size=(48, 48), crop_fraction=1.0, **options)
    write = partial(write_video, rate=rate, codec="ffv1", pix_fmt="bgr0")
    path = write(tmp_path / "long.mkv", numbered(50))
    clips = list(clips_of(with_frames([str(path)], []), shown, all_frames=all_frames))
    seconds = clip_seconds(shown, rate)
    assert seconds is not None
    assert [clip.begin for clip in clips] == pytest.approx([seconds * number for number in range(len(clips))])
    assert clips[-1].end + clips[-1].tail == pytest.approx(50 / rate, abs=0.01)
    if all_frames:  # the frame at which one ends and the next begins is drawn once
        assert [time for clip in clips for time in clip.times] == pytest.approx(np.arange(50) / rate, abs=0.01)
    read, length = ClipReader(ClipEvaluationTransform, shown), round(seconds * rate)
    of_file = ClipEvaluationTransform(replace(shown, clips=1))
    for number, clip in enumerate(clips):
        part = write(tmp_path / f"{number}.mkv", numbered(50)[number * length : (number + 1) * length])
        alone = of_file(Record(Video(str(part)), None, "part")).image
        assert (read(clip, 0).image - alone).abs().max() < 1e-5


def test_frames_that_are_reduced_at_once_and_later_are_the_same(tmp_path: Path) -> None:
    shown = Preprocessing(size=(24, 24), frames=4, clip_seconds=1.0)
    path = write_video(tmp_path / "long.mp4", numbered(20, (90, 120)), rate=8)
    read = ClipReader(ClipEvaluationTransform, shown)
    every, chosen = (
        [read(clip, 0) for clip in clips_of(with_frames([str(path)], []), shown, all_frames=all_frames)]
        for all_frames in (True, False)
    )
    assert len(every) == len(chosen) == 3
    for one, other in zip(every, chosen, strict=True):
        assert torch.equal(one.image, other.image)
        assert one.geometry == other.geometry


@pytest.mark.parametrize(("frames", "ends"), [(17, [1.0, 2.12]), (18, [1.0, 2.0, 2.25]), (8, [1.0]), (1, [0.12])])
def test_an_end_too_short_for_a_clip_belongs_to_the_one_before(tmp_path: Path, frames: int, ends: list[float]) -> None:
    shown = Preprocessing(size=(24, 24), frames=4, clip_seconds=1.0)
    path = write_video(tmp_path / "long.mp4", numbered(frames), rate=8)
    read = ClipReader(ClipEvaluationTransform, shown)
    for all_frames in (True, False):
        clips = list(clips_of(with_frames([str(path)], []), shown, all_frames=all_frames))
        assert [float(clip.name.split("-")[-1][:-2]) for clip in clips] == ends
        assert clips[0].begin == 0
        if all_frames:
            assert sum(len(clip.drawn()) for clip in clips) == frames
        if frames == 17:  # seen as if the video ended with the clip
            whole = write_video(tmp_path / "whole.mp4", numbered(16), rate=8)
            alone = list(clips_of(with_frames([str(whole)], []), shown))[1]
            torch.testing.assert_close(read(clips[1], 0).image, read(alone, 0).image, atol=0.05, rtol=0)


def test_a_clip_of_a_camera_does_not_wait() -> None:
    shown = Preprocessing(size=(24, 24), frames=4, clip_seconds=1.0)
    seen: list[int] = []

    def filmed(video: str) -> Iterator[Frame]:
        for number in range(20):
            seen.append(number)
            yield Frame(image=Image.new("RGB", (32, 32)), video=video, number=number, time=number / 8, rate=8)

    for video, last in (("camera:0", 8), ("a.mp4", 10)):
        clip = next(iter(clips_of(filmed(video), shown)))
        assert isinstance(clip, Clip)
        assert (clip.end, seen[-1]) == (1.0, last)


def test_a_frame_is_drawn_once_where_clips_begin_between_frames(tmp_path: Path) -> None:
    shown = Preprocessing(size=(24, 24), frames=4, clip_seconds=1.05)
    path = write_video(tmp_path / "long.mp4", numbered(40), rate=8)
    clips = list(clips_of(with_frames([str(path)], []), shown, all_frames=True))
    assert len(clips) == 5
    times = [time for clip in clips for _, time in clip.drawn()]
    assert times == pytest.approx(np.arange(40) / 8, abs=0.01)


def test_a_frame_that_is_held_is_seen_in_every_window_of_its_time(tmp_path: Path) -> None:
    shown = Preprocessing(size=(48, 64), fit="stretch", frames=4, clip_seconds=2.0)
    path = write_video(tmp_path / "held.mkv", numbered(4), times=[0.0, 0.1, 7.0, 7.1])
    clips = list(clips_of(with_frames([str(path)], []), shown))
    assert [(clip.begin, round(clip.end, 1)) for clip in clips] == [(0, 2), (2, 4), (4, 6), (6, 7.2)]
    seen = [numbers_of(np.stack([np.asarray(frame) for frame in clip.frames])) for clip in clips]
    assert seen[:3] == [[1, 1, 1, 1]] * 3
    assert set(seen[3]) <= {1, 2, 3}


def test_an_array_is_a_clip_itself() -> None:
    shown = Preprocessing(size=(48, 64), fit="stretch", mean=(0, 0, 0), std=(1 / 255,) * 3, frames=4, frame_stride=9)
    read = ClipReader(ClipEvaluationTransform, shown)
    for count, expected in ((4, [0, 1, 2, 3]), (8, [1, 3, 5, 7]), (1, [0, 0, 0, 0])):
        frames = read(numbered(count), 0).image.permute(1, 2, 3, 0).round().byte().numpy()
        assert numbers_of(frames) == expected


def test_a_trace_is_of_one_view_in_the_middle(place: Path) -> None:
    carried = Predictor(place / "model").preprocessing
    path = next((place / "data" / "val").rglob("*.mp4"))
    several = Predictor(place / "model", preprocessing=replace(carried, clips=4, crops=3))
    one = Predictor(place / "model")
    first, second = (predictor(path, trace=True) for predictor in (several, one))
    assert first.scores == second.scores
    for name, points in second.trace.points.items():
        assert torch.equal(first.trace.points[name].xy, points.xy)


def test_a_long_file_is_told_window_by_window(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / "long.mp4", moving_square(0, right=True, count=44), rate=8)
    assert main(["predict", str(path), "--model", str(place / "model"), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["time"] for line in lines] == pytest.approx([0, 1, 2, 3, 4, 5])
    assert all({each["label"] for each in line["classes"]} == {"left", "right"} for line in lines)
