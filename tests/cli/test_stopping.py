"""Commands that are asked to stop complete what they have, say how much it is, and end with the signal's status."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsevision.cli import main
from sparsevision.errors import RunStoppedError
from sparsevision.inference.images import ImageReader
from sparsevision.stopping import StopRequest, stopping_in_order
from tiny_detector import save_tiny_detector

pytestmark = pytest.mark.usefixtures("usual_handlers")
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_detector(tmp_path_factory.mktemp("weights") / "tiny"))


@pytest.fixture
def images(tmp_path: Path) -> str:
    for number in range(6):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.effect_noise((48, 40), 40 + number).convert("RGB").save(tmp_path / "images" / f"{number}.png")
    return str(tmp_path / "images")


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch):
    """Sends a signal to this process when the third image is read."""

    def at_third(number: int) -> None:
        read = ImageReader.__call__

        def reading(self: ImageReader, given: object, position: int) -> object:
            if position == 2:
                os.kill(os.getpid(), number)
            return read(self, given, position)

        monkeypatch.setattr(ImageReader, "__call__", reading)

    return at_third


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_predict_keeps_what_it_has(
    number: int, flags: list[str], detector: str, images: str, tmp_path: Path, signalled, capsys
) -> None:
    signalled(number)
    written = ["--draw", str(tmp_path / "drawn"), "--coco", str(tmp_path / "a.json")]
    words = ["predict", images, "--model", detector, "--batch-size", "1", "--threshold", "0", *written, *flags]
    assert main(words) == 128 + number
    printed = capsys.readouterr()
    rows = printed.out.splitlines()[0 if flags else 1 :]
    assert 2 <= len(rows) <= 3
    assert f"Stopped by {signal.Signals(number).name} after {len(rows)} images, whose results" in printed.err
    assert len(list((tmp_path / "drawn").glob("[!.]*"))) == len(rows)
    assert len({row["image_id"] for row in json.loads((tmp_path / "a.json").read_text())}) == len(rows)
    assert not [name for name in os.listdir(tmp_path / "drawn") if ".part" in name]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_explain_completes_its_page(detector: str, images: str, tmp_path: Path, monkeypatch, capsys) -> None:
    def written(self: object, *given: object, **options: object) -> None:
        write(self, *given, **options)
        os.kill(os.getpid(), signal.SIGTERM)

    from sparsevision.explain import ExplanationWriter

    write = ExplanationWriter.write
    monkeypatch.setattr(ExplanationWriter, "write", written)
    words = ["explain", images, "--model", detector, "--out", str(tmp_path / "out"), "--page", "--figure", "none"]
    assert main(words) == 128 + signal.SIGTERM
    assert "after 1 image, whose files are complete" in capsys.readouterr().err
    assert (tmp_path / "out" / "page.html").exists()


def test_a_wait_for_the_next_item_ends() -> None:
    def items() -> Iterator[int]:
        yield 1
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(600)
        yield 2

    with StopRequest() as stop:
        assert list(stop.ending(items())) == [1]
    assert stop.signal is signal.SIGINT
    with pytest.raises(RunStoppedError, match="Stopped by SIGINT here") as stopped:
        stop.raise_if_stopped("here")
    assert stopped.value.status == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_commands_leave_in_order(number: int) -> None:
    @stopping_in_order()
    def work() -> None:
        os.kill(os.getpid(), number)
        time.sleep(600)

    with pytest.raises(RunStoppedError, match="Stopped by SIG"):
        work()
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_class_called_image_leaves_the_names_of_files(detector: str, images: str, tmp_path: Path, capsys) -> None:
    config = json.loads((Path(detector) / "config.json").read_text())
    folder = tmp_path / "renamed"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(Path(detector) / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({**config, "labels": ["image", "square"]}))
    assert main(["predict", images, "--model", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["image", "image", "square"]
    assert all(line.startswith(images) for line in lines[1:])


def test_features_of_the_images_that_were_done(images: str, tmp_path: Path, signalled) -> None:
    signalled(signal.SIGINT)
    target = tmp_path / "f.npz"
    assert main(["predict", images, "--batch-size", "1", "--features", str(target)]) == 130
    assert 2 <= len(np.load(target)["names"]) <= 3
