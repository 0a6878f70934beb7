"""Which images are held out for validation, when nobody has said."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

HEAD_BYTES = 1 << 16


def digest_of(head: bytes, size: int) -> bytes:
    """Identifies a file by its size and its first 64 KiB, which two different photographs never share."""
    return hashlib.blake2b(head, digest_size=16, salt=size.to_bytes(8, "little")).digest()


def held_out(digests: Sequence[bytes], labels: Sequence[int], fraction: float, seed: int) -> list[bool]:
    """Says of each image whether it is validation: `fraction` of every class, drawn by the hash of its content.

    Neither order nor names matter, and copies of one image in a class stay on one side. A class of two or more
    different images has at least one on each side; a single one is for training.
    """
    by_class: dict[int, set[bytes]] = defaultdict(set)
    for digest, label in zip(digests, labels, strict=True):
        by_class[label].add(digest)
    key = (seed & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little")
    chosen: dict[int, set[bytes]] = {}
    for label, distinct in by_class.items():
        drawn = sorted(distinct, key=lambda digest: hashlib.blake2b(digest, key=key, digest_size=16).digest())
        count = min(max(round(fraction * len(drawn)), 1), len(drawn) - 1)
        chosen[label] = set(drawn[:count])
    return [digest in chosen[label] for digest, label in zip(digests, labels, strict=True)]
