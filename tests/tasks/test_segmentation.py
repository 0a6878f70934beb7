"""Segmentation: measures and losses against other libraries, results, windows, and a run to the end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.metrics import confusion_matrix, jaccard_score

from mask_folder import CLASSES, draw_mask_folder, save_tiny_segmenter
from sparsevision import Predictor
from sparsevision.cli import main
from sparsevision.data.dataset import Record
from sparsevision.errors import ConfigError, DataError, UnreadableImageError
from sparsevision.files import OutputFolder
from sparsevision.outputs import SegmentationHead, SegmentationOutput
from sparsevision.tasks import open_dataset
from sparsevision.tasks.segmentation.criterion import PixelCriterion, dice_loss
from sparsevision.tasks.segmentation.metrics import SegmentationMetrics, write_confusion
from sparsevision.tasks.segmentation.post_processing import class_map
from sparsevision.tasks.segmentation.result import SegmentationResult
from sparsevision.tasks.segmentation.task import SegmentationTask
from sparsevision.tasks.segmentation.transforms import SegmentationLoss, train_transform
from sparsevision.tasks.segmentation.windows import WindowedImage
from sparsevision.types import Batch, Preprocessing, Sample


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_mask_folder(tmp_path_factory.mktemp("shapes") / "data")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmenter that was never trained, without the tokens that see the whole image."""
    return save_tiny_segmenter(tmp_path_factory.mktemp("weights") / "net")


def blobs(draw: np.random.Generator, number: int, size: tuple[int, int] = (40, 56)) -> np.ndarray:
    coarse = draw.integers(0, number, (5, 7), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.NEAREST))


# ------------------------------------------------------------------------------------------------------------ measures


def test_measures_are_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    metrics, everything = SegmentationMetrics(("a", "b", "c", "d")), []
    for _ in range(3):
        true, found = blobs(draw, 3), blobs(draw, 4)
        true = np.where(draw.uniform(size=true.shape) < 0.1, 255, true)
        metrics.add(torch.from_numpy(found.astype(np.int64)), torch.from_numpy(true.astype(np.int64)))
        everything.append((true[true != 255], found[true != 255]))
    true, found = (np.concatenate(each) for each in zip(*everything, strict=True))
    report = metrics.compute()
    assert report.images == 3
    assert np.array_equal(report.confusion, confusion_matrix(true, found, labels=range(4)))
    iou = jaccard_score(true, found, average=None, labels=range(4))
    assert [one.iou for one in report.per_class] == pytest.approx(list(iou))
    # The last class never occurs: it is no part of the means, though it was found.
    assert report.miou == pytest.approx(iou[:3].mean())
    assert report.pixels == pytest.approx((true == found).mean())
    assert report.mean_class == pytest.approx(np.mean([(found[true == label] == label).mean() for label in range(3)]))
    assert report.per_class[3].accuracy is None
    json.dumps(report.to_dict())


def test_boundaries_are_met_within_a_share_of_the_diagonal() -> None:
    true, found = np.zeros((300, 400), np.int64), np.zeros((300, 400), np.int64)
    true[100:200, 100:200] = 1
    for shift, met in ((3, True), (6, False)):
        found[:] = 0
        found[100:200, 100 + shift : 200 + shift] = 1
        metrics = SegmentationMetrics(("a", "b"))
        metrics.add(torch.from_numpy(found), torch.from_numpy(true))
        score = metrics.compute().boundary
        assert score == pytest.approx(1) if met else score < 0.7


def test_memory_does_not_grow_and_parts_add_up() -> None:
    draw = np.random.default_rng(1)
    pairs = [(torch.from_numpy(blobs(draw, 3).astype(np.int64)), torch.from_numpy(blobs(draw, 3).astype(np.int64)))
             for _ in range(4)]  # fmt: skip
    whole, halves = SegmentationMetrics(("a", "b", "c")), [SegmentationMetrics(("a", "b", "c")) for _ in range(2)]
    for place, (found, true) in enumerate(pairs):
        whole.add(found, true)
        halves[place % 2].add(found, true)
    assert sum(state.numel() for state in whole.sums.metric_state.values()) == 9 + 12 + 1
    for name, state in whole.sums.metric_state.items():
        assert torch.equal(state, sum(half.sums.metric_state[name] for half in halves)), name


