"""Reads golden cases: what a reference implementation gave for weights that are made anew from their names.

A case is NAME.json (configuration, names and shapes of the weights, seed, tolerances, notes) beside NAME.safetensors
(`state.*` stored weights, `input.*`, `output.*`, `grad.*`).
"""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

SHIPPED = Path(__file__).parent


def folder(system: str) -> Path:
    """The full cases where SPARSEVISION_GOLDEN names them, else those that are shipped with the tests."""
    named = os.environ.get("SPARSEVISION_GOLDEN")
    return Path(named or SHIPPED) / system


def made_weight(name: str, shape: list[int], seed: int) -> Tensor:
    """Draws one tensor from its name, the same on every machine (numpy's legacy generator never changes)."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    noise = np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode())).standard_normal(shape)
    if name.endswith("running_var"):
        noise = np.abs(noise) + 0.5
    elif name.endswith("running_mean"):
        noise = noise * 0.1
    elif len(shape) > 1:
        noise = noise / np.sqrt(prod(shape[1:]))
    elif name.endswith("weight"):
        noise = noise * 0.1 + 1
    else:
        noise = noise * 0.05
    return torch.from_numpy(np.asarray(noise, dtype=np.float32).reshape(shape))


@dataclass(frozen=True)
class Case:
    """One case with its weights made."""

    config: dict[str, Any]
    state: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    grads: dict[str, Tensor]
    tolerance: dict[str, dict[str, float]]

    def check(self, name: str, actual: Tensor) -> None:
        """Fails unless an output agrees within the case's own tolerance."""
        bound = self.tolerance.get(name, self.tolerance["default"])
        torch.testing.assert_close(
            actual.detach(), self.outputs[name], **bound, check_dtype=False, msg=lambda m: f"{name}: {m}"
        )

    def check_gradients(self, gradients: dict[str, Tensor | None]) -> None:
        """Fails unless all stored gradients, and the sums of large ones, agree to 5e-5 of their largest value."""
        for name, expected in self.grads.items():
            _close_to_largest(name, gradients[name], expected)
        for key, expected in self.outputs.items():
            kind, _, name = key.partition(".")
            if kind not in ("gradsum_rows", "gradsum_cols"):
                continue
            gradient = gradients[name]
            assert gradient is not None, name
            matrix = gradient.flatten(1).double()
            wave = torch.arange(len(matrix), dtype=torch.float64).cos()
            summed = matrix.sum(dim=1) if kind == "gradsum_rows" else wave @ matrix
            bound = self.tolerance.get(key, self.tolerance["default"])["atol"]
            _close_to_largest(key, summed, expected, at_least=bound)


def _close_to_largest(name: str, actual: Tensor | None, expected: Tensor, at_least: float = 0.0) -> None:
    assert actual is not None, f"{name} has no gradient"
    atol = max(5e-5 * float(expected.abs().max()), at_least, 1e-12)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=atol, check_dtype=False, msg=lambda m: f"{name}: {m}")


def read(system: str, name: str) -> Case:
    """Reads one case of a system and makes its weights."""
    described = json.loads((folder(system) / f"{name}.json").read_text())
    stored = load_file(folder(system) / f"{name}.safetensors")

    def part(prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}

    state = {
        key: made_weight(key, shape, described.get("seed", 0)) for key, shape in described.get("state", {}).items()
    }
    return Case(
        described["config"],
        state | part("state."),
        part("input."),
        part("output."),
        part("grad."),
        described["tolerance"],
    )


def normalised(image: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Turns uint8 images into what a network sees."""
    return (image.float() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
