"""Explanations of videos: what is read of each frame, when tokens look, and the files that show it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsevision.cli import main
from sparsevision.drawing.palette import token_colours
from sparsevision.explain import Explanation, figures_for
from sparsevision.explain.clip import ClipFrames, TimedStage, drawn_frame
from sparsevision.explain.registry import panels_for
from sparsevision.inference import Predictor
from sparsevision.inference.explaining import explain_images
from video_folder import moving_square, save_tiny_teller, write_video

av = pytest.importorskip("av")
SIZE = (80, 60)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips")
    write_video(root / "square.mp4", moving_square(0, right=True, count=8))
    save_tiny_teller(root / "model")
    return root


@pytest.fixture(scope="module")
def explanation(place: Path) -> Explanation:
    [found] = explain_images(Predictor(place / "model"), [str(place / "square.mp4")])
    return found


def stage() -> TimedStage:
    """Two tokens of one point: one at the left in the second frame, one at the right between the third and fourth."""
    return TimedStage(
        name="focusing.1", points=np.array([[[20.0, 30.0]], [[60.0, 30.0]]]), times=np.array([[1.5], [3.0]]),
        regions=np.array([[0.0, 0, 40, 60], [40, 0, 80, 60]]), spans=np.array([[0.0, 2.0], [2.0, 4.0]]),
    )  # fmt: skip


def coloured(frame: Image.Image) -> set[int]:
    """The tokens whose colour is somewhere in a frame."""
    pixels = np.asarray(frame).reshape(-1, 3).astype(int)
    wanted = (255 * token_colours(2)).round().astype(int)
    return {token for token in range(2) if (abs(pixels - wanted[token]).max(1) < 8).any()}


def test_a_point_is_drawn_in_the_frames_that_it_is_read_from_and_in_no_other() -> None:
    black = Image.new("RGB", (5 * SIZE[0], 5 * SIZE[1]))
    # Frames stand at 0.5, 1.5, 2.5 and 3.5 seconds.
    seen = [coloured(drawn_frame(black, SIZE, stage(), time, 1.0)) for time in (0.5, 1.5, 2.5, 3.5)]
    assert seen == [set(), {0}, {1}, {1}]
    drawn = np.asarray(drawn_frame(black, SIZE, stage(), 1.5, 1.0)).max(2)
    rows, columns = np.nonzero(drawn > 100)
    assert (rows.mean(), columns.mean()) == pytest.approx((149.5, 99.5), abs=0.6)
    assert stage().shares(2.5, 1.0).tolist() == [[0.0], [0.5]]


def test_fractions_of_a_clip_are_seconds_of_the_video() -> None:
    clip = ClipFrames(images=(Image.new("RGB", SIZE),) * 4, times=(6.5, 7.5, 8.5, 9.5), begin=6.0, end=10.0)
    assert clip.seconds([0.0, 0.25, 1.0]).tolist() == [6.0, 7.0, 10.0]
    assert clip.step == 1.0
    assert clip.picked(2) == [0, 3]


def test_tubes_of_copies_are_halves_of_the_clip(explanation: Explanation) -> None:
    assert explanation.clip is not None
    first, *_ = explanation.timed_stages
    begin, end = explanation.clip.begin, explanation.clip.end
    assert (begin, end) == pytest.approx((0.0, 1.0), abs=0.01)
    middle = (begin + end) / 2
    np.testing.assert_allclose(first.spans, [[begin, middle]] * 4 + [[middle, end]] * 4, atol=1e-5)
    assert first.regions.min() >= 0
    assert first.points.shape == (8, 4, 2)
    names = [kind.name for kind in figures_for(explanation.has)]
    assert {"clip", "timeline"} <= set(names)


def test_the_page_has_every_frame_and_point(explanation: Explanation) -> None:
    panels = {kind.name: kind for _, kind in panels_for(explanation.has)}
    content = panels["clip"].content(explanation)
    assert [frame["time"] for frame in content["frames"]] == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert (content["tokens"], content["per_token"], len(content["colours"])) == (8, 4, 8)
    assert len(content["stages"]) == len(explanation.timed_stages)


def test_the_command_writes_figures_an_animation_a_video_and_the_page(place: Path, tmp_path: Path) -> None:
    words = ["explain", str(place / "square.mp4"), "--model", str(place / "model"), "--out", str(tmp_path / "out")]
    assert main([*words, "--figure", "all", "--gif", "--page"]) == 0
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"square-clip.png", "square-timeline.png", "square.gif", "square.mp4"} <= files
    with Image.open(tmp_path / "out" / "square.gif") as image:
        assert image.n_frames == 4
    with av.open(str(tmp_path / "out" / "square.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 4
    [page] = (tmp_path / "out").glob("*.html")
    assert 'type="range"' in page.read_text()