def test_a_report_of_void_alone_is_not_defined(tmp_path: Path) -> None:
    metrics = SegmentationMetrics(("a", "b"))
    metrics.add(torch.zeros(4, 4, dtype=torch.long), torch.full((4, 4), 255))
    report = metrics.compute()
    assert (report.miou, report.pixels, report.boundary, report.images) == (None, None, None, 1)
    assert "not defined" in report.headline()
    write_confusion(report, tmp_path / "confusion.csv")
    assert (tmp_path / "confusion.csv").read_text().splitlines()[1] == "a,0,0"


# -------------------------------------------------------------------------------------------------------------- losses


def loss(logits: torch.Tensor, masks: torch.Tensor, **settings: object) -> dict[str, torch.Tensor]:
    criterion = PixelCriterion(SegmentationLoss(**settings))
    pixels, images = (masks != 255).sum().float(), torch.tensor(float(len(masks)))
    return criterion(SegmentationHead("main", logits, 4), masks, pixels, images)


def test_losses_are_pytorchs() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 6, generator=draw)
    masks = torch.randint(0, 3, (2, 18, 22), generator=draw)
    masks[0, :3] = 255
    large = F.interpolate(logits, scale_factor=4, mode="bilinear")[..., :18, :22]
    plain = F.cross_entropy(large, masks, ignore_index=255)
    torch.testing.assert_close(loss(logits, masks)["cross_entropy"], plain)
    weights = torch.tensor([1.0, 2.0, 5.0])
    summed = F.cross_entropy(large, masks, weights, ignore_index=255, reduction="sum") / (masks != 255).sum()
    torch.testing.assert_close(loss(logits, masks, class_weights=(1, 2, 5))["cross_entropy"], summed)
    each = F.cross_entropy(large, masks, ignore_index=255, reduction="none")[masks != 255]
    hardest = each.sort(descending=True).values[: int(0.25 * len(each))].mean()
    torch.testing.assert_close(loss(logits, masks, hardest=0.25)["cross_entropy"], hardest, rtol=5e-3, atol=0)
    assert set(loss(logits, masks, dice=0.5)) == {"cross_entropy", "dice"}
    assert set(loss(logits, masks, dice=0.5, cross_entropy=0)) == {"dice"}


def test_dice_is_that_of_the_classes_that_are_there() -> None:
    masks = torch.zeros(1, 8, 8, dtype=torch.long)
    masks[:, :, 4:] = 1
    logits = 40 * F.one_hot(masks, 3).permute(0, 3, 1, 2).float()
    assert float(dice_loss(logits, masks)) == pytest.approx(0, abs=1e-5)
    assert float(dice_loss(logits.flip(3), masks)) == pytest.approx(1, abs=1e-5)
    masks[:] = 255
    assert float(dice_loss(logits, masks)) == 0


def test_auxiliary_heads_have_their_own_weight() -> None:
    logits, mask = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (16, 16))
    head = SegmentationHead("main", logits, 4)
    task = SegmentationTask(CLASSES)
    batch = task.collate([Sample(torch.zeros(3, 16, 16), mask, "one", 0)])
    alone, twice = (
        task.loss(SegmentationOutput((head,) * number), batch, task.count(batch))["cross_entropy"] for number in (1, 2)
    )
    torch.testing.assert_close(twice, alone * 1.4)


def test_weights_of_another_number_of_classes_are_refused() -> None:
    settings = SegmentationTask.Settings(loss=SegmentationLoss(class_weights=(1.0, 2.0)))
    with pytest.raises(ConfigError, match="2 weights for 3 classes"):
        SegmentationTask(CLASSES, settings=settings)
    with pytest.raises(DataError, match="one has pixels of class 3, of 3 from 0"):
        SegmentationTask(CLASSES).collate([Sample(torch.zeros(3, 2, 2), torch.full((2, 2), 3), "one", 0)])


# ------------------------------------------------------------------------------------------------------------- results


