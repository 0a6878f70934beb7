"""What a trained model says of pictures: one in one out, a list in a list out, a stream in an iterator out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, overload

import torch
from torch import Tensor, nn

from sparsevision.checkpoints.identity import Identity
from sparsevision.errors import ConfigError, UnknownNameError, UnreadablePictureError
from sparsevision.factory import identity_of, open_model, task_of, usable_device
from sparsevision.inference.options import checked_options
from sparsevision.inference.pictures import KINDS, Picture, PictureReader, name_of
from sparsevision.layers.packing import pack_weights
from sparsevision.tasks import Task
from sparsevision.tasks.classification.result import ClassificationResult
from sparsevision.tasks.classification.task import ClassificationTask
from sparsevision.types import (
    TRACE_KINDS,
    Batch,
    ClassFacts,
    Preprocessing,
    Result,
    Sample,
    Skipped,
    Trace,
    TraceKind,
)

Traced = bool | TraceKind | Sequence[TraceKind]

# Pictures at once where nothing else is said: a detector's are several times as large as a classifier's.
_BATCH = {"classification": 16, "detection": 4}


@dataclass(frozen=True)
class _Wish:
    """What a call asks for besides the pictures: how outputs are read, what rides along, the model's controls."""

    read: Callable[[Any, Batch], Sequence[Result]]
    trace: Traced
    features: bool
    controls: dict[str, Any]


