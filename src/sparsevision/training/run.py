"""From a recipe to a finished run folder: puts a session together and takes it through its epochs."""

from __future__ import annotations

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

from sparsevision.errors import ConfigError, DataError, MissingExtraError, OutOfMemoryError
from sparsevision.tasks import ClassificationTask, Report, Task
from sparsevision.training.display import Display
from sparsevision.training.distillation import Learner, Teacher, pooled_width
from sparsevision.training.feed import Feed, PictureFeed, class_weights, evaluation_preprocessing
from sparsevision.training.loop import evaluate, nothing_read, train_one_epoch
from sparsevision.training.optimisation import Schedule, make_optimiser, parameter_groups
from sparsevision.training.recipe import Recipe
from sparsevision.training.run_folder import RunFolder
from sparsevision.training.selection import divided
from sparsevision.training.session import Session
from sparsevision.types import Batch

if TYPE_CHECKING:
    from accelerate import Accelerator

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


@dataclass(frozen=True)
class RunSummary:
    """What came out of a run; the best_ fields tell of the weights in best/, None if none were scored."""

    out: Path
    score_name: str
    finished: bool
    steps: int
    seconds: float
    best_score: float | None
    best_weights: str | None
    best_epoch: int | None
    skipped: dict[str, str]

    def __str__(self) -> str:
        end = "finished" if self.finished else "stopped"
        lines = [f"{end} after {self.steps} steps, {self.seconds / 60:.1f} minutes: {self.out}"]
        if self.best_score is not None:
            scored = f"{self.score_name} {self.best_score:.2%} ({self.best_weights} weights, epoch {self.best_epoch})"
            lines.append(f"best: {scored}, in {self.out / 'best'}")
        if self.skipped:
            lines.append(f"{len(self.skipped)} pictures could not be read and were left out")
        return "\n".join(lines)


@dataclass
class Parts:
    """What a session is made of, where it does not follow from the recipe alone."""

    model: nn.Module
    task: Task
    feed: Feed
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
    return fit(recipe, lambda accelerator: make_parts(recipe, accelerator), out=out, resume=resume)


def fit(recipe: Recipe, parts: Callable[[Accelerator], Parts], *, out: str | Path, resume: bool = False) -> RunSummary:
    """Trains what `parts` makes (after everything is seeded) by a recipe; see `train`."""
    accelerator = make_accelerator(recipe)
    folder = RunFolder(out, writes=accelerator.is_main_process)
    with Display(quiet=not accelerator.is_main_process) as display, one_sentence_for_memory(recipe):
        folder.open(recipe, resume=resume)
        accelerator.wait_for_everyone()
        seed_everything(recipe.run.seed)
        made = parts(accelerator)
        run = make_session(recipe, made, accelerator, folder, display)
        seed_everything(recipe.run.seed + accelerator.process_index)
        position = run.restore() if resume else 0
        facts = {"classes": len(made.task.classes), "fingerprint": made.feed.fingerprint, **made.feed.origin}
        folder.write_data(facts, made.feed.scored_names)
        folder.start_logging(position, run.progress.step)
        try:
            finished = run_epochs(run, made.feed)
        finally:
            folder.close()
        accelerator.end_training()
        return _summary(run, finished)