@pytest.mark.parametrize("view", [(64, 96), (50, 70), (97, 131)])
@pytest.mark.parametrize("size", [(64, 96), (50, 70), (200, 301), (1, 1)])
def test_a_class_map_is_the_largest_of_enlarged_logits(view: tuple[int, int], size: tuple[int, int]) -> None:
    cells = [-(-extent // 4) for extent in view]
    logits = torch.randn(1, 5, *cells, generator=torch.Generator().manual_seed(0))
    found = class_map(SegmentationHead("main", logits, 4), 0, view, size)
    # A cell stands for four pixels of the view, also where the last one reaches beyond it: so its scale is 4, exactly.
    grid = [
        ((torch.arange(n) + 0.5) * extent / n) / (2 * c) - 1 for n, extent, c in zip(size, view, cells, strict=True)
    ]
    places = torch.stack(torch.meshgrid(grid[1], grid[0], indexing="xy"), dim=-1)[None]
    expected = F.grid_sample(logits, places.float(), mode="bilinear", padding_mode="border", align_corners=False)
    assert (found == expected[0].argmax(0)).float().mean() > 0.999


def test_more_classes_than_a_mask_can_hold_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 255 classes, and not 300"):
        SegmentationTask([str(number) for number in range(300)])


def test_an_image_and_its_mask_stay_on_each_other() -> None:
    labels = np.zeros((96, 96), np.uint8)
    labels[:, 48:] = 1
    image = Image.fromarray(np.dstack([255 * labels] * 3))
    shown = SegmentationTask.Settings().transforms.model_copy(
        update={"size": 24, "scale": (1.0, 1.0), "crop": (24, 24), "flip": 0.0, "color_jitter": 0.0}
    )
    shift = np.zeros((96, 96), np.uint8)
    shift[:, 50:] = 1
    for mask in (labels, shift):
        picture = image if mask is labels else Image.fromarray(np.dstack([255 * shift] * 3))
        sample = train_transform(shown)(Record(picture, mask, "x", (96, 96)))
        bright = sample.image[0] > sample.image[0].mean()
        assert (bright == (sample.target == 1)).float().mean() == 1
    # A strip does not become millions of pixels long.
    strip = train_transform(shown)(Record(Image.new("RGB", (5000, 1)), np.zeros((1, 5000), np.uint8), "x", (1, 5000)))
    assert strip.image.shape == (3, 24, 24)


def result(labels: np.ndarray, **more: object) -> SegmentationResult:
    return SegmentationResult(name="x.png", classes=CLASSES, labels=labels, **more)


def test_shares_areas_and_run_lengths() -> None:
    from pycocotools import mask as oracle

    labels = np.zeros((20, 30), np.uint8)
    labels[2:6, 2:6] = labels[6:9, 6:9] = 1  # they touch at a corner
    labels[15:17, 20:22] = 1
    found = result(labels)
    assert found.areas == {"background": 1, "square": 2}
    assert result(labels, min_area=5).count("square") == 1
    assert found.shares["square"] == pytest.approx(29 / 600)
    assert list(found.shares) == ["background", "square"]
    assert found.cells() == {"background": "95.2% (1)", "square": "4.8% (2)", "disc": "0.0% (0)"}
    content = json.loads(json.dumps(found.to_dict()))
    assert content["size"] == [20, 30]
    for one in content["classes"]:
        decoded = oracle.decode(oracle.frPyObjects(one["segmentation"], 20, 30))
        assert (decoded == found.mask(one["label"])).all()
    detections = found.to_supervision()
    assert detections.data["class_name"].tolist() == ["background", "square"]
    assert (detections.mask[1] == (labels == 1)).all()


def test_masks_are_a_data_set_to_train_on(tmp_path: Path) -> None:
    labels = np.arange(60, dtype=np.uint8).reshape(6, 10) % 3
    task = SegmentationTask(CLASSES)
    entry = task.writers["masks"]
    for split in ("train", "val"):
        (tmp_path / split / "images").mkdir(parents=True)
        Image.new("RGB", (10, 6)).save(tmp_path / split / "images" / "x.png")
        with entry.open(OutputFolder(tmp_path / split / "labels", "predict"), task) as writer:
            writer.add(result(labels))
    (tmp_path / "train" / "labels" / "classes.txt").rename(tmp_path / "classes.txt")
    found = open_dataset(tmp_path, "val")
    assert found.classes == CLASSES
    assert (found.read(0).target == labels).all()
    assert Image.open(tmp_path / "val" / "labels" / "x.png").mode == "P"


# ------------------------------------------------------------------------------------------------------------- windows


class Spots(torch.nn.Module):
    """Logits that depend on a pixel alone: its red, green and blue."""

    def forward(self, images: torch.Tensor) -> SegmentationOutput:
        return SegmentationOutput((SegmentationHead("main", F.avg_pool2d(images, 4, ceil_mode=True), 4),))


@pytest.mark.parametrize("size", [(200, 300), (96, 96), (96, 500), (97, 131), (333, 100)])
@pytest.mark.parametrize("side", [64, 96])
def test_windows_of_a_local_network_give_the_whole_image(size: tuple[int, int], side: int) -> None:
    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 255, (7, 9, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)
    view = Preprocessing(size=(side, 4096), fit="short", mean=(0.5,) * 3, std=(0.5,) * 3)
    parts = WindowedImage(image, "x", 0, view, side)
    for sample in parts.samples():
        batch = Batch(sample.image[None], None, ["x"], [0])
        parts.add(Spots()(batch.images), batch)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    whole = class_map(Spots()(pixels).heads[0], 0, size, size).numpy()
    assert parts.labels().shape == size
    assert (parts.labels() == whole).mean() > 0.995
    assert parts.geometry.original_size == size


def test_a_window_is_resized_to_the_models_input() -> None:
    image = Image.new("RGB", (400, 200))
    seen = [sample.image.shape for sample in
            WindowedImage(image, "x", 0, Preprocessing(size=(64, 128), fit="short"), 100).samples()]  # fmt: skip
    assert set(seen) == {(3, 64, 64)}
    assert len(seen) == 3 * 7


def test_predictions_by_windows(weights: Path, folder: Path) -> None:
    predictor = Predictor(weights, "cpu")
    paths = [str(folder / "val" / "images" / f"val{number:03d}.png") for number in range(3)]
    whole, parts = predictor(paths), predictor(paths, window=64, min_area=3)
    assert [one.labels.shape for one in parts] == [one.labels.shape for one in whole] == [(72, 96)] * 3
    assert parts[0].min_area == 3
    # One window as large as the image changes nothing.
    square = Image.open(paths[0]).crop((0, 0, 64, 64))
    assert (predictor(square, window=64).labels == predictor(square).labels).all()
    with pytest.raises(ConfigError, match="at least 32 pixels, or 0"):
        predictor(paths[0], window=8)
    small = Predictor(weights, "cpu", preprocessing=replace(predictor.preprocessing, size=(16, 64)))
    with pytest.raises(ConfigError, match="too low for windows"):
        small(paths[0], window=64)
    with pytest.raises(UnreadableImageError, match="give larger windows"):
        predictor(Image.new("RGB", (9000, 9000)), window=32)
    with pytest.raises(ConfigError, match="neither trace nor features"):
        predictor(paths[0], window=64, trace=True)
    # Nor does one that is larger than the image.
    large = replace(predictor.preprocessing, size=(96, 128))
    same = Predictor(weights, "cpu", preprocessing=large)
    assert (same(square, window=4096).labels == same(square).labels).all()


def test_an_unread_image_among_windows_is_counted(weights: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    predictor = Predictor(weights, "cpu")
    good = str(folder / "val" / "images" / "val000.png")
    assert [type(one).__name__ for one in predictor([str(tmp_path / "bad.png"), good], window=64)] == [
        "UnreadResult", "SegmentationResult"
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ commands


def test_commands(weights: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = str(folder / "val" / "images")
    out = ["--masks", str(tmp_path / "out"), "--draw", str(tmp_path / "drawn")]
    assert main(["predict", images, "--model", str(weights), "--masks", "both", "--draw", "both"]) == 2
    assert "named twice as an output" in capsys.readouterr().err
    assert main(["predict", images, "--model", str(weights), *out, "--window", "64"]) == 0
    assert "square" in capsys.readouterr().out
    written = sorted(path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith("."))
    assert written == sorted(["classes.txt", *(f"val00{n}.png" for n in range(3))])
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 3
    assert main(["predict", images, "--model", str(weights), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["size"][0] for row in rows} == {72}
    table = tmp_path / "confusion.csv"
    assert main(["evaluate", str(weights), "--data", str(folder), "--confusion", str(table)]) == 0
    assert "mIoU" in capsys.readouterr().out
    assert table.read_text().startswith("true \\ predicted,background,square,disc")
    assert main(["doctor", str(folder), "--json"]) in (0, 1)
    assert json.loads(capsys.readouterr().out)["data"]["harmful"] == []
