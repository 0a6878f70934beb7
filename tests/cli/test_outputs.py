"""Outputs of commands: nothing that a user has is replaced, no two outputs have one name, no run loses the others."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from sparsevision.checkpoints import save_checkpoint
from sparsevision.cli import main
from sparsevision.errors import ConfigError
from sparsevision.factory import create_model
from sparsevision.files import OutputFolder, check_new, recorded_in
from sparsevision.types import Preprocessing
from tiny_detector import LABELS, save_tiny_detector

pytestmark = pytest.mark.slow  # whole commands, one after the other
THRESHOLD = ["--threshold", "0.01"]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_detector(tmp_path_factory.mktemp("weights") / "tiny"))


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def photo(*paths: str) -> None:
    for number, path in enumerate(paths):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((48, 40), 40 + number).convert("RGB").save(path)


def digests(folder: str = ".") -> dict[str, str]:
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def unharmed(before: dict[str, str]) -> bool:
    after = digests()
    return all(after.get(path) == digest for path, digest in before.items())


@pytest.mark.parametrize("sources", [["photos"], ["photos/a.jpg", "photos/b.png"], ["photos/*"], ["."]])
@pytest.mark.parametrize("flags", [[], ["--overwrite"]])
def test_images_that_are_read_are_never_drawn_over(detector: str, sources: list[str], flags: list[str]) -> None:
    photo("photos/a.jpg", "photos/b.png")
    before = digests()
    for _ in range(2):  # the second time, what the first one drew is replaced and not read
        assert main(["predict", *sources, "--model", detector, *THRESHOLD, "--draw", "photos", *flags]) == 0
        assert unharmed(before)
        assert {path.name for path in Path("photos").glob("[!.]*")} == {"a.jpg", "b.png", "a-2.jpg", "b-2.png"}


def test_a_video_is_not_drawn_over(detector: str) -> None:
    av = pytest.importorskip("av")
    Path("clips").mkdir()
    with av.open("clips/own.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 48, 40, "yuv420p"
        for shade in (40, 200):
            frame = av.VideoFrame.from_image(Image.new("RGB", (48, 40), (shade, 90, 90)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    before = digests()
    assert main(["predict", "clips/own.mp4", "--model", detector, *THRESHOLD, "--draw", "clips"]) == 0
    assert unharmed(before)
    assert Path("clips/own-2.mp4").exists()


def test_a_list_on_standard_input_is_not_drawn_over(detector: str, monkeypatch: pytest.MonkeyPatch) -> None:
    photo("photos/a.jpg", "photos/b.jpg")
    before = digests()
    with Path("list").open("w+") as listed:
        listed.write("photos/a.jpg\nphotos/b.jpg\n")
        listed.seek(0)
        monkeypatch.setattr(sys, "stdin", listed)
        assert main(["predict", "-", "--model", detector, *THRESHOLD, "--draw", "photos", "--overwrite"]) == 0
    assert unharmed(before)


def test_files_that_exist_are_replaced_only_where_that_is_asked_for(detector: str, capsys) -> None:
    photo("photos/a.png")
    Path("out.json").write_text("mine")
    before = digests()
    arguments = ["predict", "photos", "--model", detector, *THRESHOLD]
    for name in ("out.json", "photos/a.png", f"{detector}/config.json"):
        assert main([*arguments, "--coco", name]) == 2
        assert "exists already" in (said := capsys.readouterr().err) or "belongs to what this command reads" in said
    assert main([*arguments, "--features", "x.npz", "--coco", "new.json"]) in (0, 2)
    assert unharmed(before)
    assert main([*arguments, "--coco", "out.json", "--overwrite"]) == 0
    assert Path("out.json").read_text() != "mine"
    for name in ("photos/a.png", f"{detector}/config.json"):
        assert main([*arguments, "--coco", name, "--overwrite"]) == 2
        assert "belongs to what this command reads" in capsys.readouterr().err
    del before["out.json"]
    assert unharmed(before)


def test_a_list_of_names_beside_the_results_is_not_replaced(detector: str) -> None:
    photo("photos/a.png")
    Path("out.images.json").write_text("mine")
    assert main(["predict", "photos", "--model", detector, "--coco", "out.json"]) == 2
    assert (Path("out.images.json").read_text(), Path("out.json").exists()) == ("mine", False)


def test_images_of_one_name_are_all_drawn(detector: str) -> None:
    photo("x/a.jpg", "y/a.jpg", "z/a-2.jpg", "z/a.png", "w/A.jpg")
    assert main(["predict", "x", "y", "z", "w", "--model", detector, *THRESHOLD, "--draw", "out"]) == 0
    assert len(list(Path("out").glob("[!.]*"))) == 5
    assert main(["explain", "x", "y", "z", "w", "--model", detector, "--out", "figures"]) == 0
    assert len(list(Path("figures").glob("[!.]*"))) == 5


def test_outputs_are_not_read_as_images(detector: str, capsys) -> None:
    photo("a.jpg")
    for _ in range(2):
        assert main(["predict", ".", "--model", detector, *THRESHOLD, "--draw", "out", "--json"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 1
    assert main(["explain", ".", "--model", detector]) == 0
    capsys.readouterr()
    assert main(["predict", ".", "--model", detector, "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert main(["predict", "out/a.jpg", "--model", detector, "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_images_that_annotations_do_not_list_are_counted_and_named(detector: str, capsys) -> None:
    photo("set/a.png", "set/b.png", "set/c.png")
    # Ids as other programs write them, and a path of another system.
    images = [{"id": "7", "file_name": "a.png"}, {"id": 9.0, "file_name": "set\\c.png"}]
    categories = [{"id": number, "name": name} for number, name in enumerate(LABELS, start=3)]
    Path("ids.json").write_text(json.dumps({"images": images, "categories": categories}))
    arguments = ["predict", "set", "--model", detector, *THRESHOLD, "--annotations", "ids.json"]
    assert main([*arguments, "--coco", "out.json"]) == 0
    assert {row["image_id"] for row in json.loads(Path("out.json").read_text())} == {7, 9}
    assert "1 of 3 results were not written:\n  set/b.png is not listed in the annotations." in capsys.readouterr().err
    Path("ids.json").write_text(json.dumps({"images": images, "categories": categories[1:]}))
    assert main([*arguments, "--coco", "other.json"]) == 2
    said = capsys.readouterr()
    assert "has no category named 'disc'" in said.err
    assert said.out == ""  # before the first image
    assert not Path("other.json").exists()


def test_a_folder_records_what_a_command_writes(tmp_path: Path) -> None:
    def write(command: str, name: str, content: str = "", **options: object) -> None:
        with OutputFolder(tmp_path, command, **options).writing(name) as path:
            path.write_text(content)

    (tmp_path / "mine.txt").touch()
    assert OutputFolder(tmp_path, "predict").stem("x/mine.jpg", [".txt"]) == "mine-2"
    write("predict", "a.txt")
    with pytest.raises(ConfigError, match="exists already: choose another folder, or replace it with --overwrite"):
        write("predict", "mine.txt")
    assert recorded_in(tmp_path) == {"a.txt": "predict"}
    write("predict", "a.txt", "again")
    with pytest.raises(ConfigError, match="exists already"):
        write("explain", "a.txt")
    write("explain", "mine.txt", overwrite=True)
    with pytest.raises(ConfigError, match="exists already: choose another folder"):
        write("explain", "mine.txt", overwrite=True, inputs=["mine.txt"])
    with pytest.raises(ConfigError, match="is a file"):
        OutputFolder(tmp_path / "mine.txt", "explain")
    check_new(tmp_path / "new")
    with pytest.raises(ConfigError, match="is a folder"):
        check_new(tmp_path, overwrite=True)


@pytest.mark.parametrize("change", ["edit", "same size", "link"])
def test_a_file_that_somebody_else_changed_is_no_output_any_more(change: str, tmp_path: Path) -> None:
    with OutputFolder(tmp_path, "predict").writing("a.txt") as path:
        path.write_text("ours")
    os.utime(path, (1, 1))  # as in a copy of the folder
    assert recorded_in(tmp_path) == {"a.txt": "predict"}
    if change == "link":
        (tmp_path / "elsewhere").write_text("ours")
        path.unlink()
        path.symlink_to("elsewhere")
    else:
        path.write_text("mine" if change == "same size" else "mine, longer")
    assert recorded_in(tmp_path) == {}
    with pytest.raises(ConfigError, match="exists already"):
        OutputFolder(tmp_path, "predict").check("a.txt")


def test_an_own_image_under_the_name_of_an_output_is_read_and_kept(detector: str, capsys) -> None:
    photo("photos/b.png")
    words = ["predict", "photos", "--model", detector, *THRESHOLD, "--draw", "photos", "--json"]
    assert main(words) == 0
    photo("new.png", "photos/b-2.png")  # in place of what was drawn
    before = digests()
    capsys.readouterr()
    for flags in ([], ["--overwrite"]):
        assert main([*words, *flags]) == 0
        assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == [
            "photos/b-2.png", "photos/b.png"
        ]  # fmt: skip
        assert unharmed({path: digest for path, digest in before.items() if ".jsonl" not in path})


@pytest.mark.parametrize("link", ["file", "hard", "folder"])
@pytest.mark.parametrize("command", ["predict", "explain"])
def test_an_image_that_is_read_through_a_link_is_not_replaced(detector: str, link: str, command: str) -> None:
    name = {"predict": "a.png", "explain": "a-saliency.png"}[command]
    photo(f"own/{name}")
    Path("links").mkdir()
    source = f"links/{name}"
    if link == "file":
        Path(source).symlink_to(f"../own/{name}")
    elif link == "hard":
        os.link(f"own/{name}", source)
    else:
        Path("links/sub").symlink_to("../own")
        source = "links"
    if command == "explain":
        photo("links/a.jpg")  # whose figure would have the name
        source = "links"
    before = digests()
    where = {"predict": [*THRESHOLD, "--draw", "own"], "explain": ["--out", "own"]}[command]
    assert main([command, source, "--model", detector, *where, "--overwrite"]) == 0
    assert unharmed(before)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    small = {"num_tokens": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 64, "cortex_width": 64}
    model = create_model("sparseformer_nano", num_classes=2, cortex_depth=1, **small)
    options = {"preprocessing": Preprocessing(size=(32, 32)), "labels": ("ant", "bee")}
    path = tmp_path_factory.mktemp("weights") / "classifier"
    return str(save_checkpoint(path, model, name="sparseformer_nano", **options))


@pytest.mark.parametrize("linked", ["", "ant", "ant/sweep.png"])
@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "MODEL", "--confusion", "own/ant/sweep.png"],
        ["evaluate", "MODEL", "--out", "own/ant"],
        ["explain", "--model", "MODEL", "--faithfulness", "--limit", "2", "--out", "own/ant"],
    ],
)
def test_images_of_the_data_set_are_not_replaced(classifier: str, linked: str, words: list[str], capsys) -> None:
    name = "faithfulness.png" if "--faithfulness" in words else "sweep.png"
    linked = linked.replace("sweep.png", name)
    photo(f"own/ant/{name}", "own/bee/b.png", "own/ant/c.png")
    if linked:
        photo("data/bee/b.png")
        target = Path("data", linked)
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(Path("own", linked).resolve())
    before = digests()
    words = [classifier if word == "MODEL" else word for word in words]
    assert main([*words, "--data", "data" if linked else "own", "--overwrite"]) == 2
    said = capsys.readouterr().err
    assert "exists already" in said or "belongs to what this command reads" in said
    assert unharmed(before)
