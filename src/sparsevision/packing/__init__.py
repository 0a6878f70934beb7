"""Models for predicting only: weights packed for a CPU's kernels, norms folded into the layers before them.

Modules that have a packed form of their own offer it as `packed()`, which returns it.
"""

from sparsevision.packing.weights import can_pack, is_packed, pack_weights

__all__ = ["can_pack", "is_packed", "pack_weights"]
