"""Trains a segmenter in a process of its own, or in several through torchrun; started by test_segmentation.py."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from test_segmentation import recipe

from sparsevision.training import train
from sparsevision.training.session import Session


def main(folder: str, out: Path, kill_at: int) -> None:
    finish, steps = Session.finish_step, 0

    def counting(run: Session, *given: object) -> object:
        nonlocal steps
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return finish(run, *given)

    Session.finish_step = counting  # type: ignore[method-assign]
    # Without flips and scales, of which each process would draw its own.
    still = (
        "transforms.flip=0",
        "transforms.scale=[1.0, 1.0]",
        "transforms.crop=[64, 86]",
        "transforms.color_jitter=0",
    )
    train(recipe("run.checkpoint_every=1", *still), data=folder, out=out, resume=(out / "last").exists())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
