"""From a recipe to a finished run folder: a session is put together and taken through its epochs."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from sparsevision.data.preprocessing import least_decoded_side
from sparsevision.data.subset import divided
from sparsevision.errors import ConfigError, DataError, MissingExtraError, OutOfMemoryError
from sparsevision.evaluation.evaluate import evaluate_batches, nothing_read
from sparsevision.factory import identity_of
from sparsevision.tasks import Measure, Report, Task
from sparsevision.training.display import Display
from sparsevision.training.distillation import Learner, Teacher, pooled_width
from sparsevision.training.loaders import ImageLoaders, Loaders
from sparsevision.training.loop import train_one_epoch
from sparsevision.training.optimisation import Schedule, make_optimiser, parameter_groups
from sparsevision.training.recipe import Recipe
from sparsevision.training.run_folder import RunFolder
from sparsevision.training.session import Session
from sparsevision.training.trackers import Trackers, available_trackers
from sparsevision.types import Batch
from sparsevision.wording import count_of

if TYPE_CHECKING:
    from accelerate import Accelerator

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """The end of a run; the best_ fields are about the weights in best/, None if none were scored."""

    out: Path
    measure: Measure
    finished: bool
    steps: int
    epochs: int
    seconds: float
    best_score: float | None
    best_weights: str | None
    best_epoch: int | None
    skipped: dict[str, str]

    def __str__(self) -> str:
        end = "finished" if self.finished else "stopped"
        lines = [f"{end} after {count_of(self.steps, 'step')}, {self.seconds / 60:.1f} minutes: {self.out}"]
        if self.best_score is not None:
            score = f"{self.measure.label} {self.measure.text(self.best_score)}"
            whose = (
                f"{self.best_weights} weights, epoch {self.best_epoch}" if self.best_epoch else "the starting weights"
            )
            lines.append(f"best: {score} ({whose}), in {self.out / 'best'}")
            perfect = self.measure.percent and self.best_score >= 1
            if self.best_epoch == 0 and self.steps:
                lines.append("no epoch was better than the starting weights: train for longer, or try a lower --lr")
            elif self.finished and self.best_epoch == 1 and self.epochs > 2 and not perfect:
                lines.append(f"no later epoch was better: see {self.out / 'curves.png'}, and try a lower --lr")
        if self.skipped:
            lines.append(f"samples that could not be read and were omitted: {len(self.skipped)}")
        return "\n".join(lines)


@dataclass
class Parts:
    """The parts of a session that do not follow from the recipe alone."""

    model: nn.Module
    task: Task
    loaders: Loaders
    teacher: Teacher | None = None


def train(recipe: Recipe, *, data: str | None = None, out: str | Path, resume: bool = False) -> RunSummary:
    """Trains by a recipe and leaves a run folder at `out`; on several processes when started by torchrun.

    `data` replaces the recipe's data set. `resume` goes on from the last state in `out`, with numbers equal to an
    unbroken run's, and starts anew where there is none. Raises SparseVisionError subclasses of one sentence.
    """
    if data is not None:
        recipe = recipe.with_values({"data.spec": str(data)})
    if recipe.data.spec is None:
        raise ConfigError("No data set was named: give --data, or data.spec in the recipe.")
    for text in [str(out), *_texts(recipe.model_dump())]:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ConfigError(
                f"The path {text!r} is not UTF-8, as what a run writes is: rename it, or give a link of another name."
            ) from None
    return fit(recipe, lambda accelerator: make_parts(recipe, accelerator), out=out, resume=resume)


def _texts(values: Any) -> Iterator[str]:
    """Yields every text in nested settings."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, dict | list | tuple):
        for value in values.values() if isinstance(values, dict) else values:
            yield from _texts(value)


def fit(recipe: Recipe, parts: Callable[[Accelerator], Parts], *, out: str | Path, resume: bool = False) -> RunSummary:
    """Trains what `parts` makes (after everything is seeded) by a recipe; see `train`."""
    accelerator = make_accelerator(recipe, out)
    folder = RunFolder(out, writes=accelerator.is_main_process)
    with Display(quiet=not accelerator.is_main_process) as display, one_sentence_for_memory(recipe):
        trackers = Trackers(accelerator, display.say)
        try:
            folder.open(recipe, resume=resume)
            accelerator.wait_for_everyone()
            seed_everything(recipe.run.seed)
            made = parts(accelerator)
            run = make_session(recipe, made, accelerator, folder, display, trackers)
            seed_everything(recipe.run.seed + accelerator.process_index)
            position = run.restore() if resume else 0
            if resume:
                folder.check_files(made.loaders.files)
            for sentence in [_resumed(run)] if resume else made.loaders.sentences:
                display.say(sentence)
            origin = {"classes": len(made.task.classes), "fingerprint": made.loaders.fingerprint, **made.loaders.origin}
            folder.write_data(origin, made.loaders.scored_names, made.loaders.files)
            folder.start_logging(position, run.progress.step)
            trackers.start(recipe, folder.path.name)
            with run.stop:
                finished = run_epochs(run, made.loaders)
        finally:
            trackers.close()
            folder.close()
        accelerator.end_training()
        return _summary(run, finished)


