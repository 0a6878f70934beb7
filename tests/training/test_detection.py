"""A detector goes through the same loop as a classifier: it learns, is scored, is saved, and can be resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from stand_ins import assert_same_weights, broken_off_and_resumed

from coco_folder import draw_coco_folder
from sparsevision.data.loading import make_loader
from sparsevision.errors import CheckpointError, ConfigError
from sparsevision.evaluation.evaluate import evaluate_batches
from sparsevision.factory import create_model, load_model
from sparsevision.models.sparse_detr.config import SparseDETRConfig
from sparsevision.tasks.detection.task import DetectionTask
from sparsevision.training import read_recipe, train
from sparsevision.training.recipe import Recipe
from sparsevision.training.session import Session
from sparsevision.types import Batch

SMALL = [
    "model.config.backbone=test_efficientnet", "model.config.backbone_options=[]", "model.config.encoder_depth=1",
    "model.config.decoder_depth=2", "model.config.ffn_width=32", "model.config.num_queries=8",
    "model.config.encoder_heads=none", "data.batch=3", "data.cache_mebibytes=1", "transforms.short_sides=[64]",
    "transforms.longest=100", "transforms.crop_from=[64]", "transforms.crop_sides=[48, 64]",
    "transforms.evaluation.size=64", "transforms.canvas=[64, 96]", "schedule.epochs=2", "schedule.warmup_epochs=0",
    "ema.decay=0", "run.workers=0", "run.precision=fp32", "run.evaluate_every=1", "run.log_every=1",
]  # fmt: skip


def recipe(*more: str) -> Recipe:
    return read_recipe("bccd_nano", [*SMALL, *more])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_coco_folder(tmp_path_factory.mktemp("shapes") / "data")


def test_training_scores_saves_and_resumes(folder: Path, tmp_path: Path) -> None:
    whole = train(recipe(), data=str(folder), out=tmp_path / "whole")
    assert whole.finished
    assert "AP" in str(whole)
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    terms = next(line for line in lines if line["kind"] == "train")
    assert {"classes", "l1", "giou", "mask_prediction"} <= set(terms)
    assert {"ap", "ap50", "recall"} <= set(next(line for line in lines if line["kind"] == "val"))
    assert (tmp_path / "whole" / "curves.png").is_file()

    model = load_model(tmp_path / "whole" / "best").eval()
    assert model.identity.labels == ("disc", "square")
    assert model.identity.class_metadata.category_ids == (3, 7)
    assert len(model.identity.class_metadata.thresholds) == 2
    task = DetectionTask(model.identity.labels)
    transform = task.evaluation_transform(model.identity.preprocessing)
    loader = make_loader(task.open(str(folder), "val"), transform, task.collate, batch_size=1)
    assert evaluate_batches(model, task, loader).ap == pytest.approx(whole.best_score)

    broken_off_and_resumed(recipe(), folder, tmp_path / "broken")
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")


def test_it_learns_in_bfloat16(folder: Path, tmp_path: Path) -> None:
    train(recipe("run.precision=bf16", "schedule.epochs=1"), data=str(folder), out=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < line["loss"] < 100 and line["mask_prediction"] > 0 for line in lines if line["kind"] == "train")


def test_all_that_training_may_add_is_learned_from(folder: Path, tmp_path: Path) -> None:
    added = ("look_forward=twice", "query_groups=2", "denoising=8", "selection=salience", "dropout=0")
    values = [f"model.config.{each}" for each in added] + ["loss.class_target=iou", "transforms.plain_epochs=1"]
    train(recipe(*values), data=str(folder), out=tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(line["salience"] > 0 for line in lines if line["kind"] == "train")
    assert load_model(tmp_path / "run" / "best").config.query_groups == 2


def test_crowded_images_get_more_queries(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fewer = [each for each in SMALL if "num_queries" not in each]
    for name, values, queries in (("data", [], 5), ("named", ["model.config.num_queries=2"], 2)):
        short = ["schedule.epochs=1", *values]
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(SparseDETRConfig, "for_objects", lambda config, most: {"num_queries": most + 2})
            train(read_recipe("bccd_nano", [*fewer, *short]), data=str(folder), out=tmp_path / name)
        assert load_model(tmp_path / name / "best").config.num_queries == queries
        said = capsys.readouterr()
        assert ("Set by the data: model.config.num_queries = 5." in said.out + said.err) is (name == "data")
    config = SparseDETRConfig(num_queries=100)
    assert config.for_objects(66) == {}
    assert config.for_objects(375) == {"num_queries": 563}
    assert SparseDETRConfig(queries="learned", selection="all", num_queries=10).for_objects(375) == {}


def test_a_image_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    folder = draw_coco_folder(tmp_path / "data")
    (folder / "train" / "002.png").write_bytes(b"no image")
    summary = train(recipe("schedule.epochs=1"), data=str(folder), out=tmp_path / "run")
    assert [Path(name).name for name in summary.skipped] == ["002.png"]


def test_what_is_held_out_is_scored_and_not_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, trained = draw_coco_folder(tmp_path / "data"), set()
    place = Session.placed

    def noting(run: Session, batch: Batch) -> Batch:
        trained.update(batch.names)
        return place(run, batch)

    monkeypatch.setattr(Session, "placed", noting)
    train(recipe("data.held_out=0.3", "data.batch=1", "schedule.epochs=1"), data=str(folder), out=tmp_path / "run")
    scored = {json.loads(line) for line in (tmp_path / "run" / "scored.txt").read_text().splitlines()}
    assert 1 <= len(scored) <= 3
    assert {Path(name).name for name in trained} == {f"{number:03}.png" for number in range(6)} - scored
    assert {Path(name).parent.name for name in trained} == {"train"}


def test_what_detection_does_not_take_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="teaches classifiers"):
        recipe("distillation.teacher=runs/teacher")
    with pytest.raises(ConfigError, match=r"transforms\.evaluation\.fit .* should be 'short', .* \(given: 'crop'\)"):
        recipe("transforms.evaluation.fit=crop")


def test_a_classifiers_weights_fill_the_backbone(tmp_path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    from sparsevision.checkpoints.backbones import fill_backbone

    state = timm.create_model("test_efficientnet").state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "weights.safetensors")
    options = {"backbone": "test_efficientnet", "backbone_options": ()}
    model = create_model("sparse_detr_nano", **options)
    assert fill_backbone(model, str(tmp_path / "weights.safetensors")) == len(model.backbone.state_dict())
    assert torch.equal(model.backbone.body.conv_stem.weight, state["conv_stem.weight"])
    with pytest.raises(CheckpointError, match="give the weights of the backbone"):
        fill_backbone(create_model("sparse_detr_nano"), str(tmp_path / "weights.safetensors"))
    with pytest.raises(ConfigError, match="no backbone"):
        fill_backbone(create_model("sparseformer_nano"), str(tmp_path / "weights.safetensors"))
