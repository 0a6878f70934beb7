"""Randomness that depends on what is drawn, not on who draws it: the worker, the rank, or what came before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch

_PURPOSES = {"order": 0, "sample": 1, "batch": 2}
Purpose = Literal["order", "sample", "batch"]


def sequence(seed: int, epoch: int, purpose: Purpose, *numbers: int) -> np.random.SeedSequence:
    """Returns independent entropy for every (seed, epoch, purpose, numbers)."""
    return np.random.SeedSequence([seed & 0xFFFF_FFFF_FFFF_FFFF, epoch, _PURPOSES[purpose], *numbers])


def seed_globals(seed: int, epoch: int, purpose: Purpose, *numbers: int) -> None:
    """Seeds Python's, numpy's and torch's global CPU generators from what is about to be drawn."""
    for_python, for_numpy, for_torch = sequence(seed, epoch, purpose, *numbers).generate_state(3).tolist()
    random.seed(for_python)
    np.random.seed(for_numpy)
    # Not torch.manual_seed: that would also reseed the GPU, whose generator belongs to the model's dropout.
    torch.default_generator.manual_seed(for_torch)


@contextmanager
def preserved_globals() -> Iterator[None]:
    """Restores the three global generators on leaving, so that loading data changes nobody else's random numbers."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
