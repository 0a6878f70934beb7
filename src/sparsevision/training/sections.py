"""The tables of a recipe that are the same for all tasks; every option has its default here."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from sparsevision.tasks.settings import Section


class ModelSection(Section):
    """The network and its starting weights.

    `backbone` fills the backbone alone of a model that has one, with a file of a classifier's weights in timm's names,
    or with those that timm publishes: as "pretrained" its usual ones, as "timm/NAME" those of that name.
    """

    name: str = "sparseformer_nano"
    pretrained: bool = False
    checkpoint: str | None = None
    backbone: str | None = None
    fresh_tokens: bool = False
    freeze_batch_norm: bool = False
    config: dict[str, Any] = Field(default={})

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.pretrained and self.checkpoint:
            raise ValueError("pretrained and checkpoint were both given: choose one of the two")
        return self


class DataSection(Section):
    """The data set. `batch` counts images per optimiser step, over all devices and accumulated parts.

    With `held_out` that share of every class of train is not trained on and is scored instead of val, so that settings
    can be chosen without reading val. `split_seed` draws what is held out, and val where the data set has none.
    `decode_side` lets large JPEGs be decoded smaller for training. `shuffle` false keeps the data set's order, for one
    that gets harder in one epoch, as placed digits do; what `held_out` takes from those is as hard as they are.
    `evaluation_batch` None is the batch of training.
    """

    spec: str | None = None
    batch: PositiveInt = 128
    evaluation_batch: PositiveInt | None = None
    repeats: PositiveInt = 1
    shuffle: bool = True
    decode_side: PositiveInt | None = None
    cache_mebibytes: NonNegativeInt = 0
    held_out: float = Field(default=0.0, ge=0.0, lt=1.0)
    split_seed: int = 0

    @model_validator(mode="after")
    def _shows_everything(self) -> Self:
        if self.repeats > 1 and not self.shuffle:
            raise ValueError("data.repeats above 1 with data.shuffle = false would show the first images only")
        return self


class OptimiserSection(Section):
    """The optimiser. With `lr_for_batch` the rate is lr * data.batch / lr_for_batch, else it is lr as it stands.

    With lr_scaling "sqrt" it is the square root of that quotient by which lr is multiplied.

    SparseFormer's clamp of the points' gradients bounds an image's share of the batch's mean, which in a small batch
    is large. `clamp_for_batch` is the batch for which the released bound is meant: it is multiplied by
    clamp_for_batch / data.batch. Models with other numerics than "v1" have no clamp.

    With `decay_norms` everything decays, also what the model spares: norms, biases, embeddings. Plain SGD did so.
    """

    name: str = "adamw"
    lr: PositiveFloat = 1e-3
    lr_for_batch: PositiveInt | None = None
    lr_scaling: Literal["linear", "sqrt"] = "linear"
    head_lr_factor: PositiveFloat = 1.0
    betas: tuple[float, float] | None = (0.9, 0.999)
    eps: PositiveFloat | None = 1e-8
    momentum: float | None = None
    weight_decay: NonNegativeFloat = 0.05
    decay_norms: bool = False
    layer_decay: float | None = Field(default=None, gt=0.0, le=1.0)
    clip: PositiveFloat | None = 5.0
    clamp_for_batch: PositiveInt | None = None


class ScheduleSection(Section):
    """The learning rate of each step, after a linear warm-up. `warmup_start` and `floor` are fractions of the peak.

    The length is in `epochs`, or in `iterations` (optimiser steps) where these are given; so is the warm-up.

    form "shifted": a cosine that begins at its top when the warm-up ends. form "released": SparseFormer's code, where
    the cosine's clock runs from step 0, and the scheduler lags one step (steps 0 and 1 share the start value). form
    "steps": the peak rate, multiplied by `drop` after each of the epochs in `drop_after`; it has no floor, nor has
    "exponential", where the rate is multiplied by `drop` after every epoch behind the warm-up. form "polynomial": from
    the peak to the floor by the `power` of the share of steps that is left.
    """

    epochs: PositiveInt = 30
    iterations: PositiveInt | None = None
    warmup_epochs: NonNegativeFloat = 0.0
    warmup_iterations: NonNegativeInt | None = None
    warmup_start: float = Field(default=0.001, ge=0.0, le=1.0)
    floor: float = Field(default=0.01, ge=0.0, le=1.0)
    form: Literal["shifted", "released", "steps", "exponential", "polynomial"] = "shifted"
    power: PositiveFloat = 0.9
    drop_after: tuple[PositiveInt, ...] = ()
    drop: float = Field(default=0.1, gt=0.0, lt=1.0)

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.iterations is None and self.warmup_iterations is None and self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs:g}) must be less than epochs ({self.epochs})")
        if self.iterations is not None and (self.warmup_iterations or 0) >= self.iterations:
            raise ValueError(
                f"warmup_iterations ({self.warmup_iterations}) must be less than iterations ({self.iterations})"
            )
        return self

    def steps(self, per_epoch: int) -> int:
        """Returns the optimiser steps of the whole run."""
        return self.epochs * per_epoch if self.iterations is None else self.iterations

    def whole_epochs(self, per_epoch: int) -> int:
        """Returns the epochs of the whole run, the last of which may be cut short."""
        return -(-self.steps(per_epoch) // per_epoch)

    def warmup_steps(self, per_epoch: int) -> int:
        """Returns the optimiser steps of the warm-up."""
        return round(self.warmup_epochs * per_epoch) if self.warmup_iterations is None else self.warmup_iterations

    @model_validator(mode="after")
    def _drops_fit(self) -> Self:
        if bool(self.drop_after) != (self.form == "steps"):
            raise ValueError("drop_after names the epochs of form = 'steps', and of no other form")
        if self.form == "steps" and self.iterations is not None:
            raise ValueError("form = 'steps' counts epochs: leave iterations out")
        if any(later <= earlier for earlier, later in pairwise((*self.drop_after, self.epochs))):
            raise ValueError(f"drop_after ({list(self.drop_after)}) must rise, and stay below epochs ({self.epochs})")
        return self


class DistillationSection(Section):
    """A teacher whose outputs for the same augmented images are learned as well.

    `teacher` is a run folder, a checkpoint folder, or a model's name (`timm/NAME`), then with `checkpoint`. `logits`
    and `features` are the weights of the two terms, `labels` that of the task's own loss.
    """

    teacher: str | None = None
    checkpoint: str | None = None
    config: dict[str, Any] = Field(default={})
    size: PositiveInt | None = None
    labels: NonNegativeFloat = 1.0
    logits: NonNegativeFloat = 1.0
    temperature: PositiveFloat = 2.0
    features: NonNegativeFloat = 0.0
    feature_loss: Literal["cosine", "mse"] = "cosine"
    bf16: bool = False
    compile: bool = False


class EmaSection(Section):
    """The average of the weights that is evaluated besides the raw model; decay 0 keeps none."""

    decay: float = Field(default=0.9999, ge=0.0, lt=1.0)
    warmup: bool = False


class RunSection(Section):
    """The execution of a run; nothing here but `seed` and `precision` is meant to change its numbers.

    `device`: "auto" takes the accelerator that is available; "cuda", "mps" and "xpu" require that kind; "cpu" uses
    none. Which of several GPUs is for CUDA_VISIBLE_DEVICES.
    `trackers` get the numbers beside metrics.jsonl and TensorBoard; their packages must be installed.
    `sync_batch_norm` takes the statistics of batch norms over all devices of a step; a single device needs nothing.
    """

    seed: int = Field(default=0, ge=-(2**62), lt=2**62)
    device: Literal["auto", "cpu", "cuda", "mps", "xpu"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = False
    sync_batch_norm: bool = False
    gradient_checkpointing: bool = False
    compile: bool = False
    accumulation: PositiveInt = 1
    workers: NonNegativeInt = 2
    log_every: PositiveInt = 50
    checkpoint_every: PositiveInt | None = None
    evaluate_every: PositiveInt = 1
    time_budget_minutes: PositiveFloat | None = None
    trackers: tuple[Literal["aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "trackio", "wandb"], ...] = ()
