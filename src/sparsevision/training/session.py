"""Everything that a step of training touches, and what is done with it around the loop."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsevision.errors import CheckpointError, ConfigError, RunStoppedError
from sparsevision.kernels.dispatch import with_channels_last
from sparsevision.stopping import StopRequest
from sparsevision.training import state
from sparsevision.training.distillation import Learner, Teacher
from sparsevision.training.meters import FiniteWatch, Meter
from sparsevision.training.optimisation import Schedule
from sparsevision.training.recipe import Recipe
from sparsevision.training.run_folder import RunFolder, scalars
from sparsevision.training.trackers import Trackers
from sparsevision.types import Batch

if TYPE_CHECKING:
    from accelerate import Accelerator
    from timm.utils.model_ema import ModelEmaV3

    from sparsevision.tasks import Task
    from sparsevision.training.display import Display


@dataclass
class Progress:
    """Progress of a run: the epoch, the batches of it that are done, optimiser steps in all, the best score."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_score: float | None = None
    best_loss: float | None = None
    best_weights: str | None = None
    best_epoch: int | None = None
    seconds: float = 0.0
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Session:
    """A run in memory. `model` is the bare network inside `learner`, which is what accelerate prepared."""

    recipe: Recipe
    task: Task
    accelerator: Accelerator
    model: Any
    learner: nn.Module
    optimiser: Optimizer
    schedule: Schedule
    ema: ModelEmaV3 | None
    teacher: Teacher | None
    folder: RunFolder
    fingerprint: str
    display: Display
    trackers: Trackers
    steps_per_epoch: int
    progress: Progress = field(default_factory=Progress)
    meter: Meter = field(default_factory=Meter)
    finite: FiniteWatch = field(default_factory=FiniteWatch)
    stop: StopRequest = field(default_factory=StopRequest)
    started: float = field(default_factory=time.monotonic)
    last_lr: float = 0.0
    named_one: bool = False

    # ------------------------------------------------------------------------------------------ parts of a step

    def placed(self, batch: Batch) -> Batch:
        """Moves a batch to the device; stands a blank image in for images that could all not be read."""
        self.note_skipped(batch)
        if not len(batch):
            blank = self.task.blank(self.recipe.preprocessing)
            batch = replace(batch, images=blank.images, targets=blank.targets, sizes=None)
        batch = batch.to(self.accelerator.device, non_blocking=True)
        if self.recipe.run.channels_last:
            batch.images = with_channels_last(batch.images)
        return batch

    def note_skipped(self, batch: Batch) -> None:
        """Remembers what in a batch could not be read, to be counted and named at the end.

        The first one beside others that could be read is named at once, by the process that speaks: a wrong path is to
        be seen before hours of training. Where nothing can be read, the error is the one sentence.
        """
        if batch.skipped and len(batch) and not self.named_one:
            self.named_one = True
            self.display.say(f"skipped {batch.skipped[0].name}: {batch.skipped[0].reason}")
        self.progress.skipped.update({skipped.name: skipped.reason for skipped in batch.skipped})

    def total_count(self, batches: Sequence[Batch]) -> Tensor:
        """Returns the numbers that the parts of one step's loss are averaged over, on all processes."""
        count = torch.stack([self.task.count(batch) for batch in batches]).sum(dim=0)
        return self._sum(count.to(self.accelerator.device))

    def sum_over_processes(self, number: int) -> int:
        """Adds up what every process counted."""
        if self.accelerator.num_processes == 1:
            return number  # a GPU is not waited for
        return int(self._sum(torch.tensor(number, device=self.accelerator.device)))

    def tell_gradient_scale(self) -> None:
        """Sets the present factor of the joint batch's loss in models that clamp gradients inside."""
        if hasattr(self.model, "set_gradient_scale"):
            scaler = self.accelerator.scaler
            scale = 1.0 if scaler is None else float(scaler.get_scale())
            batch = self.recipe.data.batch
            share = (self.recipe.optimiser.clamp_for_batch or batch) / batch
            self.model.set_gradient_scale(scale * share * self.accelerator.num_processes)

    def clip_gradients(self) -> None:
        """Clips the gradients' global norm where the recipe says so."""
        if (clip := self.recipe.optimiser.clip) is not None:
            self.accelerator.clip_grad_norm_(self.learner.parameters(), clip)

    def average_weights(self) -> None:
        """Moves the averaged weights towards the current ones."""
        if self.ema is not None:
            self.ema.update(self.model, self.progress.step + 1 if self.recipe.ema.warmup else None)

    def finish_step(self, batches: int, lr: float) -> None:
        """Counts a step; logs and writes the state where it is time."""
        self.progress.step += 1
        self.progress.batch += batches
        self.meter.steps += 1
        self.last_lr = lr
        self.display.step()
        every = self.recipe.run.checkpoint_every
        if every and self.progress.step % every == 0:
            self.write_state()
        elif self.progress.step % self.recipe.run.log_every == 0:
            self.log_training()
        self.obey_stop()

    def obey_stop(self) -> None:
        """Writes the state and raises RunStoppedError if a signal to stop has come, to any of the processes."""
        if not self.sum_over_processes(int(self.stop.signal is not None)):
            return
        number = self.stop.signal or signal.SIGTERM  # another process was told
        self.write_state()
        raise RunStoppedError(
            f"Stopped by {number.name} after step {self.progress.step}, whose state is written: go on "
            f"with `sparsevision train --resume --out {shlex.quote(str(self.folder.path))}`.",
            number,
        )

    @property
    def epochs(self) -> int:
        """Epochs of the whole run, the last of which may be cut short."""
        return self.recipe.schedule.whole_epochs(self.steps_per_epoch)

    def steps_done(self) -> bool:
        """Returns whether the run has made all of its steps."""
        return self.progress.step >= self.recipe.schedule.steps(self.steps_per_epoch)

    def out_of_time(self) -> bool:
        """Returns whether the recipe's time for one start is used up; the first process's clock decides for all."""
        budget = self.recipe.run.time_budget_minutes
        if budget is None:
            return False
        over = torch.tensor(float(time.monotonic() - self.started > 60 * budget), device=self.accelerator.device)
        return bool(self._sum(over if self.accelerator.is_main_process else torch.zeros_like(over)) > 0)

    def seconds(self) -> float:
        """The time that the run has taken, over all its starts."""
        return self.progress.seconds + time.monotonic() - self.started

    # -------------------------------------------------------------------------------------------- what is kept

    def log_training(self) -> None:
        """Writes a line with the means since the last one."""
        if not self.meter.steps:
            return
        self.finite.settle()
        elapsed = max(time.monotonic() - self.meter.started, 1e-9)
        rate = self.meter.images * self.accelerator.num_processes / elapsed
        means = self.meter.means(self._sum)
        values = {"epoch": self.progress.epoch + 1, "lr": self.last_lr, **means}
        timing = {"images_per_second": round(rate, 1), "seconds": round(self.seconds(), 1)}
        self.log("train", values | timing)
        self.display.losses(means)
        self.meter.reset()

    def log(self, kind: str, values: Mapping[str, Any]) -> None:
        """Writes a line of metrics of the present step, and gives its numbers to the trackers."""
        self.folder.log(kind, self.progress.step, values)
        self.trackers.log(scalars(kind, values), self.progress.step)

    def write_state(self) -> None:
        """Writes everything that resuming needs, after the log it belongs to."""
        from accelerate.utils import gather_object

        self.log_training()
        generators = gather_object([state.random_state()])
        for names in gather_object([self.progress.skipped]):
            self.progress.skipped.update(names)
        if not self.accelerator.is_main_process:
            return
        tensors = state.module_tensors("learner", self._bare())
        if self.ema is not None:
            tensors |= state.module_tensors("ema", self.ema.module)
        slots, values = state.optimiser_tensors(self.optimiser)
        tensors |= slots
        for rank, generator in enumerate(generators):
            tensors |= {f"random.{rank}.{name}": tensor for name, tensor in generator["tensors"].items()}
        scaler = self.accelerator.scaler
        saved = {
            "format": 1, "data": self.fingerprint, "progress": asdict(replace(self.progress, seconds=self.seconds())),
            "metrics": self.folder.position(), "scaler": None if scaler is None else scaler.state_dict(),
            "optimiser": values, "random": [generator["values"] for generator in generators],
        }  # fmt: skip
        self.folder.write_skipped(self.progress.skipped)
        state.write_state(self.folder.last, tensors, saved)

    def restore(self) -> int:
        """Restores the last state, if one was written; returns the length that the metrics file had then."""
        found = state.read_state(self.folder.last)
        if found is None:
            return 0
        tensors, saved = found
        try:
            self._check_belongs(saved)
            self._restore(tensors, saved)
            counts = (self.progress.epoch, self.progress.batch, self.progress.step, saved["metrics"])
            if not all(isinstance(count, int) and count >= 0 for count in counts):
                raise ValueError(f"epoch, batch, step and metrics are {counts}")
            return int(saved["metrics"])
        except torch.OutOfMemoryError:
            raise
        except (KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
            raise CheckpointError(
                f"The state in {str(self.folder.last)!r} is incomplete ({error}): start anew in another --out."
            ) from None

    def _check_belongs(self, saved: dict[str, Any]) -> None:
        processes = len(saved["random"])
        if processes != self.accelerator.num_processes:
            raise ConfigError(
                f"The run in {str(self.folder.path)!r} had {processes} processes, now there are "
                f"{self.accelerator.num_processes}: resume with as many as it was started with."
            )
        if saved["format"] != 1:
            raise CheckpointError(
                f"The state in {str(self.folder.last)!r} has format {saved['format']!r}, and this sparsevision reads "
                f"format 1: update the package, or start anew in another --out."
            )
        if saved["data"] != self.fingerprint:
            raise ConfigError(
                f"The data set is not the one that {str(self.folder.path)!r} was trained on (files were added, removed "
                f"or changed): start anew in another --out."
            )

    def _restore(self, tensors: dict[str, Tensor], saved: dict[str, Any]) -> None:
        state.restore_module("learner", self._bare(), tensors)
        if self.ema is not None:
            state.restore_module("ema", self.ema.module, tensors)
        state.restore_optimiser(self.optimiser, tensors, saved["optimiser"])
        if self.accelerator.scaler is not None and saved["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(saved["scaler"])
        rank = self.accelerator.process_index
        state.restore_random_state(state.part(f"random.{rank}", tensors), saved["random"][rank])
        self.progress = Progress(**saved["progress"])

    def _bare(self) -> Learner:
        return self.accelerator.unwrap_model(self.learner)

    def _sum(self, value: Tensor) -> Tensor:
        return self.accelerator.reduce(value, reduction="sum")
