"""The named models."""

from __future__ import annotations

from sparsevision.models.registry import Variant
from sparsevision.types import Preprocessing
from toys.tally_net.network import TallyNetConfig

VARIANTS = {
    "tally_net_nano": Variant(
        config=TallyNetConfig(), preprocessing=Preprocessing(size=(32, 32), fit="stretch"), paper="none"
    )
}
