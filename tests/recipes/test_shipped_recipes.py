"""What the shipped recipes promise: the paper's numbers in those that carry them."""

from __future__ import annotations

import pytest
import torch

from sparsevision import create_model
from sparsevision.tasks.detection.transforms import DetectionLoss, DetectionTransforms
from sparsevision.training.optimisation import Schedule, make_optimiser, parameter_groups
from sparsevision.training.recipe import Recipe, read_recipe, recipe_names

IMAGENET = ("imagenet1k_tiny", "imagenet1k_small", "imagenet1k_base")
PROMISED = {
    *IMAGENET, "imagenet21k_base", "finetune_384", "finetune_512", "finetune_384_n144", "finetune_384_n196",
    "caltech101_nano", "caltech101_teacher", "caltech101_resnet18", "caltech101_deit", "tiny_imagenet50_nano",
    "digits_nano", "scenes_nano", "folder_nano", "coco_sparse_detr_r50", "coco_sparse_detr_swin_t",
    "coco_deformable_detr", "coco_subset_nano", "bccd_nano", "digit_scenes_nano", "objects_nano",
    "imagenet1k_vt_resnet18", "imagenet1k_vt_resnet18_advanced", "caltech101_vt_resnet18",
    "tiny_imagenet50_vt_resnet18",
}  # fmt: skip


def rate(recipe: Recipe, step: int, steps_per_epoch: int = 1251) -> float:
    group = {"params": [torch.nn.Parameter(torch.zeros(1))]}
    optimiser = make_optimiser([group], recipe.optimiser, recipe.peak_lr)
    return Schedule(optimiser, recipe.schedule, recipe.peak_lr, steps_per_epoch).set(step)


def test_all_are_there() -> None:
    assert set(recipe_names()) >= PROMISED


@pytest.mark.parametrize(("name", "drop"), list(zip(IMAGENET, (0.2, 0.3, 0.4), strict=True)))
def test_imagenet_as_released(name: str, drop: float) -> None:
    recipe = read_recipe(name)
    assert (recipe.schedule.epochs, recipe.schedule.warmup_epochs, recipe.data.batch) == (300, 20, 1024)
    assert recipe.model.config["drop_path_rate"] == drop
    assert (recipe.optimiser.betas, recipe.optimiser.eps) == ((0.9, 0.999), 1e-8)
    assert (recipe.optimiser.weight_decay, recipe.optimiser.clip) == (0.05, 5.0)
    assert (recipe.transforms.mixup, recipe.transforms.cutmix, recipe.data.repeats) == (0.8, 1.0, 3)
    assert (recipe.transforms.rand_augment, recipe.transforms.erasing) == ("rand-m9-mstd0.5-inc1", 0.25)
    assert (recipe.ema.decay, recipe.ema.warmup, recipe.loss.label_smoothing) == (0.9999, False, 0.1)


def test_imagenet_rates_to_the_step() -> None:
    recipe, warmup = read_recipe("imagenet1k_tiny"), 20 * 1251
    assert recipe.peak_lr == pytest.approx(1e-3)
    assert rate(recipe, 0) == rate(recipe, 1) == pytest.approx(1e-6)
    assert rate(recipe, warmup) == pytest.approx(1e-3, rel=1e-3)
    assert rate(recipe, warmup + 1) == pytest.approx(9.89e-4, rel=1e-3)
    assert rate(recipe, 300 * 1251 - 1) == pytest.approx(1e-5, rel=1e-3)


def test_the_rate_follows_the_batch() -> None:
    recipe = read_recipe("imagenet1k_tiny", ["data.batch=256"])
    assert recipe.peak_lr == pytest.approx(2.5e-4)
    assert rate(recipe, 0) == pytest.approx(2.5e-7)


@pytest.mark.parametrize(("name", "size", "tokens"), [
    ("finetune_384", 384, None), ("finetune_512", 512, None),
    ("finetune_384_n144", 384, 144), ("finetune_384_n196", 384, 196),
])  # fmt: skip
def test_fine_tuning(name: str, size: int, tokens: int | None) -> None:
    recipe = read_recipe(name)
    assert (recipe.transforms.size, recipe.model.config.get("num_tokens")) == (size, tokens)
    assert recipe.model.fresh_tokens == (tokens is not None)
    assert (recipe.schedule.epochs, recipe.peak_lr, recipe.optimiser.weight_decay) == (30, 2e-4, 1e-8)
    assert (recipe.transforms.mixup, recipe.transforms.cutmix) == (0.0, 0.0)


def test_peers_are_trained_like_nano() -> None:
    nano = read_recipe("caltech101_nano")
    for name in ("caltech101_resnet18", "caltech101_deit", "caltech101_vt_resnet18"):
        peer = read_recipe(name)
        assert (peer.data, peer.transforms) == (nano.data, nano.transforms)
        assert peer.distillation == nano.distillation
        assert peer.schedule.epochs == nano.schedule.epochs


