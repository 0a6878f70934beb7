"""What every registered model owes its users; the smallest of each family goes through all of it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model_checks import CHECKS, EACH_CHECK, make, smallest
from sparsevision.models.registry import FAMILIES, variants

# With the frozen stem and first stage: 0.2224 M of ResNet-50, 0.3041 M of Swin-T.
DETECTORS = {
    "deformable_detr_r50": 40_069_665,
    "deformable_detr_refined_r50": 40_849_660,
    "deformable_detr_two_stage_r50": 41_181_529,
    "deformable_detr_efficient_r50": 41_049_689,
    "deformable_detr_swin_t": 40_612_699,
    "deformable_detr_refined_swin_t": 41_392_694,
    "deformable_detr_two_stage_swin_t": 41_724_563,
    "deformable_detr_efficient_swin_t": 41_592_723,
    **{f"sparse_detr_r50_{percent}": 41_937_205 for percent in (10, 20, 30, 40, 50)},
    **{f"sparse_detr_swin_t_{percent}": 42_480_239 for percent in (10, 20, 30, 40, 50)},
}
PARAMETERS = {
    "sparseformer_tiny": 31_522_212,
    "sparseformer_small": 47_575_056,
    "sparseformer_base": 81_076_996,
    "sparseformer_augreg_base": 64_185_448,
    "sparseformer_augreg_large": 212_426_984,
    "sparseformer_clip_base": 63_809_664,
    "sparseformer_clip_large": 212_188_476,
    "vt_resnet18": 11_671_592,
    "vt_resnet34": 21_892_392,
    "vt_resnet50": 22_149_160,
    "vt_resnet101": 41_141_288,
    "vt_fpn_r50": 31_885_046,
    "vt_fpn_r101": 50_824_950,
    "fpn_r50": 28_430_070,
    "fpn_r101": 47_369_974,
    "sparseformer_segmenter_tiny": 33_393_234,
    # The classifier with 400 tokens, less its head of 1,000 classes (641,000).
    "sparseformer_detector_small": 47_683_920 - 641_000 + 58_972 + 410_240 + 2_564,
    "video_sparseformer_tiny": 31_333_632,
    "video_sparseformer_small": 47_373_184,
    "video_sparseformer_base": 80_880_736,
    **DETECTORS,
}
LARGEST_NANO = {
    "sparseformer": 6_000_000, "sparse_detr": 10_000_000, "visual_transformer_fpn": 6_000_000,
    "sparseformer_segmenter": 7_000_000, "sparseformer_detector": 6_000_000, "sparseformer_video": 6_000_000,
}  # fmt: skip


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", variants())
def test_every_registered_model_has_its_exact_number_of_parameters(name: str) -> None:
    variant = variants()[name]
    assert variant.name == name
    with torch.device("meta"):
        model = variant.family.model_class(variant.config)
    if name.endswith("_nano"):
        assert _count(model) <= LARGEST_NANO[variant.family.name]
    else:
        assert _count(model) == PARAMETERS[name]


@pytest.mark.parametrize("check", EACH_CHECK)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family: str, check: str) -> None:
    name = smallest(family)
    CHECKS[check](make(name), name)
