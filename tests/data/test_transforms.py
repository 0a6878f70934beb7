"""What a model sees of an image: preprocessing, the recipe's random transforms, mixing."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from timm.data import create_transform

from sparsevision.data.dataset import Record
from sparsevision.data.preprocessing import least_decoded_side, to_tensor, view
from sparsevision.errors import ConfigError
from sparsevision.tasks.classification.task import ClassificationTask
from sparsevision.tasks.classification.transforms import (
    ClassificationSettings,
    ClassificationTransforms,
    train_transform,
)
from sparsevision.training import read_recipe
from sparsevision.types import Batch, Preprocessing, Sample


def slope_image(width: int = 100, height: int = 60) -> Image.Image:
    """Red grows to the right, green downwards: a colour says where it came from."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 128)], -1).round().astype(np.uint8))


def drawer(**options: object) -> Callable[[Image.Image], torch.Tensor]:
    """Draws what a network is trained on from an image, by the options of [transforms]."""
    transform = train_transform(ClassificationTransforms(**options))
    return lambda image: transform(Record(image, 0, "image")).image


def drawn(image: Image.Image, **options: object) -> torch.Tensor:
    return drawer(**options)(image)


def seeded(number: int = 0) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (77, 77), (500, 375), (333, 500)])
@pytest.mark.parametrize("fraction", [0.875, 0.9, 1.0])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_crop_is_what_timm_does(size: tuple[int, int], fraction: float, interpolation: str) -> None:
    preprocessing = Preprocessing(size=(64, 64), crop_fraction=fraction, interpolation=interpolation)
    theirs = create_transform(64, crop_pct=fraction, interpolation=interpolation)
    tensor, _ = view(preprocessing, slope_image(*size))
    torch.testing.assert_close(tensor, theirs(slope_image(*size)))


@pytest.mark.parametrize("fit", ["crop", "stretch", "whole"])
@pytest.mark.parametrize("size", [(100, 60), (61, 143)])
def test_geometry_leads_back_to_the_original(fit: str, size: tuple[int, int]) -> None:
    preprocessing = Preprocessing(size=(48, 64), fit=fit, mean=(0, 0, 0), std=(1, 1, 1))
    tensor, geometry = view(preprocessing, slope_image(*size))
    height, width = tensor.shape[1:]
    assert geometry.original_size == (size[1], size[0])
    for x, y in [(width // 4, height // 3), (width // 2, height // 2), (width - 6, height - 5)]:
        place = geometry.to_original(torch.tensor([(x + 0.5) / width, (y + 0.5) / height]))
        red, green, _ = tensor[:, y, x].tolist()
        assert red == pytest.approx((float(place[0]) - 0.5) / (size[0] - 1), abs=0.02)
        assert green == pytest.approx((float(place[1]) - 0.5) / (size[1] - 1), abs=0.02)


def test_a_reduced_image_leads_back_to_its_original_pixels() -> None:
    _, geometry = view(Preprocessing(size=(32, 32)), slope_image(100, 60), original_size=(600, 1000))
    assert geometry.original_size == (600, 1000)
    assert geometry.box == pytest.approx((235, 35, 765, 565), abs=15)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 100), (64, 64)),
        ((200, 50), (32, 128)),
        ((50, 200), (128, 32)),
        ((9000, 1), (32, 128)),
        ((1, 1), (64, 64)),
    ],
)
def test_whole_keeps_ratio_and_area(size: tuple[int, int], expected: tuple[int, int]) -> None:
    tensor, geometry = view(Preprocessing(size=(64, 64), fit="whole"), Image.new("RGB", size))
    assert tensor.shape == (3, *expected)
    assert geometry.box == (0, 0, size[0], size[1])


@pytest.mark.parametrize("size", [(1, 1), (4000, 1), (1, 4000), (2, 3)])
@pytest.mark.parametrize("fit", ["crop", "stretch", "whole"])
def test_no_shape_is_too_odd(size: tuple[int, int], fit: str) -> None:
    tensor, _ = view(Preprocessing(size=(64, 64), fit=fit), Image.new("RGB", size, "red"))
    assert torch.isfinite(tensor).all()
    assert drawn(Image.new("RGB", size, "red"), size=32, rand_augment="rand-m9-mstd0.5-inc1").shape == (3, 32, 32)


