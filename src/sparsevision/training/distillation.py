"""Learning from a teacher: its logits, its pooled features, on the very images that the student sees."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevision.errors import ConfigError
from sparsevision.kernels.dispatch import with_channels_last

if TYPE_CHECKING:
    from sparsevision.training.sections import DistillationSection
    from sparsevision.types import Preprocessing

Answer = tuple[Tensor, Tensor | None]


def logits_and_features(model: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """Runs a model that answers timm's verbs; returns logits (B, K) and the pooled features before its classifier."""
    for verb in ("forward_features", "forward_head"):
        if not hasattr(model, verb):
            raise ConfigError(
                f"{type(model).__name__} has no {verb}, which distilling features needs: set distillation.features=0."
            )
    found = model.forward_features(images)
    return model.forward_head(found), model.forward_head(found, pre_logits=True)


def pooled_width(model: nn.Module, size: int) -> int:
    """Finds the width of a model's pooled features by asking it once, at `size` pixels; leaves no trace in it."""
    was_training = model.training
    model.eval()
    with torch.no_grad():
        parameter = next(model.parameters())
        probe = torch.zeros(1, 3, size, size, device=parameter.device, dtype=parameter.dtype)
        width = logits_and_features(model, probe)[1].shape[-1]
    model.train(was_training)
    return int(width)


class Learner(nn.Module):
    """The student as it is trained: logits, and its pooled features mapped linearly onto the teacher's."""

    def __init__(
        self, model: nn.Module, feature_map: nn.Linear | None = None, *, freeze_batch_norm: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.feature_map = feature_map
        self.freeze_batch_norm = freeze_batch_norm

    def forward(self, images: Tensor, sizes: Tensor | None = None, targets: Any = None) -> Answer:
        """Returns logits (B, K) and mapped features (B, F), or None where none are distilled."""
        if self.feature_map is None:
            given = {} if sizes is None else {"sizes": sizes}
            if getattr(self.model, "reads_targets", False):
                given["targets"] = targets
            return self.model(images, **given), None
        logits, pooled = logits_and_features(self.model, images)
        return logits, self.feature_map(pooled)

    def train(self, mode: bool = True) -> Learner:
        """Switches to training, but for batch norms whose statistics the recipe freezes."""
        super().train(mode)
        if mode and self.freeze_batch_norm:
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self


class Teacher:
    """A trained model that answers the student's images, without gradients, in its own normalisation and size."""

    def __init__(
        self, model: nn.Module, preprocessing: Preprocessing, section: DistillationSection, student: Preprocessing
    ) -> None:
        self.model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.section = section
        self.wants_features = section.features > 0
        same = (preprocessing.mean, preprocessing.std) == (student.mean, student.std)
        self.norms = None if same else (student.mean, student.std, preprocessing.mean, preprocessing.std)
        self.answer: Any = torch.compile(self._answer) if section.compile else self._answer

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Answer:
        """Returns the teacher's logits and, where they are distilled, its pooled features, both fp32."""
        images = with_channels_last(self._as_mine(images))
        half = torch.autocast(images.device.type, torch.bfloat16) if self.section.bf16 else nullcontext()
        with half:
            logits, pooled = self.answer(images)
        return logits.float(), None if pooled is None else pooled.float()

    def loss(self, student: Answer, teacher: Answer, count: float | Tensor) -> dict[str, Tensor]:
        """Returns the weighted terms, each summed over images and divided by count."""
        terms = {}
        if self.section.logits > 0:
            heat = self.section.temperature
            wanted, given = F.log_softmax(teacher[0] / heat, -1), F.log_softmax(student[0].float() / heat, -1)
            divergence = F.kl_div(given, wanted, reduction="sum", log_target=True)
            terms["distilled_logits"] = self.section.logits * heat**2 * divergence / count
        if student[1] is not None and teacher[1] is not None:
            mapped = student[1].float()
            if self.section.feature_loss == "cosine":
                distance = 1 - F.cosine_similarity(mapped, teacher[1], dim=-1)
            else:
                distance = (mapped - teacher[1]).square().mean(-1)
            terms["distilled_features"] = self.section.features * distance.sum() / count
        return terms

    def _answer(self, images: Tensor) -> Answer:
        return logits_and_features(self.model, images) if self.wants_features else (self.model(images), None)

    def _as_mine(self, images: Tensor) -> Tensor:
        if self.norms is not None:
            student_mean, student_std, mean, std = (images.new_tensor(v).view(1, -1, 1, 1) for v in self.norms)
            images = (images * student_std + student_mean - mean) / std
        size = self.section.size
        if size is not None and tuple(images.shape[-2:]) != (size, size):
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)
        return images
