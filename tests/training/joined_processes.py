"""One process of a run on several, started by test_processes.py through torchrun."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from stand_ins import TinyLoaders, parts, recipe
from torch import nn

from sparsevision.training import fit
from sparsevision.training.session import Session
from sparsevision.types import Batch

LAYOUTS = {"equal": (slice(0, 2), slice(2, 4)), "unequal": (slice(0, 1), slice(1, 4))}


class Share(TinyLoaders):
    """What one process sees of the joint batches; what is scored is dealt out unevenly, nothing twice."""

    def __init__(self, rank: int, world: int, layout: str) -> None:
        super().__init__()
        self.rank, self.world, self.layout = rank, world, layout

    def train(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        for batch in super().train(epoch, start_batch):
            yield batch if self.world == 1 else cut(batch, LAYOUTS[self.layout][self.rank])

    def scored(self) -> Iterator[Batch]:
        for number, batch in enumerate(super().scored()):
            if self.world == 1 or (number == 1) == (self.rank == 1):
                yield batch


def cut(batch: Batch, rows: slice) -> Batch:
    return Batch(batch.images[rows], batch.targets[rows], batch.names[rows], batch.indices[rows])


def main(out: Path, layout: str) -> None:
    gradients: dict[str, list[float]] = {}
    clip = Session.clip_gradients

    def noting(run: Session) -> None:
        if not gradients:
            for name, parameter in run.model.named_parameters():
                assert parameter.grad is not None
                gradients[name] = parameter.grad.flatten().tolist()
        clip(run)

    Session.clip_gradients = noting  # type: ignore[method-assign]
    settings = recipe(**{"schedule.epochs": 1, "schedule.warmup_epochs": 0, "distillation.teacher": "tiny"})
    rank = 0

    def made(accelerator: object) -> object:
        nonlocal rank
        rank = accelerator.process_index
        # A batch norm sees its process's part alone, and dropout draws apart: both differ by design.
        built = parts(settings, Share(rank, accelerator.num_processes, layout), teacher=True)
        built.model.norm, built.model.drop = nn.Identity(), nn.Identity()
        return built

    fit(settings, made, out=out)
    if rank == 0:
        (out / "gradients.json").write_text(json.dumps(gradients))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
