"""Trains in child processes that signal themselves at given events; run by test_killed.py, not imported by it.

Events are what a run does to the disk (before and after each file operation, and half-way through the state) and its
optimiser steps, so that which moment a number means does not depend on the machine's speed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Imported before the children are forked, so that each costs a second and not ten.
import accelerate  # noqa: F401
import torch
import torchmetrics.classification  # noqa: F401
from stand_ins import parts, recipe
from torch.utils.tensorboard import SummaryWriter  # noqa: F401

from sparsevision.errors import RunStoppedError
from sparsevision.training import fit, loop, state
from sparsevision.training.session import Session

MOMENTS = 10


class Fuse:
    """Counts events and sends the process a signal at number `at`."""

    def __init__(self, at: int | None, number: int) -> None:
        self.at, self.number, self.count = at, number, 0

    def event(self) -> bool:
        self.count += 1
        return self.count == self.at

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            if self.event():
                self.blow()
            result = function(*arguments, **options)
            if self.event():
                self.blow()
            return result

        return wrapped

    def half_written(self, save: Callable[..., Any]) -> Callable[..., Any]:
        def saved(tensors: Any, path: Path, **options: Any) -> None:
            save(tensors, path, **options)
            if self.event():
                if self.number == signal.SIGKILL:
                    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
                self.blow()

        return saved

    def blow(self) -> None:
        os.kill(os.getpid(), self.number)


def train(out: Path, at: int | None, number: int) -> int:
    fuse = Fuse(at, number)
    os.replace, os.rename, os.fsync = fuse.wrap(os.replace), fuse.wrap(os.rename), fuse.wrap(os.fsync)
    state.save_file = fuse.half_written(state.save_file)
    Session.finish_step = fuse.wrap(Session.finish_step)
    loop.step_terms = fuse.wrap(loop.step_terms)
    settings = recipe(**{"run.checkpoint_every": 4})
    fit(settings, lambda _: parts(settings), out=out, resume=True)
    return fuse.count


def in_child(out: Path, at: int | None, number: int = signal.SIGKILL) -> int:
    """Runs one training; returns the events it counted, or minus the signal that ended it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writer, str(train(out, at, number)).encode())
            status = 0
        except RunStoppedError as stopped:
            status = stopped.status
        finally:
            os._exit(status)
    os.close(writer)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    code = os.waitstatus_to_exitcode(status)
    return int(text) if code == 0 else code if code < 0 else 128 - code


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    events = in_child(folder / "unbroken", None)
    moments = sorted(random.Random(0).sample(range(1, events + 1), MOMENTS))
    outcome = []
    for number in (signal.SIGKILL, signal.SIGTERM):
        for at in moments:
            out = folder / f"{number:d}-{at}"
            ended = in_child(out, at, number)
            written = state.read_state(out / "last")
            step = 0 if written is None else written[1]["progress"]["step"]
            outcome.append((out.name, ended, step, in_child(out, None)))
    print(json.dumps({"events": events, "runs": outcome}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
