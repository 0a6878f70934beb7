"""Published and measured costs of SparseFormer: every image row of the tables as a configuration.

"Paper" is arXiv 2304.03768; the printed figures leave out the two batched products of adaptive mixing, which the
counter used there most likely did not know. `macs` and `mixing` were measured on the released code with
`torch.utils.flop_counter`, halved, one image, 1000 classes, attention unfused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsevision.models.published import CostRow, Figure, OperationCount, PublishedCosts, count_parameters

TOLERANCE = 0.01


def figures(row: CostRow, model: Any, count: OperationCount) -> Sequence[Figure]:
    """Returns parameters, and multiply-adds in G, with and without the products of mixing.

    Where no `mixing` is stated the reference counted its products among all others, so that its count without them is
    the whole count.
    """
    parameters, paper, macs, mixing, sampling = row.stated
    without = count.total if mixing is None else count.without_mixing
    return (
        Figure("parameters", count_parameters(model), parameters, tolerance=0),
        Figure("paper G", count.without_mixing / 1e9, paper, digits=1),
        Figure("total G", count.total / 1e9, macs, tolerance=TOLERANCE, digits=3),
        Figure("without mixing G", without / 1e9, (macs or 0) - (mixing or 0), tolerance=TOLERANCE, digits=3),
        Figure("sampling G", model.sampling_macs / 1e9, sampling, digits=4),
    )


_TINY, _SMALL, _BASE = "sparseformer_tiny", "sparseformer_small", "sparseformer_base"

ROWS: tuple[CostRow, ...] = (
    CostRow("T1 T", _TINY, (31_522_212, 2.0, 2.178, 0.112, 0.0034)),
    CostRow("T1 S", _SMALL, (47_575_056, 3.8, 3.990, 0.146, 0.0044)),
    CostRow("T1 B", _BASE, (81_076_996, 7.8, 7.987, 0.185, 0.0056)),
    CostRow("T3a N=9", _TINY, (31_511_812, 0.5, 0.541, 0.021, 0.0006), {"num_tokens": 9}),
    CostRow("T3a N=16", _TINY, (31_513_632, 0.8, 0.825, 0.036, 0.0011), {"num_tokens": 16}),
    CostRow("T3a N=25", _TINY, (31_515_972, 1.1, 1.192, 0.057, 0.0017), {"num_tokens": 25}),
    CostRow("T3a N=36", _TINY, (31_518_832, 1.6, 1.642, 0.082, 0.0025), {"num_tokens": 36}),
    CostRow("T3a N=49", _TINY, (31_522_212, 2.0, 2.178, 0.112, 0.0034), {"num_tokens": 49}),
    CostRow("T3a N=64", _TINY, (31_526_112, 2.7, 2.800, 0.146, 0.0044), {"num_tokens": 64}),
    CostRow("T3a N=81", _TINY, (31_530_532, 3.3, 3.510, 0.185, 0.0056), {"num_tokens": 81}),
    # Measured with the layers of adjustment and offsets in place, though "nil" fixes what they would move; their
    # 41,032 parameters are left out.
    CostRow("T3b nil", _TINY, (28_965_440, 1.6, 1.610, 0.022, 0.0007), {"focusing_repeats": 0}),
    CostRow("T3b L=1", _TINY, (31_522_212, 1.7, 1.757, 0.045, 0.0014), {"focusing_repeats": 1}),
    CostRow("T3b L=4", _TINY, (31_522_212, 2.0, 2.178, 0.112, 0.0034), {"focusing_repeats": 4}),
    CostRow("T3b L=8", _TINY, (31_522_212, 2.5, 2.738, 0.201, 0.0061), {"focusing_repeats": 8}),
    CostRow("T3c P=16", _TINY, (29_815_052, 1.9, 1.941, 0.042, 0.0015), {"num_points": 16}),
    CostRow("T3c P=36", _TINY, (31_522_212, 2.0, 2.178, 0.112, 0.0034), {"num_points": 36}),
    CostRow("T3c P=64", _TINY, (34_172_972, 2.3, 2.566, 0.241, 0.0060), {"num_points": 64}),
    CostRow("T3d RGB", _TINY, (27_150_396, 1.5, 1.465, 0.001, 0.0001), {"image_feature": "rgb"}),
    CostRow("T3d ViT/8", _TINY, (31_526_532, 1.9, 2.015, 0.112, 0.0034), {"image_feature": "patch"}),
    CostRow("T3d early conv", _TINY, (31_522_212, 2.0, 2.178, 0.112, 0.0034), {"image_feature": "early_conv"}),
    CostRow("T3e linear", _TINY, (29_398_972, 1.9, 1.862, None, 0.0034), {"decoding": "linear"}),
    CostRow("T3e static", _TINY, (29_420_260, 1.9, 1.973, None, 0.0034), {"decoding": "static"}),
    CostRow("T3e adaptive", _TINY, (31_522_212, 2.0, 2.178, 0.112, 0.0034), {"decoding": "adaptive"}),
    CostRow("T4 B 384", _BASE, (81_076_996, 8.2, 8.330, 0.185, 0.0056), size=(384, 384)),
    CostRow("T4 B 512", _BASE, (81_076_996, 8.6, 8.735, 0.185, 0.0056), size=(512, 512)),
    CostRow("T4 B N144 384", _BASE, (81_101_440, 14.2, 14.572, 0.328, 0.0100), {"num_tokens": 144}, (384, 384)),
    CostRow("T4 B N196 384", _BASE, (81_121_616, 19.4, 19.833, 0.447, 0.0135), {"num_tokens": 196}, (384, 384)),
    CostRow("T7 S N400 800x1333", _SMALL, (47_683_920, 27.0, 29.316, 0.912, 0.0276), {"num_tokens": 400}, (800, 1333)),
    CostRow("T7 S N400 800x1066", _SMALL, (47_683_920, 27.0, 28.559, 0.912, 0.0276), {"num_tokens": 400}, (800, 1066)),
    CostRow("T8 T N49 512", _TINY, (31_522_212, 33.0, 2.925, 0.112, 0.0034), {"num_tokens": 49}, (512, 512)),
    CostRow("T8 T N256 512", _TINY, (31_576_032, 39.0, 11.917, 0.584, 0.0177), {"num_tokens": 256}, (512, 512)),
    CostRow("T8 T N400 512", _TINY, (31_613_472, 43.0, 18.690, 0.912, 0.0276), {"num_tokens": 400}, (512, 512)),
    CostRow("bootstrapped augreg base", "sparseformer_augreg_base", (64_185_448, None, 3.778, None, 0.0010)),
    CostRow("bootstrapped augreg large", "sparseformer_augreg_large", (212_426_984, None, 11.343, None, 0.0010)),
    CostRow("bootstrapped CLIP base", "sparseformer_clip_base", (63_809_664, None, 3.778, None, 0.0010)),
    CostRow("bootstrapped CLIP large", "sparseformer_clip_large", (212_188_476, None, 14.823, None, 0.0013)),
    CostRow("v2 tiny", _TINY, (31_522_212, 2.0, 2.178, 0.112, 0.0034), {"numerics": "v2"}),
)

COSTS = PublishedCosts(
    title="Multiply-adds of one image in G (1e9), with and without the products of mixing, and those of sampling.",
    rows=ROWS,
    figures=figures,
    note="Parameters are compared to the unit, multiply-adds to one per cent.",
)
