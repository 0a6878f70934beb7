"""The loop, on one screen: what happens in an epoch of training, and in an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sparsevision.types import Batch

if TYPE_CHECKING:
    from sparsevision.training.session import Session


def train_one_epoch(run: Session, batches: Iterable[Batch]) -> int:
    """Trains on batches, `run.recipe.run.accumulation` of them per optimiser step, until they or the time are used up.

    The loss of a step is summed over its images on all processes and divided by their number, so that neither
    accumulation nor the number of processes changes what is learned. Returns how many images this process learned
    from.
    """
    run.learner.train()
    learned = 0
    for step_batches in in_steps(batches, run.recipe.run.accumulation):
        lr = run.schedule.set(run.progress.step)
        count = run.total_count(step_batches)
        learned += sum(map(len, step_batches))
        for number, batch in enumerate(step_batches, start=1):
            batch = run.placed(batch)
            waits = run.accelerator.no_sync(run.learner) if number < len(step_batches) else nullcontext()
            with waits:
                terms = step_terms(run, batch, count)
                loss = torch.stack(list(terms.values())).sum()
                run.finite.watch(loss, batch.names)
                # Gradients are averaged over processes afterwards; the loss is divided by the count of them all.
                run.accelerator.backward(loss * run.accelerator.num_processes)
            run.meter.add(loss, terms, batch)
        run.clip_gradients()
        run.optimiser.step()
        run.optimiser.zero_grad()
        run.average_weights()
        run.finish_step(len(step_batches), lr)
        if run.out_of_time() or run.steps_done():
            break
    return learned


def step_terms(run: Session, batch: Batch, count: Tensor) -> dict[str, Tensor]:
    """Runs student and teacher on a batch; returns the terms whose sum is the loss."""
    run.tell_gradient_scale()
    answer = run.learner(batch.images, batch.sizes, batch.targets)
    weight = run.recipe.distillation.labels if run.teacher else 1.0
    terms = {name: weight * term for name, term in run.task.loss(answer[0], batch, count).items()}
    if run.teacher:
        terms |= run.teacher.loss(answer, run.teacher(batch.images), count.squeeze().clamp(min=1))
    # A batch whose images could all not be read still takes part, at no weight: the other processes wait for it.
    return terms if len(batch) else {name: 0.0 * term for name, term in terms.items()}


def in_steps(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Groups batches into those of one optimiser step; a last incomplete group is left out."""
    iterator = iter(batches)
    while len(group := list(islice(iterator, size))) == size:
        yield group