def test_visual_transformer_and_resnet_are_trained_by_the_same_rules() -> None:
    recipes = [read_recipe(f"caltech101_{name}") for name in ("vt_resnet18", "resnet18")]
    ours, theirs = (recipe.model_dump(exclude={"model"}) for recipe in recipes)
    assert ours == theirs
    decays = []
    for recipe in recipes:
        groups = parameter_groups(create_model(recipe.model.name, num_classes=101), recipe.optimiser)
        decays.append({name: group["weight_decay"] for group in groups for name in group["names"]})
    ours, theirs = decays
    shared = ours.keys() & theirs.keys()
    assert len(shared) > 40
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
    assert ours["vt.0.tokenizer.value_norm.weight"] == 0 < ours["vt.0.tokenizer.value.weight"]


def test_visual_transformers_default_recipe_is_the_papers() -> None:
    recipe = read_recipe("imagenet1k_vt_resnet18")
    assert (recipe.optimiser.name, recipe.optimiser.momentum, recipe.optimiser.weight_decay) == ("momentum", 0.9, 4e-5)
    assert (recipe.schedule.epochs, recipe.data.batch, recipe.ema.decay) == (90, 256, 0)
    rates = [rate(recipe, epoch * 100, 100) for epoch in (0, 29, 30, 59, 60, 89)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    model = create_model(recipe.model.name, **recipe.model.config)
    [group] = parameter_groups(model, recipe.optimiser)
    assert group["weight_decay"] == 4e-5
    optimiser = make_optimiser([group], recipe.optimiser, recipe.peak_lr)
    made = optimiser.param_groups[0]
    assert (made["momentum"], made["nesterov"]) == (0.9, False)


def test_visual_transformers_advanced_recipe_is_the_papers() -> None:
    recipe = read_recipe("imagenet1k_vt_resnet18_advanced")
    assert (recipe.schedule.epochs, recipe.data.batch, recipe.ema.decay) == (400, 2048, 0.99985)
    # From 0.01 to 0.16 in 5 epochs, then 0.9875 of it after each.
    rates = [rate(recipe, epoch * 100, 100) for epoch in (0, 5, 6, 7, 399)]
    assert rates == pytest.approx([0.01, 0.16, 0.16 * 0.9875, 0.16 * 0.9875**2, 0.16 * 0.9875**394])
    assert rate(recipe, 5 * 100 + 99, 100) == pytest.approx(0.16)
    assert (recipe.distillation.labels, recipe.distillation.logits) == (0.2, 0.8)
    assert recipe.model.config == {"recurrence": "half", "drop_path_rate": 0.1, "dropout": 0.2}
    group = {"params": [torch.nn.Parameter(torch.zeros(1))]}
    [made] = make_optimiser([group], recipe.optimiser, recipe.peak_lr).param_groups
    assert (made["alpha"], made["eps"], made["momentum"]) == (0.9, 1e-3, 0.9)
    assert recipe.run.sync_batch_norm
    assert recipe.transforms.auto_augment == "original"


@pytest.mark.parametrize("name", ["coco_sparse_detr_r50", "coco_sparse_detr_swin_t", "coco_deformable_detr"])
def test_detectors_as_released(name: str) -> None:
    recipe = read_recipe(name)
    assert (recipe.data.batch, recipe.schedule.epochs, recipe.run.seed) == (16, 50, 42)
    assert (recipe.optimiser.name, recipe.optimiser.weight_decay, recipe.optimiser.clip) == ("adamw", 1e-4, 0.1)
    published = DetectionTransforms()
    drawn = {"flip", "crop", "crop_from", "crop_sides", "short_sides", "longest", "color_jitter", "mean", "std"}
    assert recipe.transforms.model_dump(include=drawn) == published.model_dump(include=drawn)
    assert recipe.loss == DetectionLoss()
    evaluation = recipe.preprocessing
    assert (evaluation.fit, evaluation.size, evaluation.interpolation) == ("short", (800, 1333), "bilinear")
    assert [rate(recipe, epoch * 100, 100) for epoch in (0, 39, 40, 49)] == pytest.approx([2e-4, 2e-4, 2e-5, 2e-5])
    assert rate(recipe, 40 * 100 - 1, 100) == pytest.approx(2e-4)
    assert read_recipe(name, ["data.batch=4"]).peak_lr == pytest.approx(1e-4)
    assert recipe.ema.decay == 0


@pytest.mark.parametrize("short", ["r50", "swin_t"])
@pytest.mark.parametrize("percent", [10, 20, 30, 40, 50])
def test_the_keep_ratio_is_one_field(short: str, percent: int) -> None:
    recipe = read_recipe(f"coco_sparse_detr_{short}", [f"model.name=sparse_detr_{short}_{percent}"])
    with torch.device("meta"):
        model = create_model(recipe.model.name, **recipe.model.config)
    assert model.config.keep_ratio == percent / 100
    groups = parameter_groups(model, recipe.optimiser)
    assert {group["weight_decay"] for group in groups} == {1e-4}
    assert {group["lr_scale"] for group in groups} == {1.0, 0.1}


@pytest.mark.parametrize(
    ("name", "disturbed"),
    [("bccd_nano", 60), ("objects_nano", 60), ("digit_scenes_nano", 0), ("coco_subset_nano", 0),
     ("nuclei_detector_nano", 0), ("coco_sparse_detr_r50", 0), ("coco_deformable_detr", 0)],
)  # fmt: skip
def test_detectors_have_denoising_queries_where_their_figures_are_with_them(name: str, disturbed: int) -> None:
    model = read_recipe(name).model
    with torch.device("meta"):
        assert create_model(model.name, **model.config).config.denoising == disturbed
