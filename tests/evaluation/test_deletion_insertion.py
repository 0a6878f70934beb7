from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsevision.errors import ConfigError
from sparsevision.evaluation.deletion_insertion import centre_map, deletion_insertion, faithfulness
from sparsevision.evaluation.grad_cam import grad_cam
from sparsevision.explain import faithfulness_figure
from sparsevision.types import Batch

BOX = (slice(None), slice(2, 6), slice(8, 12))


def bright_box(images):
    """Class 1 as far as the upper right box is bright."""
    share = images[:, 0][BOX].mean((1, 2)).clamp(0, 1)
    return torch.stack([1 - share, share], 1)


def true_map(images, targets):
    saliency = torch.zeros(images.shape[0], *images.shape[2:])
    saliency[BOX] = 1
    return saliency


def lit_images(count=6):
    images = torch.zeros(count, 3, 16, 16)
    images[(slice(None), *BOX)] = 1.0
    return images


def batches():
    images = lit_images()
    for part in (images[:4], images[4:], images[:0]):
        yield Batch(part, None, ["x"] * len(part), list(range(len(part))))


def test_areas_are_the_integrals_of_known_curves():
    images, targets = lit_images(2), torch.ones(2, dtype=torch.long)
    steps = 16  # the box is one sixteenth of the image
    curves = deletion_insertion(bright_box, images, true_map(images, targets), targets, steps=steps, baseline="mean")
    torch.testing.assert_close(curves.deletion[0], torch.tensor([1.0] + [0.0] * steps))
    torch.testing.assert_close(curves.insertion[0], torch.tensor([0.0] + [1.0] * steps))
    torch.testing.assert_close(curves.area("deletion"), torch.full((2,), 1 / 32))
    torch.testing.assert_close(curves.area("insertion"), torch.full((2,), 31 / 32))


def test_a_true_map_beats_random_and_the_intervals_say_so():
    rows = {row["map"]: row for row in faithfulness(bright_box, batches(), {"true": true_map}, baseline="mean")}
    assert list(rows) == ["random", "true"]
    assert rows["true"]["images"] == 6
    assert rows["true"]["deletion_minus_random_high"] < -0.3
    assert rows["true"]["insertion_minus_random_low"] > 0.3
    assert rows["random"]["insertion_low"] <= rows["random"]["insertion"] <= rows["random"]["insertion_high"]


def test_the_same_seed_gives_the_same_rows():
    first = faithfulness(bright_box, batches(), {"centre": centre_map}, seed=3)
    assert faithfulness(bright_box, batches(), {"centre": centre_map}, seed=3) == first


def test_ties_are_not_broken_in_reading_order():
    images, targets = lit_images(64), torch.ones(64, dtype=torch.long)
    curves = deletion_insertion(bright_box, images, torch.zeros(64, 16, 16), targets, steps=2, baseline="mean")
    assert curves.deletion[:, 1].mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("baseline", ["blur", "mean"])
def test_both_ends_are_the_image_and_the_baseline(baseline):
    images, targets = lit_images(1), torch.ones(1, dtype=torch.long)
    curves = deletion_insertion(bright_box, images, torch.rand(1, 16, 16), targets, baseline=baseline)
    torch.testing.assert_close(curves.deletion.flip(1)[:, [0, -1]], curves.insertion[:, [0, -1]])
    assert curves.deletion[0, 0] == 1
    assert curves.deletion[0, -1] < 0.6


def test_mistakes_are_named():
    images, targets = lit_images(1), torch.ones(1, dtype=torch.long)
    with pytest.raises(ConfigError, match=r"\(1, 8, 8\) does not fit"):
        deletion_insertion(bright_box, images, torch.rand(1, 8, 8), targets)
    with pytest.raises(ConfigError, match="expected one of blur, mean"):
        deletion_insertion(bright_box, images, torch.rand(1, 16, 16), targets, baseline="grey")
    with pytest.raises(ConfigError, match="at least one image"):
        faithfulness(bright_box, [], {})


def test_the_curves_are_drawn_with_their_areas():
    rows = faithfulness(bright_box, batches(), {"true": true_map}, baseline="mean")
    figure = faithfulness_figure(rows)
    names = [text.get_text().split()[0] for axes in figure.axes for text in axes.get_legend().get_texts()]
    assert names == ["random", "true"] * 2


class Peer(nn.Module):
    """Features: brightness and darkness; class 1 is the mean brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([[1.0, 0, 0], [-1.0, 0, 0]])[..., None, None])
        self.pool = nn.AvgPool2d(4)

    def forward(self, images):
        return self.pool(self.features(images)).mean((2, 3)).flip(1)


def test_grad_cam_marks_what_speaks_for_the_class():
    peer = Peer().requires_grad_(False)
    heat = grad_cam(peer, peer.features, lit_images(2), torch.ones(2, dtype=torch.long))
    torch.testing.assert_close(heat, true_map(lit_images(2), None))
    assert not peer.features._forward_hooks


def test_grad_cam_refuses_layers_without_a_map():
    peer = Peer()
    with pytest.raises(ConfigError, match=r"received \(1, 2\)"):
        grad_cam(nn.Sequential(peer, head := nn.Flatten()), head, lit_images(1), torch.zeros(1, dtype=torch.long))
    with pytest.raises(ConfigError, match="did not run"):
        grad_cam(peer, nn.Identity(), lit_images(1), torch.zeros(1, dtype=torch.long))
