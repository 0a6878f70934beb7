"""A teacher sees what the student sees, in its own normalisation and size, and is learned from."""

from __future__ import annotations

import pytest
import torch
from stand_ins import TinyNet
from torch import Tensor, nn

from sparsevision.errors import ConfigError
from sparsevision.training.distillation import Learner, Teacher, logits_and_features, pooled_width
from sparsevision.training.sections import DistillationSection
from sparsevision.types import Preprocessing


class Seen(nn.Module):
    """Keeps the images that it was shown."""

    def forward(self, images: Tensor) -> Tensor:
        self.images = images
        return images.mean((2, 3))


def test_the_teacher_sees_its_own_normalisation_and_size() -> None:
    model, half = Seen(), Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)
    teacher = Teacher(model, half, DistillationSection(teacher="x", size=6), Preprocessing())
    pixels = torch.rand(2, 3, 1, 1).expand(2, 3, 12, 12)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (Preprocessing().mean, Preprocessing().std))
    teacher((pixels - mean) / std)
    assert model.images.shape == (2, 3, 6, 6)
    assert torch.allclose(model.images, (pixels[..., :6, :6] - 0.5) / 0.5, atol=1e-5)


def test_the_terms_vanish_for_a_student_that_agrees_and_add_up_over_parts() -> None:
    torch.manual_seed(0)
    section = DistillationSection(teacher="x", logits=2.0, features=3.0)
    teacher = Teacher(TinyNet(), Preprocessing(), section, Preprocessing())
    given, other = (torch.randn(4, 3), torch.randn(4, 8)), (torch.randn(4, 3), torch.randn(4, 8))
    assert all(float(term) == pytest.approx(0.0, abs=1e-5) for term in teacher.loss(given, given, 4.0).values())
    whole = teacher.loss(other, given, 4.0)
    parts = [teacher.loss(tuple(x[r] for x in other), tuple(x[r] for x in given), 4.0) for r in ([0], [1, 2, 3])]
    for name, term in whole.items():
        assert float(term) > 0
        assert torch.allclose(term, parts[0][name] + parts[1][name])


def test_features_are_those_before_the_classifier() -> None:
    model = TinyNet().eval()
    images = torch.randn(2, 3, 8, 8)
    logits, pooled = logits_and_features(model, images)
    assert torch.equal(logits, model(images))
    assert torch.equal(model.head(pooled), logits)
    assert pooled_width(model, 8) == 8
    with pytest.raises(ConfigError, match="forward_features"):
        logits_and_features(Seen(), images)


def test_nothing_of_the_teacher_is_trained() -> None:
    teacher = Teacher(TinyNet(), Preprocessing(), DistillationSection(teacher="x"), Preprocessing())
    learner = Learner(TinyNet(), nn.Linear(8, 8))
    images = torch.randn(4, 3, 8, 8)
    sum(teacher.loss(learner(images), teacher(images), 4.0).values()).backward()
    assert not any(parameter.requires_grad for parameter in teacher.model.parameters())
    assert not teacher.model.training
    assert learner.model.head.weight.grad is not None