def test_channels_follow_the_mean() -> None:
    grey = to_tensor(Image.new("RGB", (4, 3), (255, 255, 255)), (0.5,), (0.5,))
    assert grey.shape == (1, 3, 4)
    assert torch.equal(grey, torch.ones(1, 3, 4))
    for augment in (None, "rand-m9-mstd0.5-inc1"):
        grey = drawn(slope_image(), size=16, mean=(0.5,), std=(0.5,), erasing=1.0, rand_augment=augment)
        assert grey.shape == (1, 16, 16)
    with pytest.raises(ConfigError, match="2 and a std of 2 channels"):
        to_tensor(slope_image(), (0.1, 0.2), (1.0, 1.0))


def test_the_decoded_side_is_twice_what_is_needed() -> None:
    assert least_decoded_side(Preprocessing(size=(224, 224))) == 512
    assert least_decoded_side(Preprocessing(size=(64, 96), fit="stretch")) == 192


PLAIN = {"rand_augment": None, "erasing": 0.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def test_the_random_crop_stays_within_its_scale_and_ratio() -> None:
    draw = drawer(size=40, crop_scale=(0.2, 0.5), crop_ratio=(0.5, 2.0), flip=0.0, **PLAIN)
    seeded()
    areas = []
    for _ in range(100):
        tensor = draw(slope_image(200, 200))
        width = float(tensor[0, 20, -1] - tensor[0, 20, 0]) * 40 / 39
        height = float(tensor[1, -1, 20] - tensor[1, 0, 20]) * 40 / 39
        areas.append(width * height)
        assert 0.45 < width / height < 2.2
    assert 0.18 < min(areas) < 0.25
    assert 0.42 < max(areas) < 0.53


def test_flips_are_as_frequent_as_stated() -> None:
    draw = drawer(size=8, crop_scale=(1.0, 1.0), flip=0.3, **PLAIN)
    seeded()
    flipped = [float((tensor := draw(slope_image(50, 50)))[0, 0, 0] - tensor[0, 0, -1]) > 0 for _ in range(400)]
    assert 0.23 < np.mean(flipped) < 0.37


def test_erasing_fills_one_rectangle_with_noise() -> None:
    options = {**PLAIN, "erasing": 1.0}
    seeded()
    noisy = drawn(Image.new("RGB", (50, 50)), size=32, **options)
    rows, columns = torch.nonzero(noisy.abs().sum(0) > 0, as_tuple=True)
    area = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    assert len(rows) == int(area)
    assert 0.02 * 1024 - 8 <= len(rows) <= 1024 / 3 + 8
    assert noisy.abs().max() > 1
    options["erasing_mode"] = "constant"
    white = drawn(Image.new("RGB", (50, 50), "white"), size=32, **options)
    assert sorted(white.unique().tolist()) == [0.0, 1.0]


def test_rand_augment_and_jitter_change_the_image_and_none_does_not() -> None:
    options = {**PLAIN, "size": 32, "crop_scale": (1.0, 1.0), "flip": 0.0, "crop_ratio": (1.0, 1.0)}
    square = slope_image(32, 32)
    plain = to_tensor(square, (0.0,) * 3, (1.0,) * 3)
    seeded()
    assert torch.equal(drawn(square, **options), plain)
    for extra in ({"rand_augment": "rand-m9-n3-p1.0-mstd0.5-inc1"}, {"color_jitter": 0.4}):
        assert not torch.allclose(drawn(square, **{**options, **extra}), plain, atol=0.01)


@pytest.mark.parametrize("increasing", ["", "-inc1"])
@pytest.mark.parametrize("magnitude", [0, 5, 10])
def test_every_operation_of_rand_augment_works_at_every_strength(magnitude: int, increasing: str) -> None:
    spelled = f"rand-m{magnitude}-p1.0-n20{increasing}"
    transform = drawer(size=16, rand_augment=spelled)
    seeded()
    for _ in range(15):
        assert transform(slope_image()).shape == (3, 16, 16)


@pytest.mark.parametrize("policy", ["original", "v0"])
def test_auto_augment_draws_from_all_of_its_policy(policy: str) -> None:
    options = {**PLAIN, "size": 32, "crop_scale": (1.0, 1.0), "flip": 0.0, "crop_ratio": (1.0, 1.0)}
    transform = drawer(**{**options, "auto_augment": policy})
    seeded()
    samples = [transform(slope_image(32, 32)) for _ in range(60)]
    assert all(tensor.shape == (3, 32, 32) for tensor in samples)
    assert len({tuple(tensor.flatten().tolist()) for tensor in samples}) > 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"auto_augment": "v0", "rand_augment": "rand-m9"}, {"flip": 1.5}, {"erasing": -0.1}, {"crop_scale": (0.0, 1.0)},
        {"crop_scale": (0.9, 0.1)},
        {"crop_ratio": (2.0, 1.0)}, {"rand_augment": "rand-x9"}, {"rand_augment": "augmix"}, {"rand_augment": ""},
        {"mixup": -1.0}, {"cutmix": -1.0}, {"mix_switch": 2.0}, {"mix_probability": -0.5}, {"color_jitter": -0.1},
    ],
)  # fmt: skip
def test_impossible_settings_are_one_sentence(wrong: dict[str, object]) -> None:
    name = next(iter(wrong))
    with pytest.raises(ValidationError, match=name):
        ClassificationTransforms(**wrong)
    given = [f"transforms.{key}={json.dumps(value)}" for key, value in wrong.items()]
    with pytest.raises(ConfigError, match=name) as caught:
        read_recipe("folder_nano", given)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


