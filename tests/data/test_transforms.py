"""What a model sees of a picture: preprocessing, the recipe's random transforms, mixing."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from sparsevision.data.mixing import Mixing
from sparsevision.data.preprocessing import least_decoded_side, to_tensor, views
from sparsevision.data.transforms import TrainTransform, TransformSettings
from sparsevision.errors import ConfigError
from sparsevision.types import Batch, Preprocessing


def picture(width: int = 100, height: int = 60) -> Image.Image:
    """Red grows to the right, green downwards: a colour says where it came from."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 128)], -1).round().astype(np.uint8))


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
    tensor, _ = views(preprocessing, picture(*size))[0]
    torch.testing.assert_close(tensor, theirs(picture(*size)))


@pytest.mark.parametrize("fit", ["crop", "stretch", "whole"])
@pytest.mark.parametrize("size", [(100, 60), (61, 143)])
def test_geometry_leads_back_to_the_original(fit: str, size: tuple[int, int]) -> None:
    preprocessing = Preprocessing(size=(48, 64), fit=fit, mean=(0, 0, 0), std=(1, 1, 1))
    tensor, geometry = views(preprocessing, picture(*size))[0]
    height, width = tensor.shape[1:]
    assert geometry.view_size == (height, width)
    assert geometry.original_size == (size[1], size[0])
    for x, y in [(width // 4, height // 3), (width // 2, height // 2), (width - 6, height - 5)]:
        place = geometry.to_original(torch.tensor([(x + 0.5) / width, (y + 0.5) / height]))
        red, green, _ = tensor[:, y, x].tolist()
        assert red == pytest.approx((float(place[0]) - 0.5) / (size[0] - 1), abs=0.02)
        assert green == pytest.approx((float(place[1]) - 0.5) / (size[1] - 1), abs=0.02)


def test_a_reduced_picture_leads_back_to_its_original_pixels() -> None:
    _, geometry = views(Preprocessing(size=(32, 32)), picture(100, 60), original_size=(600, 1000))[0]
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
    tensor, geometry = views(Preprocessing(size=(64, 64), fit="whole"), Image.new("RGB", size))[0]
    assert tensor.shape == (3, *expected)
    assert geometry.box == (0, 0, size[0], size[1])


@pytest.mark.parametrize("size", [(1, 1), (4000, 1), (1, 4000), (2, 3)])
@pytest.mark.parametrize("fit", ["crop", "stretch", "whole"])
def test_no_shape_is_too_odd(size: tuple[int, int], fit: str) -> None:
    tensor, _ = views(Preprocessing(size=(64, 64), fit=fit), Image.new("RGB", size, "red"))[0]
    assert torch.isfinite(tensor).all()
    assert TrainTransform(TransformSettings(size=(32, 32)))(Image.new("RGB", size, "red")).shape == (3, 32, 32)


def test_channels_follow_the_mean() -> None:
    grey = to_tensor(Image.new("RGB", (4, 3), (255, 255, 255)), (0.5,), (0.5,))
    assert grey.shape == (1, 3, 4)
    assert torch.equal(grey, torch.ones(1, 3, 4))
    settings = TransformSettings(size=(16, 16), mean=(0.5,), std=(0.5,))
    assert TrainTransform(settings)(picture()).shape == (1, 16, 16)
    with pytest.raises(ConfigError, match="2 and a std of 2 channels"):
        to_tensor(picture(), (0.1, 0.2), (1.0, 1.0))


def test_the_decoded_side_is_twice_what_is_needed() -> None:
    assert least_decoded_side(Preprocessing(size=(224, 224))) == 512
    assert least_decoded_side(Preprocessing(size=(64, 96), fit="stretch")) == 192


PLAIN = {"rand_augment": None, "erasing": 0.0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def test_the_random_crop_stays_within_its_scale_and_ratio() -> None:
    settings = TransformSettings(size=(40, 40), crop_scale=(0.2, 0.5), crop_ratio=(0.5, 2.0), flip=0.0, **PLAIN)
    seeded()
    areas = []
    for _ in range(100):
        tensor = TrainTransform(settings)(picture(200, 200))
        width = float(tensor[0, 20, -1] - tensor[0, 20, 0]) * 40 / 39
        height = float(tensor[1, -1, 20] - tensor[1, 0, 20]) * 40 / 39
        areas.append(width * height)
        assert 0.45 < width / height < 2.2
    assert 0.18 < min(areas) < 0.25
    assert 0.42 < max(areas) < 0.53


def test_flips_are_as_frequent_as_stated() -> None:
    settings = TransformSettings(size=(8, 8), crop_scale=(1.0, 1.0), flip=0.3, **PLAIN)
    seeded()
    flipped = [
        float((tensor := TrainTransform(settings)(picture(50, 50)))[0, 0, 0] - tensor[0, 0, -1]) > 0 for _ in range(400)
    ]
    assert 0.23 < np.mean(flipped) < 0.37


def test_erasing_fills_one_rectangle_with_noise() -> None:
    options = {**PLAIN, "erasing": 1.0}
    seeded()
    noisy = TrainTransform(TransformSettings(size=(32, 32), **options))(Image.new("RGB", (50, 50)))
    rows, columns = torch.nonzero(noisy.abs().sum(0) > 0, as_tuple=True)
    area = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    assert len(rows) == int(area)
    assert 0.02 * 1024 - 8 <= len(rows) <= 1024 / 3 + 8
    assert noisy.abs().max() > 1
    options["erasing_mode"] = "constant"
    white = TrainTransform(TransformSettings(size=(32, 32), **options))(Image.new("RGB", (50, 50), "white"))
    assert sorted(white.unique().tolist()) == [0.0, 1.0]


def test_rand_augment_and_jitter_change_the_picture_and_none_does_not() -> None:
    options = {**PLAIN, "size": (32, 32), "crop_scale": (1.0, 1.0), "flip": 0.0, "crop_ratio": (1.0, 1.0)}
    square = picture(32, 32)
    plain = to_tensor(square, (0.0,) * 3, (1.0,) * 3)
    seeded()
    assert torch.equal(TrainTransform(TransformSettings(**options))(square), plain)
    for extra in ({"rand_augment": "rand-m9-n3-p1.0-mstd0.5-inc1"}, {"color_jitter": 0.4}):
        assert not torch.allclose(TrainTransform(TransformSettings(**{**options, **extra}))(square), plain, atol=0.01)


@pytest.mark.parametrize("increasing", ["", "-inc1"])
@pytest.mark.parametrize("magnitude", [0, 5, 10])
def test_every_operation_of_rand_augment_works_at_every_strength(magnitude: int, increasing: str) -> None:
    spelled = f"rand-m{magnitude}-p1.0-n20{increasing}"
    transform = TrainTransform(TransformSettings(size=(16, 16), rand_augment=spelled))
    seeded()
    for _ in range(15):
        assert transform(picture()).shape == (3, 16, 16)


@pytest.mark.parametrize("policy", ["original", "v0"])
def test_auto_augment_draws_from_all_of_its_policy(policy: str) -> None:
    options = {**PLAIN, "size": (32, 32), "crop_scale": (1.0, 1.0), "flip": 0.0, "crop_ratio": (1.0, 1.0)}
    transform = TrainTransform(TransformSettings(**{**options, "auto_augment": policy}))
    seeded()
    drawn = [transform(picture(32, 32)) for _ in range(60)]
    assert all(tensor.shape == (3, 32, 32) for tensor in drawn)
    assert len({tuple(tensor.flatten().tolist()) for tensor in drawn}) > 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"auto_augment": "v0"}, {"flip": 1.5}, {"erasing": -0.1}, {"crop_scale": (0.0, 1.0)},
        {"crop_scale": (0.9, 0.1)},
        {"crop_ratio": (2.0, 1.0)}, {"rand_augment": "rand-x9"}, {"rand_augment": "augmix"}, {"rand_augment": ""},
    ],
)  # fmt: skip
def test_impossible_settings_are_one_sentence(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        TransformSettings(**wrong)


# ----------------------------------------------------------------------------------------------------------- mixing


def batch_of(count: int) -> Batch:
    images = torch.arange(float(count)).view(-1, 1, 1, 1).expand(count, 3, 16, 16).clone()
    return Batch(images, torch.arange(count) % 4, [str(i) for i in range(count)], list(range(count)))


@pytest.mark.parametrize("count", [0, 1, 2, 5, 8])
@pytest.mark.parametrize(
    "options", [{}, {"mixup": 0.0}, {"cutmix": 0.0}, {"mixup": 0.0, "cutmix": 0.0}, {"probability": 0.0}]
)
def test_soft_targets_sum_to_one(count: int, options: dict[str, float]) -> None:
    for number in range(10):
        seeded(number)
        mixed = Mixing(4, **options)(batch_of(count))
        assert mixed.targets.shape == (count, 4)
        torch.testing.assert_close(mixed.targets.sum(1), torch.ones(count))
        assert (mixed.targets >= 0).all()


@pytest.mark.parametrize("options", [{"mixup": 0.0}, {"cutmix": 0.0}])
def test_targets_say_how_much_of_each_picture_there_is(options: dict[str, float]) -> None:
    for number in range(20):
        seeded(number)
        mixed = Mixing(4, **options)(batch_of(4))
        expected = mixed.targets @ torch.arange(4.0)
        torch.testing.assert_close(mixed.images.mean((1, 2, 3)), expected)
    if "mixup" in options:
        assert set(mixed.images.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}


def test_both_kinds_come_up_and_leave_the_given_batch_alone() -> None:
    kinds = []
    given = batch_of(4)
    for number in range(60):
        seeded(number)
        mixed = Mixing(4)(given)
        kinds.append(bool((mixed.images == mixed.images.round()).all()))
    assert 15 < sum(kinds) < 45
    assert torch.equal(given.images, batch_of(4).images)


def test_impossible_mixing_is_one_sentence() -> None:
    for wrong in ({"mixup": -1.0}, {"switch": 2.0}, {"probability": -0.5}):
        with pytest.raises(ConfigError, match=r"Mixing needs .*\.$"):
            Mixing(4, **wrong)
