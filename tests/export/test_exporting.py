"""A model that is exported gives the same answers as in PyTorch, whatever runs the file."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from coco_folder import draw_coco_folder
from small_images import jpeg
from sparsevision import Predictor, create_model, evaluate
from sparsevision.checkpoints import save_checkpoint
from sparsevision.cli import main
from sparsevision.errors import CheckpointError, ConfigError
from sparsevision.export import FORMATS, ExportOptions, export_model
from sparsevision.factory import open_model
from sparsevision.runtimes import open_exported
from sparsevision.runtimes.runtime import OpenVinoRuntime
from sparsevision.types import Preprocessing, Trace
from tiny_detector import save_tiny_detector
from video_folder import draw_video_folder

pytestmark = pytest.mark.slow

TOKENS = {
    "num_tokens": 6, "num_points": 4, "feature_channels": 8, "focusing_width": 16, "focusing_repeats": 2,
    "cortex_width": 32, "cortex_depth": 2, "head_width": 8,
}  # fmt: skip
FPN = {
    "backbone": "test_efficientnet", "backbone_options": (), "width": 16, "token_width": 32, "num_heads": 4,
    "groups": 4, "head_width": 16,
}  # fmt: skip
VT = {"width": 8, "feature_width": 64, "token_width": 64, "num_heads": 4, "group_width": 16}
SHORT_SIDE = Preprocessing(size=(128, 224), fit="short", interpolation="bilinear")
# Of each network and task: its name, a narrow configuration, and how it sees images.
NETWORKS: dict[str, tuple[str, dict[str, Any], Preprocessing]] = {
    "classifier of tokens": ("sparseformer_nano", TOKENS, Preprocessing(size=(48, 64))),
    "convolutional classifier": ("vt_resnet18", VT, Preprocessing(size=(64, 64))),
    "detector by tokens": (
        "sparseformer_detector_nano", {**TOKENS, "num_queries": 4}, Preprocessing(size=(64, 96), fit="short"),
    ),
    "segmenter": ("vt_fpn_nano", FPN, Preprocessing(size=(64, 64), fit="whole")),
    "segmenter by tokens": ("sparseformer_segmenter_nano", TOKENS, Preprocessing(size=(64, 64), fit="stretch")),
}  # fmt: skip


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photographs")
    sizes = ((120, 96), (96, 130), (200, 110), (97, 101))
    paths = [folder / f"{number}.jpg" for number in range(len(sizes))]
    for number, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        path.write_bytes(jpeg(number, *size))
    return paths


def _save(folder: Path, name: str, config: dict[str, Any], view: Preprocessing) -> Path:
    torch.manual_seed(0)
    model = create_model(name, num_classes=3, **config)
    return save_checkpoint(folder, model, name=name, preprocessing=view, labels=("ant", "bee", "cat"))


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_detector(tmp_path_factory.mktemp("detector"), shown=SHORT_SIDE, decoder_depth=1)


@pytest.fixture(scope="module")
def exported_detector(detector: Path, tmp_path_factory: pytest.TempPathFactory, photographs: list[Path]) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "detector.onnx"
    made = export_model(detector, path, ExportOptions(trace=True), images=photographs)
    assert made.agreement is not None
    assert made.agreement.passes, str(made.agreement)
    assert "multiples of 32" in made.remark
    assert made.files == (path,) == tuple(path.parent.iterdir())
    return path


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_kind_of_network_gives_the_same_answers(kind: str, tmp_path: Path, photographs: list[Path]) -> None:
    weights = _save(tmp_path / "weights", *NETWORKS[kind])
    path = tmp_path / "model.onnx"
    made = export_model(weights, path, images=photographs)
    assert made.agreement is not None
    assert made.agreement.images == len(photographs)
    assert made.agreement.passes, str(made.agreement)
    predictor, exported = Predictor(weights, "cpu", preprocessing=made.preprocessing), Predictor(path)
    assert exported.labels == predictor.labels
    for result, other in zip(predictor(photographs), exported(photographs), strict=True):
        assert result.agreement(other) == 1
        assert result.to_dict().keys() == other.to_dict().keys()


# Files for ONNX Runtime and OpenVINO are what other tests use, and the page has its own.
@pytest.mark.parametrize("way", sorted({*FORMATS} - {"onnx", "openvino", "web"}))
def test_every_format_gives_the_same_answers(way: str, detector: Path, tmp_path: Path, photographs: list[Path]) -> None:
    path = tmp_path / f"model{FORMATS[way].suffix}"
    made = export_model(detector, path, ExportOptions(format=way), images=photographs)
    assert all(file.stat().st_size for file in made.files)
    assert {file for file in tmp_path.rglob("*") if file.is_file()} == {*made.files}
    assert made.agreement is not None
    assert made.agreement.passes, str(made.agreement)


def test_eight_bits_give_nearly_the_same_answers(tmp_path: Path, photographs: list[Path]) -> None:
    weights = _save(tmp_path / "weights", *NETWORKS["classifier of tokens"])
    options = ExportOptions(format="openvino", precision="int8")
    made = export_model(weights, tmp_path / "small.xml", options, images=photographs, calibration=photographs)
    assert (tmp_path / "small.bin").stat().st_size < 0.5 * (weights / "model.safetensors").stat().st_size
    assert made.agreement is not None
    assert max(made.agreement.differences.values()) > 1e-4  # it is not fp32 by another name
    assert Predictor(tmp_path / "small.xml")(photographs[0]).agreement(Predictor(weights, "cpu")(photographs[0])) == 1


def test_videos_are_exported(tmp_path: Path) -> None:
    data = draw_video_folder(tmp_path / "data")
    view = Preprocessing(size=(32, 32), frames=4)
    weights = _save(tmp_path / "weights", "video_sparseformer_nano", {**TOKENS, "inflation": 2}, view)
    videos = sorted(data.rglob("*.mp4"))[:2]
    made = export_model(weights, tmp_path / "model.onnx", images=videos)
    assert made.agreement is not None
    assert made.agreement.passes, str(made.agreement)
    results = Predictor(tmp_path / "model.onnx")([str(video) for video in videos])
    assert [result.name for result in results] == [str(video) for video in videos]


def test_a_detector_updates_as_many_tokens_as_in_pytorch_at_any_size(
    detector: Path, exported_detector: Path, photographs: list[Path]
) -> None:
    view = replace(SHORT_SIDE, multiple=32)
    ours, theirs = Predictor(detector, "cpu", preprocessing=view), Predictor(exported_detector)
    shapes = set()
    for photograph in photographs:
        kept = [predictor(photograph, trace="kept").trace.kept["encoder"] for predictor in (ours, theirs)]
        numbers = [[int((level >= 0).sum()) for level in each.indices] for each in kept]
        assert numbers[0] == numbers[1]
        assert kept[0].grids == kept[1].grids
        shapes.add(kept[0].grids)
    assert len(shapes) >= 3


@pytest.fixture(scope="module")
def updated(
    detector: Path, photographs: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tensor, float, Path]:
    """An image, a keep ratio with which the budget ends among tokens of equal scores, and an OpenVINO file for it."""
    model, scores = open_model(detector).eval(), []
    image = torch.rand(1, 3, 448, 480, generator=torch.Generator().manual_seed(0))
    model.scorer.register_forward_hook(lambda scorer, given, found: scores.append(found[0]))
    model(image)
    ranked = scores[0].sort(descending=True).values
    equal = (ranked[1:] == ranked[:-1]).nonzero().flatten()
    assert len(equal) > 8  # tokens at the border of a large image have no proposal
    keep_ratio = round(float(equal[len(equal) // 2]) / len(ranked), 4)
    path = tmp_path_factory.mktemp("updated") / "model.xml"
    options = ExportOptions(format="openvino", trace=True, controls={"keep_ratio": keep_ratio})
    made = export_model(detector, path, options, images=photographs)
    assert {*made.files} == {*path.parent.iterdir()} == {path, path.with_suffix(".bin")}
    assert made.agreement is not None
    assert made.agreement.passes, str(made.agreement)
    return image, keep_ratio, path


def test_of_tokens_with_equal_scores_the_same_are_updated(detector: Path, updated: tuple[Tensor, float, Path]) -> None:
    image, keep_ratio, path = updated
    ours, theirs = Trace("kept"), Trace("kept")
    open_model(detector).eval()(image, trace=ours, keep_ratio=keep_ratio)
    open_exported(path)(image, trace=theirs)
    kept = [[sorted(level.flatten().tolist()) for level in each.kept["encoder"].indices] for each in (ours, theirs)]
    assert kept[0] == kept[1]


def test_openvino_prepares_a_graph_for_a_size_that_comes_often(
    updated: tuple[Tensor, float, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = open_exported(updated[2])
    runtime, often = model.runtime, OpenVinoRuntime.OFTEN

    def raising(*_: Any) -> None:
        raise RuntimeError("no memory")

    images, others = updated[0][..., :128, :160], updated[0][..., :128, :96]
    found = [model(images).heads[0].logits for _ in range(often - 1)]
    assert not runtime.fixed
    found += [model(images).heads[0].logits for _ in range(2)]
    assert list(runtime.fixed) == [images.shape]
    assert runtime.fixed[images.shape] is not runtime.open
    torch.testing.assert_close(found[0], found[-1], atol=1e-4, rtol=1e-4)
    # What was used last is kept.
    monkeypatch.setattr(OpenVinoRuntime, "MOST_FIXED", 1)
    for _ in range(often):
        model(others)
    assert list(runtime.fixed) == [others.shape]
    runtime.prepare((1, 3, 96, 96))
    assert list(runtime.fixed) == [(1, 3, 96, 96)]
    # A shape that cannot be fixed goes on as before.
    monkeypatch.setattr(runtime.core, "compile_model", raising)
    for _ in range(often):
        model(images)
    assert runtime.fixed[images.shape] is runtime.open


def test_a_trace_is_that_of_pytorch(detector: Path, exported_detector: Path, photographs: list[Path]) -> None:
    view = open_exported(exported_detector).identity.preprocessing
    ours, theirs = (
        predictor(photographs[0], trace=True).trace
        for predictor in (Predictor(detector, "cpu", preprocessing=view), Predictor(exported_detector))
    )
    assert ours.has == theirs.has
    for kind in ours.kinds:
        assert ours.of(kind).keys() == theirs.of(kind).keys()
    for stage, points in ours.points.items():
        torch.testing.assert_close(theirs.points[stage].xy, points.xy, atol=1e-4, rtol=0)
    for stage, maps in ours.level_maps.items():
        for one, other in zip(maps.values, theirs.level_maps[stage].values, strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_commands_take_the_file_by_name(
    exported_detector: Path, photographs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(path) for path in photographs]
    assert main(["predict", *names, "--model", str(exported_detector), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == names
    assert main(["explain", names[0], "--model", str(exported_detector), "--out", str(tmp_path / "shown")]) == 0
    assert list((tmp_path / "shown").glob("*.png"))


def test_a_file_is_scored_as_the_weights_are(detector: Path, exported_detector: Path, tmp_path: Path) -> None:
    data = draw_coco_folder(tmp_path / "data")
    (ours, _), (theirs, _) = (evaluate(each, str(data), split="val") for each in (detector, exported_detector))
    assert theirs.images == ours.images
    assert theirs.scalars().keys() == ours.scalars().keys()


def test_a_control_is_fixed_by_the_export(tmp_path: Path, photographs: list[Path]) -> None:
    detector = save_tiny_detector(tmp_path / "weights")
    path = tmp_path / "model.onnx"
    options = ["--keep-ratio", "0.5", "--size", "64x96", "--images", str(photographs[0])]
    assert main(["export", str(detector), *options, "--out", str(path)]) == 0
    assert open_exported(path).graph.controls == {"keep_ratio": 0.5}
    with pytest.raises(ConfigError, match="keep_ratio"):
        Predictor(path)(photographs[0], keep_ratio=0.2)


def test_a_fixed_size_and_number_of_images(tmp_path: Path, photographs: list[Path]) -> None:
    weights = _save(tmp_path / "weights", *NETWORKS["classifier of tokens"])
    path = tmp_path / "model.onnx"
    made = export_model(weights, path, ExportOptions(size=(40, 56), batch=2))
    model = open_exported(path)
    assert model.identity.preprocessing.size == (40, 56)
    assert not made.remark  # as it sees images anyway
    batch = torch.rand(4, 3, 40, 56)
    # Two by two, as the file has it.
    torch.testing.assert_close(model(batch)[2:], model(batch[2:]))
    with pytest.raises(ConfigError, match="export the model for this size"):
        model(batch[:1])
    with pytest.raises(ConfigError, match="export the model for this size"):
        model(torch.rand(2, 3, 40, 40))


def test_the_file_carries_what_another_program_needs(exported_detector: Path) -> None:
    import onnx

    texts = {entry.key: entry.value for entry in onnx.load(exported_detector).metadata_props}
    described = json.loads(texts["sparsevision"])
    assert described["labels"] == ["disc", "square"]
    assert described["preprocessing"]["multiple"] == 32
    assert described["facts"]["thresholds"] == [0.45, 0.55]
    assert json.loads(texts["sparsevision_graph"])["outputs"][:2] == ["logits", "boxes"]


def test_a_predictor_of_a_file_goes_to_other_processes(exported_detector: Path, photographs: list[Path]) -> None:
    predictor = Predictor(exported_detector)
    copied = pickle.loads(pickle.dumps(predictor))
    assert copied(photographs[0]).to_dict() == predictor(photographs[0]).to_dict()


def test_what_cannot_be_exported_is_refused(detector: Path, exported_detector: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.onnx"
    for options, said in (
        (ExportOptions(precision="fp16"), "fp16"),
        (ExportOptions(size=(64, 64), dynamic=True), "one of the two"),
        (ExportOptions(controls={"speed": 1}), "speed"),
        (ExportOptions(controls={"keep_ratio": 2.0}), "keep_ratio"),
        (ExportOptions(format="openvino", precision="int8"), "for calibration"),
    ):
        with pytest.raises(ConfigError, match=said):
            export_model(detector, out, options)
    nowhere = tmp_path / "vt" / "model.xml"
    weights = _save(tmp_path / "vt", *NETWORKS["convolutional classifier"])
    with pytest.raises(ConfigError, match="not written in int8"):
        export_model(weights, nowhere, ExportOptions(format="openvino", precision="int8"), calibration=["any.jpg"])
    with pytest.raises(ConfigError, match="exported already"):
        export_model(exported_detector, out)
    assert not out.exists()


def test_files_that_are_not_ours_are_refused(exported_detector: Path, tmp_path: Path) -> None:
    import onnx

    content = exported_detector.read_bytes()
    cut, foreign, damaged, missing = (tmp_path / f"{name}.onnx" for name in ("cut", "foreign", "damaged", "missing"))
    cut.write_bytes(content[: len(content) // 2])
    model = onnx.load(exported_detector)
    for entry in model.metadata_props:
        if entry.key == "sparsevision_graph":
            graph = json.loads(entry.value)
            entry.value = json.dumps({**graph, "structure": {"kind": "Popen", "fields": {}}})
    onnx.save(model, damaged)
    del model.metadata_props[:]
    onnx.save(model, foreign)
    for path, said in ((cut, "cannot open"), (foreign, "not written by"), (missing, "no file")):
        with pytest.raises(CheckpointError, match=said):
            open_exported(path)
    with pytest.raises(CheckpointError, match="damaged"):
        Predictor(damaged)(np.zeros((64, 64, 3), np.uint8))