# ----------------------------------------------------------------------------------------------------------- mixing


def samples_of(count: int) -> list[Sample]:
    images = torch.arange(float(count)).view(-1, 1, 1, 1).expand(count, 3, 16, 16).clone()
    return [Sample(image, number % 4, str(number), number) for number, image in enumerate(images)]


def mixed(samples: list[Sample], **options: float) -> Batch:
    settings = ClassificationTransforms(**{"mixup": 0.8, "cutmix": 1.0, **options})
    return ClassificationTask("abcd", settings=ClassificationSettings(transforms=settings)).train_collate()(samples)


@pytest.mark.parametrize("count", [1, 2, 5, 8])
@pytest.mark.parametrize("options", [{}, {"mixup": 0.0}, {"cutmix": 0.0}])
def test_soft_targets_sum_to_one(count: int, options: dict[str, float]) -> None:
    for number in range(10):
        seeded(number)
        batch = mixed(samples_of(count), **options)
        assert batch.targets.shape == (count, 4)
        torch.testing.assert_close(batch.targets.sum(1), torch.ones(count))
        assert (batch.targets >= 0).all()


@pytest.mark.parametrize("options", [{"mixup": 0.0, "cutmix": 0.0}, {"mix_probability": 0.0}])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_unmixed_batches_keep_their_labels(count: int, options: dict[str, float]) -> None:
    batch = mixed(samples_of(count), **options)
    assert batch.targets.tolist() == [number % 4 for number in range(count)]
    assert not batch.targets.is_floating_point()
    assert (batch.images == torch.arange(float(count)).view(-1, 1, 1, 1)).all()


def test_an_empty_batch_stays_one() -> None:
    assert len(mixed([])) == 0


@pytest.mark.parametrize("options", [{"mixup": 0.0}, {"cutmix": 0.0}])
def test_targets_say_how_much_of_each_image_there_is(options: dict[str, float]) -> None:
    for number in range(20):
        seeded(number)
        batch = mixed(samples_of(4), **options)
        expected = batch.targets @ torch.arange(4.0)
        torch.testing.assert_close(batch.images.mean((1, 2, 3)), expected)
        assert (batch.targets > 0).sum(1).max() == 2
    if "mixup" in options:
        assert set(batch.images.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}


def test_a_share_of_the_batches_is_mixed() -> None:
    kinds = []
    for number in range(60):
        seeded(number)
        kinds.append(mixed(samples_of(4), mix_probability=0.5).targets.is_floating_point())
    assert 15 < sum(kinds) < 45


@pytest.mark.parametrize(("switch", "least", "most"), [(0.5, 15, 45), (0.0, -1, 1), (1.0, 59, 61), (0.2, 3, 24)])
def test_both_kinds_come_up_and_leave_the_given_samples_alone(switch: float, least: int, most: int) -> None:
    kinds = []
    given = samples_of(4)
    for number in range(60):
        seeded(number)
        batch = mixed(given, mix_switch=switch)
        kinds.append(bool((batch.images == batch.images.round()).all()))
    assert least < sum(kinds) < most
    assert all(torch.equal(one.image, other.image) for one, other in zip(given, samples_of(4), strict=True))
