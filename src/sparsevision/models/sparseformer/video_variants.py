"""The named video networks: Table 5's, and this project's nano. No weights of them were released."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sparsevision.models.registry import Variant
from sparsevision.models.sparseformer.variants import VARIANTS as CLASSIFIERS
from sparsevision.models.sparseformer.video import VideoSparseFormerConfig
from sparsevision.types import Preprocessing


def _of(name: str, preprocessing: Preprocessing, **fields: Any) -> Variant:
    source = CLASSIFIERS[name]
    config = VideoSparseFormerConfig(**asdict(source.config) | fields, classifier=name)
    return Variant(config=config, preprocessing=preprocessing.of_images(source.preprocessing), paper=source.paper)


_KINETICS = Preprocessing(frames=32, frame_stride=4)
# Two seconds, as surveillance cameras' clips have; 8 frames a second.
_SHORT = Preprocessing(frames=16, clip_seconds=2.0)
VARIANTS: Mapping[str, Variant] = {
    "video_sparseformer_nano": _of("sparseformer_nano", _SHORT, num_classes=2),
    # As the released code of the video network computes.
    **{
        f"video_sparseformer_{size}": _of(f"sparseformer_{size}", _KINETICS, num_classes=400, numerics="v2")
        for size in ("tiny", "small", "base")
    },
}