def run_epochs(run: Session, feed: Feed) -> bool:
    """Takes a session through the epochs that are left; says whether it came to the last one's end."""
    epochs, every = run.recipe.schedule.epochs, run.recipe.run.evaluate_every
    progress = run.progress
    while progress.epoch < epochs:
        done = progress.batch // run.recipe.run.accumulation
        run.display.epoch(progress.epoch + 1, epochs, feed.batches // run.recipe.run.accumulation, done)
        whole = progress.batch == 0
        learned = train_one_epoch(run, feed.train(progress.epoch, progress.batch))
        if whole and not run.sum_over_processes(learned):
            raise nothing_read("train on", list(progress.skipped.values()))
        stopped = run.out_of_time()
        if stopped or (progress.epoch + 1) % every == 0 or progress.epoch + 1 == epochs:
            score_weights(run, feed)
        if not stopped:
            progress.epoch, progress.batch = progress.epoch + 1, 0
        run.write_state()
        if stopped:
            run.display.say(f"The time budget is used up after {progress.step} steps; --resume goes on from here.")
            return False
    return True


def score_weights(run: Session, feed: Feed) -> None:
    """Scores the raw and the averaged weights, logs both, and keeps the better ones if they are the best so far."""
    run.log_training()
    run.finite.settle()
    candidates = {"raw": run.model} | ({"ema": run.ema.module} if run.ema is not None else {})
    reports: dict[str, Report] = {}
    for weights, model in candidates.items():
        with run.accelerator.autocast():
            reports[weights] = evaluate(model, run.task, _noting(run, feed.scored()))
        values = {"epoch": run.progress.epoch + 1, "weights": weights, **reports[weights].scalars()}
        run.folder.log("val", run.progress.step, values)
        run.display.say(f"epoch {run.progress.epoch + 1}, {weights}: {reports[weights].headline()}")
    # Of equals the averaged weights: they were listed last.
    best = max(reversed(reports), key=lambda weights: reports[weights].score)
    progress = run.progress
    if progress.best_score is None or reports[best].score > progress.best_score:
        progress.best_score, progress.best_weights = reports[best].score, best
        progress.best_epoch = progress.epoch + 1
        run.folder.write_best(lambda folder: save_weights(run, candidates[best], reports[best], folder))
    run.folder.draw()
    run.meter.reset()


def _noting(run: Session, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Passes batches on and remembers what in them could not be read."""
    for batch in batches:
        run.note_skipped(batch)
        yield batch


def save_weights(run: Session, model: nn.Module, report: Report, folder: Path) -> None:
    """Writes a checkpoint folder, with the report that the weights earned beside it."""
    import json

    from sparsevision.checkpoints import save_checkpoint

    recipe = run.recipe
    preprocessing = evaluation_preprocessing(recipe.data)
    save_checkpoint(
        folder, model, name=recipe.model.name, preprocessing=preprocessing, labels=run.task.classes,
        facts=report.facts(),
    )  # fmt: skip
    (folder / "report.json").write_text(json.dumps(report.to_dict()) + "\n", encoding="utf-8")


# --------------------------------------------------------------------------------------------- putting together


def make_accelerator(recipe: Recipe) -> Accelerator:
    """Joins the processes of the run, on the device that there is, in the recipe's precision."""
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ImportError:
        raise MissingExtraError("accelerate", "train", "Training") from None
    # accelerate keeps the first run's precision for the whole process otherwise.
    AcceleratorState._reset_state()
    if recipe.run.precision == "fp16" and not torch.cuda.is_available():
        raise ConfigError("run.precision=fp16 needs a GPU and there is none: use bf16 or fp32.")
    # Told so, accelerate joins processes on CPUs too; otherwise each would train alone.
    return Accelerator(mixed_precision=PRECISIONS[recipe.run.precision], cpu=not torch.accelerator.is_available())


def make_parts(recipe: Recipe, accelerator: Accelerator) -> Parts:
    """Opens the data, makes model and teacher as the recipe says."""
    if recipe.task == "detection":
        return _detection_parts(recipe, accelerator)
    from sparsevision.data import open_dataset
    from sparsevision.data.preprocessing import least_decoded_side
    from sparsevision.training.starting import make_model, make_teacher

    data = recipe.data
    assert data.spec is not None
    options: dict[str, Any] = {"seed": data.split_seed, "cache": data.cache_mebibytes}
    train_set = open_dataset(data.spec, "train", side=data.decode_side, **options)
    if data.held_out:
        train_set, val_set = divided(train_set, data.held_out, data.split_seed)
    else:
        # Decoded as they are wherever the weights are used, whatever training is content with.
        side = least_decoded_side(evaluation_preprocessing(data))
        val_set = open_dataset(data.spec, "val", side=side, **options)
    if not len(train_set) or not len(val_set):
        raise DataError(
            f"{data.spec!r} has {len(train_set)} pictures to train on and {len(val_set)} to score: add some."
        )
    classes = train_set.classes
    if len(classes) < 2:
        raise DataError(f"{data.spec!r} has the class {classes[0]!r} alone, so there is nothing to learn: add another.")
    weights = class_weights(recipe, train_set.labels, len(classes))
    task = ClassificationTask(classes, label_smoothing=recipe.loss.label_smoothing, class_weights=weights)
    feed = PictureFeed(recipe, train_set, val_set, task, accelerator.process_index, accelerator.num_processes)
    return Parts(make_model(recipe, classes), task, feed, make_teacher(recipe, classes))


def _detection_parts(recipe: Recipe, accelerator: Accelerator) -> Parts:
    from sparsevision.data.opening_objects import open_objects
    from sparsevision.tasks.detection.task import DetectionTask
    from sparsevision.training.starting import make_model

    data = recipe.data
    assert data.spec is not None
    if data.held_out:
        raise ConfigError("data.held_out divides pictures by their one class, which a picture with boxes has not.")
    seed = data.split_seed
    train_set = open_objects(data.spec, "train", seed=seed, side=data.decode_side, cache=data.cache_mebibytes)
    val_set = open_objects(data.spec, "val", seed=seed)
    task = DetectionTask(train_set.classes, train_set.category_ids)
    feed = PictureFeed(recipe, train_set, val_set, task, accelerator.process_index, accelerator.num_processes)
    return Parts(make_model(recipe, train_set.classes), task, feed)


def make_session(
    recipe: Recipe, parts: Parts, accelerator: Accelerator, folder: RunFolder, display: Display
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
            size = recipe.distillation.size or recipe.data.size
            widths = pooled_width(model, recipe.data.size), pooled_width(teacher.model, size)
            feature_map = nn.Linear(*widths, device=accelerator.device)
    ema = ModelEmaV3(model, recipe.ema.decay, use_warmup=recipe.ema.warmup) if recipe.ema.decay else None
    learner = Learner(model, feature_map, freeze_batch_norm=recipe.model.freeze_batch_norm)
    groups = parameter_groups(model, recipe.optimiser)
    if feature_map is not None:
        decay = recipe.optimiser.weight_decay
        groups.append({"params": list(feature_map.parameters()), "weight_decay": decay, "lr_scale": 1.0})
    optimiser = make_optimiser(groups, recipe.optimiser, recipe.peak_lr)
    schedule = Schedule(
        optimiser, recipe.schedule, recipe.peak_lr, max(parts.feed.batches // recipe.run.accumulation, 1)
    )
    if recipe.run.compile:
        learner.compile()
    prepared, optimiser = accelerator.prepare(learner, optimiser)
    return Session(
        recipe,
        parts.task,
        accelerator,
        model,
        prepared,
        optimiser,
        schedule,
        ema,
        teacher,
        folder,
        parts.feed.fingerprint,
        display,
    )


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
    """Says what to lower when memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        words = str(error).lower()
        said = "can't allocate memory" in words or "out of memory" in words  # a CPU's allocator; Apple's GPU
        if not said and not isinstance(error, MemoryError | torch.OutOfMemoryError):
            raise
        raise OutOfMemoryError(
            f"Memory ran out with data.batch={recipe.data.batch} pictures of {recipe.data.size} px in "
            f"run.accumulation={recipe.run.accumulation} parts: set run.gradient_checkpointing=true (a run can be "
            f"resumed with it), or start anew with more run.accumulation, or with a lower data.batch or data.size."
        ) from None


def _summary(run: Session, finished: bool) -> RunSummary:
    progress = run.progress
    return RunSummary(
        run.folder.path,
        run.task.score_name,
        finished,
        progress.step,
        run.seconds(),
        progress.best_score,
        progress.best_weights,
        progress.best_epoch,
        dict(progress.skipped),
    )


__all__: list[Any] = ["Parts", "RunSummary", "fit", "train"]