class Predictor:
    """A trained classifier or detector with everything around it: reading, preprocessing, batches, labels.

    >>> predictor = Predictor("runs/flowers/best")        # doctest: +SKIP
    >>> print(predictor("rose.jpg"))                      # doctest: +SKIP
    rose.jpg: rose 0.981, tulip 0.010, ...

    Args:
        model: a checkpoint's path, a model's name (its published weights), or a model in memory.
        device: where to run; by default the first CUDA device if there is one, else the CPU.
        batch_size: pictures of a stream that are read ahead, of which those of one size are run together; none is
            padded. By default 16 for a classifier and 4 for a detector.
        preprocessing, labels: what the model does not carry itself, or is to be overruled.

    A model given in memory is moved to `device` and into evaluation mode, and is otherwise left as it is. One that was
    opened here is `model` in a form for predicting only: on a CPU its weights are packed for the matrix kernels, with
    the norms behind them, so that it can neither be trained nor saved.

    Attributes:
        task: what the model is for, "classification" or "detection".
        skipped: what the last call or stream could not read, so far.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | nn.Module,
        device: str | torch.device | None = None,
        *,
        batch_size: int | None = None,
        preprocessing: Preprocessing | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1.")
        self.device = usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        made = model if isinstance(model, nn.Module) else open_model(model)
        identity = identity_of(made)
        if preprocessing is None and identity is None:
            raise ConfigError("The model does not say what input it wants: give preprocessing=.")
        self.model: Any = made.to(self.device).eval()
        # A model that was opened here is nobody else's to train or save, so its weights may take the form that runs
        # fastest; one that was handed over is left as it is. timm's models read their layers' weights themselves.
        if made is not model and hasattr(made, "controls"):
            pack_weights(self.model)
        self.preprocessing = preprocessing or identity.preprocessing  # type: ignore[union-attr]
        self.labels = _labels(made, labels if labels is not None else identity.labels if identity else None)
        self.skipped: list[Skipped] = []
        self.task = task_of(identity.name) if identity else "classification"
        self.batch_size = batch_size or _BATCH[self.task]
        self._task = self._make_task(identity)
        self._read = PictureReader(self.preprocessing)

    @overload
    def __call__(
        self, pictures: Picture, *, trace: Traced = False, features: bool = False, **options: Any
    ) -> Result: ...

    @overload
    def __call__(
        self, pictures: list[Any] | tuple[Any, ...], *, trace: Traced = False, features: bool = False, **options: Any
    ) -> list[Result]: ...

    def __call__(
        self, pictures: Any, *, trace: Traced = False, features: bool = False, **options: Any
    ) -> Result | list[Result]:
        """Says what one picture shows, or each of a list.

        Args:
            pictures: a path, bytes of a file, a PIL image or an RGB array (H, W, 3) of uint8; or a list of these.
            trace: True, or kinds of observations, to have in each result what the model looked at.
            features: have in each result of a classifier the pooled features before its last layer, (D,); a model that
                embeds rather than classifies gives its embedding, and no labels.
            options: of a classifier `top_k`, how many of the best classes each result lists (5); of a detector
                `threshold`, the score from which on an object counts, instead of the ones of each class that the
                weights carry; and whatever the model names among its `controls` and `choices`, as `keep_ratio`.

        Returns:
            One result for one picture: a `Classification` or a `DetectionResult`. For a list, the results in its
            order; pictures that cannot be read are left out and listed in `skipped`.

        Raises:
            UnreadablePictureError: the one picture cannot be read.
            ConfigError: an option is unknown or out of its range.
        """
        wish = self._wish(trace, features, options)
        self.skipped = []
        if isinstance(pictures, list | tuple):
            return list(self._stream(iter(pictures), wish))
        if not isinstance(pictures, KINDS):
            raise ConfigError(
                f"A {type(pictures).__name__} is no picture; give a list, or use `stream` for an iterable."
            )
        return self._predict([self._read(pictures, 0)], wish)[0]

    def stream(
        self, pictures: Iterable[Picture], *, trace: Traced = False, features: bool = False, **options: Any
    ) -> Iterator[Result]:
        """Says what pictures show as they come, `batch_size` at a time, for as long as they come.

        Takes what `__call__` takes, from any iterable, an endless one too; nothing is read before the first result is
        asked for, and never more than one batch ahead. Pictures that cannot be read are left out and listed in
        `skipped`.
        """
        wish = self._wish(trace, features, options)
        self.skipped = []
        return self._stream(iter(pictures), wish)

    def _stream(self, pictures: Iterator[Picture], wish: _Wish) -> Iterator[Result]:
        skipped, numbered = self.skipped, enumerate(pictures)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            while window := list(islice(numbered, self.batch_size)):
                read = list(pool.map(self._try_reading, window))
                skipped += [outcome for outcome in read if isinstance(outcome, Skipped)]
                samples = [outcome for outcome in read if isinstance(outcome, Sample)]
                yield from self._in_groups(samples, wish)

    def _try_reading(self, numbered: tuple[int, Picture]) -> Sample | Skipped:
        position, picture = numbered
        try:
            return self._read(picture, position)
        except UnreadablePictureError as error:
            return Skipped(name_of(picture, position), str(error))

    def _in_groups(self, samples: Sequence[Sample], wish: _Wish) -> Iterator[Result]:
        """Runs pictures of equal size together and gives the results in the pictures' order.

        Padding one to another's size would change what convolutions see of it.
        """
        groups: dict[tuple[int, ...], list[Sample]] = {}
        for sample in samples:
            groups.setdefault(tuple(sample.image.shape), []).append(sample)
        results: dict[int, Result] = {}
        for group in groups.values():
            found = self._predict(group, wish)
            results.update(zip((sample.index for sample in group), found, strict=True))
        for sample in samples:
            yield results.pop(sample.index)

    @torch.no_grad()
    def _predict(self, samples: Sequence[Sample], wish: _Wish) -> list[Result]:
        batch = _batch(samples, self.device)
        looked = _trace(wish.trace)
        output, pooled = self._run(batch.images, looked, wish)
        results: Sequence[Result]
        if self.labels:
            results = wish.read(output, batch)
        else:
            results = [
                ClassificationResult(name=sample.name, labels=(), scores=(), geometry=sample.geometry) for sample in samples
            ]
        found = []
        for index, (result, sample) in enumerate(zip(results, samples, strict=True)):
            result = replace(result, trace=None if looked is None else looked[index], time=sample.time)
            if pooled is not None and isinstance(result, ClassificationResult):
                result = replace(result, features=pooled[index].float().cpu())
            found.append(result)
        return found

    def _run(self, images: Tensor, trace: Trace | None, wish: _Wish) -> tuple[Any, Tensor | None]:
        """Returns the model's output, and where they are wanted pooled features (B, D)."""
        traced = {} if trace is None else {"trace": trace}
        if not wish.features:
            return self.model(images, **traced, **wish.controls), None
        if not self.labels:
            embedding = self.model(images, **traced)
            return embedding, embedding
        # What each token responds to is formed where the logits are, so that only a whole pass records it.
        logits = self.model(images, **traced) if trace is not None and trace.wants("response") else None
        tokens = self.model.forward_features(images, **({} if logits is not None else traced))
        pooled = self.model.forward_head(tokens, pre_logits=True)
        return self.model.forward_head(tokens) if logits is None else logits, pooled

    def _wish(self, trace: Traced, features: bool, options: dict[str, Any]) -> _Wish:
        if not (self.labels or features or trace):
            raise ConfigError("The model gives an embedding and no classes: ask for its features.")
        if features and self.task != "classification":
            raise ConfigError(
                f"{type(self.model).__name__} is a detector and has no pooled features: leave out features."
            )
        if trace and not hasattr(self.model, "controls"):
            raise ConfigError(f"{type(self.model).__name__} does not record what it looks at: leave out trace.")
        _trace(trace)
        controls = checked_options(self.model, options, self._task.options)
        own = {name: value for name, value in options.items() if name in self._task.options}
        return _Wish(self._task.reading(**own), trace, features, controls)

    def _make_task(self, identity: Identity | None) -> Task:
        if self.task == "classification":
            return ClassificationTask(self.labels)
        if self.preprocessing.fit == "crop":
            raise ConfigError("A detector is shown whole pictures: give a preprocessing with fit='short' or 'stretch'.")
        # Imported where it is needed: classifiers do without torchvision.
        from sparsevision.tasks.detection.task import DetectionTask

        facts = identity.facts if identity else ClassFacts()
        return DetectionTask(self.labels, facts.category_ids, facts.thresholds)


def _batch(samples: Sequence[Sample], device: torch.device) -> Batch:
    """Stacks pictures of one size, without targets."""
    return Batch(
        images=torch.stack([sample.image for sample in samples]).to(device),
        targets=None,
        names=[sample.name for sample in samples],
        indices=[sample.index for sample in samples],
        geometries=[sample.geometry for sample in samples],
    )


def _trace(wanted: Traced) -> Trace | None:
    if isinstance(wanted, bool):
        return Trace() if wanted else None
    kinds: Sequence[TraceKind] = [wanted] if isinstance(wanted, str) else wanted
    for kind in kinds:
        if kind not in TRACE_KINDS:
            raise UnknownNameError("kind of trace", str(kind), TRACE_KINDS)
    return Trace(*kinds) if kinds else None


def _labels(model: nn.Module, given: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the outputs' names, numbers where they have none; empty for a model whose outputs are an embedding."""
    outputs = int(getattr(model, "num_classes", 0))
    if given is not None:
        if len(given) != outputs:
            raise ConfigError(
                f"The model has {outputs} outputs and was given {len(given)} labels: they must be as many."
            )
        return tuple(given)
    embeds = getattr(getattr(model, "config", None), "head_bias", "learned") == "none"
    return () if embeds else tuple(str(index) for index in range(outputs))
