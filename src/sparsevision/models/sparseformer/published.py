"""Published and measured costs of SparseFormer: every image row of the tables as a configuration.

"Paper" is arXiv 2304.03768; the printed figures leave out the two batched products of adaptive mixing, which the
counter used there most likely did not know. `macs` and `mixing` were measured on the released code with
`torch.utils.flop_counter`, halved, one image, 1000 classes, attention unfused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparsevision.models.published import CostRow, Figure, OperationCount, PublishedCosts, count_parameters

TOLERANCE = 0.01


@dataclass(frozen=True, kw_only=True)
class SparseFormerCostRow(CostRow):
    """The figures of a row, in G.

    `mixing` is None where the reference counted the mixing's products among all others, so that its count without
    them is the whole count; `paper` is None where no paper gives a figure; `unused` are parameters of the reference's
    model that take no part in its answer, and that ours does not have.
    """

    parameters: int
    paper: float | None
    macs: float
    mixing: float | None
    sampling: float
    unused: int = 0

    def figures(self, model: Any, count: OperationCount) -> Sequence[Figure]:
        """Returns parameters, and multiply-adds with and without the products of mixing."""
        stated = self.macs - (self.mixing or 0.0)
        without = count.total if self.mixing is None else count.without_mixing
        parameters = self.parameters - self.unused
        return (
            Figure(name="parameters", counted=count_parameters(model), stated=parameters, tolerance=0),
            Figure(name="paper G", counted=count.without_mixing / 1e9, stated=self.paper, digits=1),
            Figure(name="total G", counted=count.total / 1e9, stated=self.macs, tolerance=TOLERANCE, digits=3),
            Figure(name="without mixing G", counted=without / 1e9, stated=stated, tolerance=TOLERANCE, digits=3),
            Figure(name="sampling G", counted=model.sampling_macs / 1e9, stated=self.sampling, digits=4),
        )


def _row(
    name: str, model: str, parameters: int, paper: float | None, macs: float, mixing: float | None, sampling: float,
    config: Mapping[str, Any] | None = None, size: tuple[int, int] = (224, 224), unused: int = 0,
) -> SparseFormerCostRow:  # fmt: skip
    return SparseFormerCostRow(
        name=name, model=model, parameters=parameters, paper=paper, macs=macs, mixing=mixing, sampling=sampling,
        config=config or {}, size=size, unused=unused,
    )  # fmt: skip


_TINY, _SMALL, _BASE = "sparseformer_tiny", "sparseformer_small", "sparseformer_base"

ROWS: tuple[SparseFormerCostRow, ...] = (
    _row("T1 T", _TINY, 31_522_212, 2.0, 2.178, 0.112, 0.0034),
    _row("T1 S", _SMALL, 47_575_056, 3.8, 3.990, 0.146, 0.0044),
    _row("T1 B", _BASE, 81_076_996, 7.8, 7.987, 0.185, 0.0056),
    _row("T3a N=9", _TINY, 31_511_812, 0.5, 0.541, 0.021, 0.0006, {"num_tokens": 9}),
    _row("T3a N=16", _TINY, 31_513_632, 0.8, 0.825, 0.036, 0.0011, {"num_tokens": 16}),
    _row("T3a N=25", _TINY, 31_515_972, 1.1, 1.192, 0.057, 0.0017, {"num_tokens": 25}),
    _row("T3a N=36", _TINY, 31_518_832, 1.6, 1.642, 0.082, 0.0025, {"num_tokens": 36}),
    _row("T3a N=49", _TINY, 31_522_212, 2.0, 2.178, 0.112, 0.0034, {"num_tokens": 49}),
    _row("T3a N=64", _TINY, 31_526_112, 2.7, 2.800, 0.146, 0.0044, {"num_tokens": 64}),
    _row("T3a N=81", _TINY, 31_530_532, 3.3, 3.510, 0.185, 0.0056, {"num_tokens": 81}),
    # Measured with the layers of adjustment and offsets in place, though "nil" fixes what they would move.
    _row("T3b nil", _TINY, 29_006_472, 1.6, 1.610, 0.022, 0.0007, {"focusing_repeats": 0}, unused=41_032),
    _row("T3b L=1", _TINY, 31_522_212, 1.7, 1.757, 0.045, 0.0014, {"focusing_repeats": 1}),
    _row("T3b L=4", _TINY, 31_522_212, 2.0, 2.178, 0.112, 0.0034, {"focusing_repeats": 4}),
    _row("T3b L=8", _TINY, 31_522_212, 2.5, 2.738, 0.201, 0.0061, {"focusing_repeats": 8}),
    _row("T3c P=16", _TINY, 29_815_052, 1.9, 1.941, 0.042, 0.0015, {"num_points": 16}),
    _row("T3c P=36", _TINY, 31_522_212, 2.0, 2.178, 0.112, 0.0034, {"num_points": 36}),
    _row("T3c P=64", _TINY, 34_172_972, 2.3, 2.566, 0.241, 0.0060, {"num_points": 64}),
    _row("T3d RGB", _TINY, 27_150_396, 1.5, 1.465, 0.001, 0.0001, {"image_feature": "rgb"}),
    _row("T3d ViT/8", _TINY, 31_526_532, 1.9, 2.015, 0.112, 0.0034, {"image_feature": "patch"}),
    _row("T3d early conv", _TINY, 31_522_212, 2.0, 2.178, 0.112, 0.0034, {"image_feature": "early_conv"}),
    _row("T3e linear", _TINY, 29_398_972, 1.9, 1.862, None, 0.0034, {"decoding": "linear"}),
    _row("T3e static", _TINY, 29_420_260, 1.9, 1.973, None, 0.0034, {"decoding": "static"}),
    _row("T3e adaptive", _TINY, 31_522_212, 2.0, 2.178, 0.112, 0.0034, {"decoding": "adaptive"}),
    _row("T4 B 384", _BASE, 81_076_996, 8.2, 8.330, 0.185, 0.0056, size=(384, 384)),
    _row("T4 B 512", _BASE, 81_076_996, 8.6, 8.735, 0.185, 0.0056, size=(512, 512)),
    _row("T4 B N144 384", _BASE, 81_101_440, 14.2, 14.572, 0.328, 0.0100, {"num_tokens": 144}, (384, 384)),
    _row("T4 B N196 384", _BASE, 81_121_616, 19.4, 19.833, 0.447, 0.0135, {"num_tokens": 196}, (384, 384)),
    _row("T7 S N400 800x1333", _SMALL, 47_683_920, 27.0, 29.316, 0.912, 0.0276, {"num_tokens": 400}, (800, 1333)),
    _row("T7 S N400 800x1066", _SMALL, 47_683_920, 27.0, 28.559, 0.912, 0.0276, {"num_tokens": 400}, (800, 1066)),
    _row("T8 T N49 512", _TINY, 31_522_212, 33.0, 2.925, 0.112, 0.0034, {"num_tokens": 49}, (512, 512)),
    _row("T8 T N256 512", _TINY, 31_576_032, 39.0, 11.917, 0.584, 0.0177, {"num_tokens": 256}, (512, 512)),
    _row("T8 T N400 512", _TINY, 31_613_472, 43.0, 18.690, 0.912, 0.0276, {"num_tokens": 400}, (512, 512)),
    _row("bootstrapped augreg base", "sparseformer_augreg_base", 64_185_448, None, 3.778, None, 0.0010),
    _row("bootstrapped augreg large", "sparseformer_augreg_large", 212_426_984, None, 11.343, None, 0.0010),
    _row("bootstrapped CLIP base", "sparseformer_clip_base", 63_809_664, None, 3.778, None, 0.0010),
    _row("bootstrapped CLIP large", "sparseformer_clip_large", 212_188_476, None, 14.823, None, 0.0013),
    _row("v2 tiny", _TINY, 31_522_212, 2.0, 2.178, 0.112, 0.0034, {"numerics": "v2"}),
)

COSTS = PublishedCosts(
    title="Multiply-adds of one image in G (1e9), with and without the products of mixing, and those of sampling.",
    rows=ROWS,
    note="Parameters are compared to the unit, multiply-adds to one per cent.",
)