def run_epochs(run: Session, loaders: Loaders) -> bool:
    """Runs the steps of a session that are left; returns whether it came to the last one."""
    epochs, every = run.epochs, run.recipe.run.evaluate_every
    progress = run.progress
    if not progress.step and progress.best_score is None and _knows_all(run.model, run.recipe):
        score_weights(run, loaders, before=True)
    left = run.recipe.schedule.steps(run.steps_per_epoch) - progress.step
    run.display.expect(left, run.recipe.run.time_budget_minutes)
    while progress.epoch < epochs:
        done = progress.batch // run.recipe.run.accumulation
        run.display.epoch(progress.epoch + 1, epochs, loaders.batches // run.recipe.run.accumulation, done)
        whole = progress.batch == 0
        # A state that was written at the last of a number of iterations may lie within an epoch.
        batches = () if run.steps_done() else loaders.train(progress.epoch, progress.batch)
        learned = train_one_epoch(run, batches)
        if whole and not run.sum_over_processes(learned):
            raise nothing_read("train on", list(progress.skipped.values()), run.task.things)
        stopped = run.out_of_time()
        last = progress.epoch + 1 == epochs or run.steps_done()
        if stopped or (progress.epoch + 1) % every == 0 or last:
            score_weights(run, loaders)
        if not stopped:
            progress.epoch, progress.batch = epochs if last else progress.epoch + 1, 0
        run.write_state()
        if stopped:
            run.display.say(
                f"The time budget is used up after {count_of(progress.step, 'step')}; --resume goes on from here."
            )
            return False
    return True


def _knows_all(model: nn.Module, recipe: Recipe) -> bool:
    """Whether the starting weights answer for all classes, so that what training makes of them may be worse."""
    identity = identity_of(model)
    report = None if identity is None or recipe.model.backbone is not None else identity.report
    if report is None or report.fresh or report.missing:
        return False
    return report.classes is None or report.classes[0] == report.classes[1]


def score_weights(run: Session, loaders: Loaders, *, before: bool = False) -> None:
    """Scores the raw and the averaged weights, logs both, and keeps the better ones if they are the best so far.

    With `before`, those that training starts from are scored, as epoch 0.
    """
    run.log_training()
    run.finite.settle()
    epoch = 0 if before else run.progress.epoch + 1
    candidates = {"raw": run.model} | ({"ema": run.ema.module} if run.ema is not None and not before else {})
    reports: dict[str, Report] = {}
    for weights, model in candidates.items():
        with run.accelerator.autocast():
            reports[weights] = evaluate_batches(model, run.task, _noting(run, loaders.scored()))
    run.obey_stop()
    for weights, report in reports.items():
        run.log("val", {"epoch": epoch, "weights": weights, **report.scalars()})
        run.display.say(f"{f'epoch {epoch}, {weights}' if epoch else 'starting weights'}: {report.headline()}")
    scores = {weights: run.task.score(report) for weights, report in reports.items()}
    losses = {weights: report.scalars().get("loss") for weights, report in reports.items()}
    # Few images have many ties, and of equal scores the lower loss is the surer one. The averaged weights come last.
    best = max(reversed(scores), key=lambda weights: _order(run, scores[weights], losses[weights]))
    progress = run.progress
    if progress.best_score is None or _order(run, scores[best], losses[best]) > _order(
        run, progress.best_score, progress.best_loss
    ):
        progress.best_score, progress.best_loss, progress.best_weights = scores[best], losses[best], best
        progress.best_epoch = epoch
        run.folder.write_best(lambda folder: save_weights(run, candidates[best], reports[best], folder))
    run.folder.draw(run.task.measures)
    run.meter.reset()


def _order(run: Session, score: float | None, loss: float | None) -> tuple[float, float]:
    """Returns what is larger of better weights; a task without a loss on val has None."""
    return run.task.rank(score), -math.inf if loss is None else -loss


def _noting(run: Session, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Passes batches on and remembers what in them could not be read."""
    for batch in batches:
        run.note_skipped(batch)
        yield batch
        if run.accelerator.num_processes == 1:  # several have different numbers of batches: after the last one
            run.obey_stop()


def save_weights(run: Session, model: nn.Module, report: Report, folder: Path) -> None:
    """Writes a checkpoint folder, with the report that the weights earned beside it."""
    import json

    from sparsevision.checkpoints import save_checkpoint

    recipe = run.recipe
    save_checkpoint(
        folder, model, name=recipe.model.name, preprocessing=recipe.preprocessing, labels=run.task.classes,
        class_metadata=report.class_metadata(),
    )  # fmt: skip
    (folder / "report.json").write_text(json.dumps(report.to_dict()) + "\n", encoding="utf-8")


# --------------------------------------------------------------------------------------------- putting together


def make_accelerator(recipe: Recipe, out: str | Path) -> Accelerator:
    """Joins the processes of the run, on the device that there is, in the recipe's precision."""
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ImportError:
        raise MissingExtraError("accelerate", "Training") from None
    # accelerate keeps the first run's precision and device for the whole process otherwise.
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    wanted = recipe.run.device
    if wanted not in ("auto", "cpu") and (found is None or found.type != wanted):
        there = "none" if found is None else found.type
        raise ConfigError(f"run.device={wanted} needs such a device, and PyTorch finds {there} here: use auto or cpu.")
    on_cpu = wanted == "cpu" or found is None
    if recipe.run.precision == "fp16" and (on_cpu or not torch.cuda.is_available()):
        raise ConfigError("run.precision=fp16 needs a CUDA GPU, and this run has none: use bf16 or fp32.")
    return Accelerator(
        mixed_precision=PRECISIONS[recipe.run.precision],
        # Told so, accelerate joins processes on CPUs too; otherwise each would train alone.
        cpu=on_cpu,
        log_with=available_trackers(recipe) or None,
        project_dir=out,
    )


def make_parts(recipe: Recipe, accelerator: Accelerator) -> Parts:
    """Opens the data, and makes task, model and teacher as the recipe has them."""
    from sparsevision.training.build import make_model, make_teacher

    data, kind = recipe.data, recipe.task_class
    assert data.spec is not None
    preprocessing = recipe.preprocessing
    train_set = kind.open(data.spec, "train", seed=data.split_seed, side=data.decode_side, cache=data.cache_mebibytes)
    metadata = kind.metadata_of(train_set)
    if data.held_out:
        train_set, val_set = divided(train_set, data.held_out, data.split_seed)
    else:
        # Decoded as they are wherever the weights are used, whatever training is content with.
        side, cache = least_decoded_side(preprocessing), data.cache_mebibytes
        try:
            val_set = kind.open(data.spec, "val", seed=data.split_seed, side=side, cache=cache)
        except DataError:
            divided_on_disk = {"train", "val"} & {*kind.layout(data.spec).splits(data.spec)}
            if divided_on_disk or len(set(train_set.labels)) < len(train_set):
                raise
            raise DataError(
                f"{data.spec!r} has one image of each class, so that none can be held out for scoring: give at least "
                "one class a second image, or divide the images into folders train and val."
            ) from None
    kind.check_sets(data.spec, train_set, val_set)
    kind.check_preprocessing(preprocessing)
    classes = train_set.classes
    task = kind(classes, metadata, settings=recipe.settings, labels=train_set.labels)
    loaders = ImageLoaders(
        recipe=recipe, train_set=train_set, val_set=val_set, task=task, rank=accelerator.process_index,
        world=accelerator.num_processes,
    )  # fmt: skip
    model = make_model(recipe, classes)
    asked = recipe.model.config
    fitted = kind.fitted_config(train_set, val_set, getattr(model, "config", None))
    if fitted := {name: value for name, value in fitted.items() if name not in asked}:
        model = make_model(recipe.with_values({"model.config": {**asked, **fitted}}), classes)
        values = ", ".join(f"{name} = {value}" for name, value in fitted.items())
        loaders.sentences.append(f"Set by the data: model.config.{values}.")
    identity = identity_of(model)
    if _knows_all(model, recipe):
        loaders.sentences.append("The starting weights answer for all classes: they are scored first.")
    elif identity is not None and identity.report is not None and identity.report.classes is not None:
        known, of = identity.report.classes
        rest = "" if known == of else "; the other classes start fresh" if known else ": all start fresh"
        loaders.sentences.append(f"Of {of} classes {known} are known to the starting weights by name{rest}.")
    loaders.sentences += task.remarks(train_set, val_set, preprocessing, model)
    return Parts(model, task, loaders, make_teacher(recipe, classes))


def make_session(
    recipe: Recipe, parts: Parts, accelerator: Accelerator, folder: RunFolder, display: Display, trackers: Trackers
) -> Session:
    """Puts model, teacher, optimiser, schedule and average together, on the device."""
    model: Any = parts.model.to(accelerator.device)
    teacher = parts.teacher
    if recipe.run.sync_batch_norm and accelerator.num_processes > 1:
        if accelerator.device.type == "cpu":
            raise ConfigError("run.sync_batch_norm over several processes needs GPUs: set it to false.")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if recipe.run.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if recipe.run.gradient_checkpointing:
        checkpoint_activations(model)
    feature_map = None
    if teacher is not None:
        teacher.model.to(accelerator.device)
        if teacher.wants_features:
            own = recipe.preprocessing.size[0]
            widths = pooled_width(model, own), pooled_width(teacher.model, recipe.distillation.size or own)
            feature_map = nn.Linear(*widths, device=accelerator.device)
    ema = ModelEmaV3(model, recipe.ema.decay, use_warmup=recipe.ema.warmup) if recipe.ema.decay else None
    learner = Learner(model, feature_map, freeze_batch_norm=recipe.model.freeze_batch_norm)
    groups = parameter_groups(model, recipe.optimiser)
    if feature_map is not None:
        decay = recipe.optimiser.weight_decay
        groups.append({"params": list(feature_map.parameters()), "weight_decay": decay, "lr_scale": 1.0})
    optimiser = make_optimiser(groups, recipe.optimiser, recipe.peak_lr)
    steps_per_epoch = max(parts.loaders.batches // recipe.run.accumulation, 1)
    schedule = Schedule(optimiser, recipe.schedule, recipe.peak_lr, steps_per_epoch)
    if recipe.run.compile:
        learner.compile()
    prepared, optimiser = accelerator.prepare(learner, optimiser)
    return Session(
        recipe=recipe, task=parts.task, accelerator=accelerator, model=model, learner=prepared, optimiser=optimiser,
        schedule=schedule, ema=ema, teacher=teacher, folder=folder, fingerprint=parts.loaders.fingerprint,
        display=display, trackers=trackers, steps_per_epoch=steps_per_epoch,
    )  # fmt: skip


def checkpoint_activations(model: Any) -> None:
    """Makes a model recompute activations in the backward pass; raises ConfigError where it cannot."""
    try:
        model.set_grad_checkpointing(True)
    except (AttributeError, AssertionError):
        raise ConfigError(
            f"{type(model).__name__} cannot recompute its activations: set run.gradient_checkpointing=false."
        ) from None


def seed_everything(seed: int) -> None:
    """Seeds every generator that a step may draw from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def one_sentence_for_memory(recipe: Recipe) -> Iterator[None]:
    """Raises OutOfMemoryError, naming the settings to lower, when memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        words = str(error).lower()
        said = "can't allocate memory" in words or "out of memory" in words  # a CPU's allocator; Apple's GPU
        if not said and not isinstance(error, MemoryError | torch.OutOfMemoryError):
            raise
        raise OutOfMemoryError(
            f"Memory ran out with data.batch={recipe.data.batch} images in run.accumulation={recipe.run.accumulation} "
            f"parts: set run.gradient_checkpointing=true (a run can be resumed with it), or start anew with more "
            f"run.accumulation, or with a lower data.batch or smaller images ([transforms])."
        ) from None


def _resumed(run: Session) -> str:
    """Returns a sentence about where a resumed run goes on."""
    progress = run.progress
    if not progress.step:
        return f"{run.folder.path} has no state to resume from: starting anew."
    where = f"in epoch {progress.epoch + 1}" if progress.batch else f"after epoch {progress.epoch}"
    return f"Resuming {run.folder.path} after step {progress.step}, {where} of {run.epochs}."


def _summary(run: Session, finished: bool) -> RunSummary:
    progress = run.progress
    return RunSummary(
        out=run.folder.path, measure=run.task.measures[0], finished=finished, steps=progress.step,
        epochs=run.epochs, seconds=run.seconds(), best_score=progress.best_score, best_weights=progress.best_weights,
        best_epoch=progress.best_epoch, skipped=dict(progress.skipped),
    )  # fmt: skip
