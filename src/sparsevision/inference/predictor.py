"""Predictions of a trained model: one image in, one result out; a list in, a list out; a stream in, an iterator out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, overload

import torch
from torch import Tensor, nn

from sparsevision.errors import ConfigError, UnknownNameError, UnreadablePictureError
from sparsevision.factory import DEFAULT_TASK, identity_of, open_model, task_of, usable_device
from sparsevision.inference.options import checked_options, checked_value, options_of
from sparsevision.inference.pictures import KINDS, Picture, PictureReader, name_of
from sparsevision.packing import pack_weights
from sparsevision.tasks import Task, task_named
from sparsevision.types import (
    TRACE_KINDS,
    Batch,
    Option,
    Preprocessing,
    Result,
    Sample,
    Skipped,
    Trace,
    TraceKind,
)

Traced = bool | TraceKind | Sequence[TraceKind]


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What a call asks for besides the images: the reader of outputs, the trace, the features, the model's controls."""

    read: Callable[[Any, Batch], Sequence[Result]]
    trace: Traced
    features: bool
    controls: dict[str, Any]


class Predictor:
    """A trained model with everything around it: reading, preprocessing, batches, its task.

    >>> predictor = Predictor("runs/flowers/best")        # doctest: +SKIP
    >>> print(predictor("rose.jpg"))                      # doctest: +SKIP
    rose.jpg: rose 0.981, tulip 0.010, ...

    Args:
        model: a checkpoint's path, a model's name (its published weights), or a model in memory.
        device: by default the first CUDA device if there is one, else the CPU.
        batch_size: images of a stream that are read ahead, of which those of one size are run together; none is
            padded. By default the task's own number.
        preprocessing, labels: replace what the model carries, or stand in for what it does not.

    A model given in memory is moved to `device` and into evaluation mode, and is otherwise left as it is. One that was
    opened here is `model` in a form for predicting only: on a CPU its weights are packed for the matrix kernels, with
    the norms behind them, so that it can neither be trained nor saved. A predictor that opened its model reopens it
    where it is copied or unpickled, so that worker processes can be handed one.

    Attributes:
        task: the task of the model, for its classes; `task.name` is its name.
        options: everything that may be chosen per call, by name: the task's options, the model's controls and choices.
        skipped: the images that the last call or stream could not read, so far.
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
        self._made_with = {"batch_size": batch_size, "preprocessing": preprocessing, "labels": labels}
        self._source = None if isinstance(model, nn.Module) else os.fspath(model)
        self.device = usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        made = model if isinstance(model, nn.Module) else open_model(model)
        identity = identity_of(made)
        if preprocessing is None and identity is None:
            raise ConfigError("The model does not carry its preprocessing: give preprocessing=.")
        self.model: Any = made.to(self.device).eval()
        # A model that was opened here is nobody else's to train or save, so its weights may take the form that runs
        # fastest; one that was handed over is left as it is. timm's models read their layers' weights themselves.
        if made is not model and hasattr(made, "controls"):
            pack_weights(self.model)
        self.preprocessing = preprocessing or identity.preprocessing  # type: ignore[union-attr]
        self.labels = _labels(made, labels if labels is not None else identity.labels if identity else None)
        self.skipped: list[Skipped] = []
        kind = task_named(task_of(identity.name) if identity else DEFAULT_TASK)
        kind.check_preprocessing(self.preprocessing)
        self.task: Task = kind(self.labels, identity.class_metadata if identity else None)
        self.batch_size = batch_size or kind.prediction_batch
        self._read = PictureReader(self.preprocessing)

    @property
    def options(self) -> Mapping[str, Option]:
        """Everything that may be chosen per call, by name."""
        return {**self.task.options, **options_of(self.model)}

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._source is None:
            return super().__reduce_ex__(protocol)
        return _reopened, (self._source, str(self.device), self._made_with)

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
        """Predicts one image, or each of a list.

        Args:
            pictures: a path, bytes of a file, a PIL image or an RGB array (H, W, 3) of uint8; or a list of these.
            trace: True, or kinds of observations, for a trace in each result.
            features: for the pooled features before the last layer in each result, (D,); of a model that embeds, its
                embedding.
            options: values of `self.options`: of the task (as `top_k` of a classifier, `threshold` of a detector), and
                of the model's controls and choices (as `keep_ratio`).

        Returns:
            One result for one image. For a list, the results in its order; images that cannot be read are left out and
            listed in `skipped`.

        Raises:
            UnreadablePictureError: the one picture cannot be read.
            ConfigError: an option is unknown or out of its range.
        """
        request = self._request(trace, features, options)
        self.skipped = []
        if isinstance(pictures, list | tuple):
            return list(self._stream(iter(pictures), request))
        if not isinstance(pictures, KINDS):
            raise ConfigError(
                f"A {type(pictures).__name__} is no picture; give a list, or use `stream` for an iterable."
            )
        return self._predict([self._read(pictures, 0)], request)[0]

    def stream(
        self, pictures: Iterable[Picture], *, trace: Traced = False, features: bool = False, **options: Any
    ) -> Iterator[Result]:
        """Says what pictures show as they come, `batch_size` at a time, for as long as they come.

        Takes what `__call__` takes, from any iterable, an endless one too; nothing is read before the first result is
        asked for, and never more than one batch ahead. Pictures that cannot be read are left out and listed in
        `skipped`.
        """
        request = self._request(trace, features, options)
        self.skipped = []
        return self._stream(iter(pictures), request)

    def _stream(self, pictures: Iterator[Picture], request: _Request) -> Iterator[Result]:
        skipped, numbered = self.skipped, enumerate(pictures)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            while window := list(islice(numbered, self.batch_size)):
                read = list(pool.map(self._try_reading, window))
                skipped += [outcome for outcome in read if isinstance(outcome, Skipped)]
                samples = [outcome for outcome in read if isinstance(outcome, Sample)]
                yield from self._in_groups(samples, request)

    def _try_reading(self, numbered: tuple[int, Picture]) -> Sample | Skipped:
        position, picture = numbered
        try:
            return self._read(picture, position)
        except UnreadablePictureError as error:
            return Skipped(name_of(picture, position), str(error))

    def _in_groups(self, samples: Sequence[Sample], request: _Request) -> Iterator[Result]:
        """Runs pictures of equal size together and gives the results in the pictures' order.

        Padding one to another's size would change what convolutions see of it.
        """
        groups: dict[tuple[int, ...], list[Sample]] = {}
        for sample in samples:
            groups.setdefault(tuple(sample.image.shape), []).append(sample)
        results: dict[int, Result] = {}
        for group in groups.values():
            found = self._predict(group, request)
            results.update(zip((sample.index for sample in group), found, strict=True))
        for sample in samples:
            yield results.pop(sample.index)

    @torch.no_grad()
    def _predict(self, samples: Sequence[Sample], request: _Request) -> list[Result]:
        batch = _batch(samples, self.device)
        trace = _trace(request.trace)
        output, pooled = self._run(batch.images, trace, request)
        found = []
        for index, (result, sample) in enumerate(zip(request.read(output, batch), samples, strict=True)):
            features = None if pooled is None else pooled[index].float().cpu()
            own = None if trace is None else trace[index]
            found.append(replace(result, trace=own, time=sample.time, features=features))
        return found

    def _run(self, images: Tensor, trace: Trace | None, request: _Request) -> tuple[Any, Tensor | None]:
        """Returns the model's output, and where they are wanted pooled features (B, D)."""
        traced = {} if trace is None else {"trace": trace}
        if not request.features:
            return self.model(images, **traced, **request.controls), None
        if not self.labels:
            embedding = self.model(images, **traced)
            return embedding, embedding
        # What each token responds to is formed where the logits are, so that only a whole pass records it.
        logits = self.model(images, **traced) if trace is not None and trace.wants("response") else None
        tokens = self.model.forward_features(images, **({} if logits is not None else traced))
        pooled = self.model.forward_head(tokens, pre_logits=True)
        return self.model.forward_head(tokens) if logits is None else logits, pooled

    def _request(self, trace: Traced, features: bool, options: dict[str, Any]) -> _Request:
        if not (self.labels or features or trace):
            raise ConfigError("The model gives an embedding and no classes: ask for its features.")
        if features and not hasattr(self.model, "forward_head"):
            raise ConfigError(f"{type(self.model).__name__} has no pooled features: leave out features.")
        if trace and not hasattr(self.model, "controls"):
            raise ConfigError(f"{type(self.model).__name__} does not record what it looks at: leave out trace.")
        _trace(trace)
        known = self.task.options
        controls = checked_options(self.model, options, known)
        own = {name: checked_value(known[name], value) for name, value in options.items() if name in known}
        return _Request(read=self.task.reader(**own), trace=trace, features=features, controls=controls)


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
    embeds = getattr(model, "outputs", "classes") == "embedding"
    return () if embeds else tuple(str(index) for index in range(outputs))


def _reopened(source: str, device: str, options: dict[str, Any]) -> Predictor:
    return Predictor(source, device, **options)
