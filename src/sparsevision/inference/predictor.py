"""Predictions of a trained model: one image in, one result out; a list in, a list out; a stream in, an iterator out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, overload

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from sparsevision.checkpoints.checkpoint import WEIGHTS_FILE
from sparsevision.errors import CheckpointError, ConfigError, UnknownNameError, UnreadableImageError
from sparsevision.factory import DEFAULT_TASK, identity_of, is_known, open_model, task_of, usable_device
from sparsevision.inference.clips import ClipReader
from sparsevision.inference.images import ImageInput, ImageReader
from sparsevision.inference.options import checked_options, checked_value, options_of
from sparsevision.packing import is_packed, pack_weights
from sparsevision.tasks import Task, task_named
from sparsevision.tasks.contract import Reader, Tiles, Tiling
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
    UnreadResult,
)

Traced = bool | TraceKind | Sequence[TraceKind]
Unreadable = Literal["keep", "raise"]


class _Pass(NamedTuple):
    """How one call predicts: it will `read` images, each at its place in the list or stream, and `run` them."""

    read: Callable[[ImageInput, int], Any]
    run: Callable[[Sequence[Any]], Iterator[Result]]


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
        skipped: the images that the last call or stream could not read, so far.
    """

    def __init__(
        self, model: str | os.PathLike[str] | nn.Module, device: str | torch.device | None = None, *,
        batch_size: int | None = None, preprocessing: Preprocessing | None = None, labels: Sequence[str] | None = None,
    ) -> None:  # fmt: skip
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1.")
        self._made_with: dict[str, Any] = {"batch_size": batch_size, "preprocessing": preprocessing, "labels": labels}
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
        self._opened_as = _precision(self.model)
        self.preprocessing = preprocessing or identity.preprocessing  # type: ignore[union-attr]
        self.labels = _labels(made, labels if labels is not None else identity.labels if identity else None)
        self.skipped: list[Skipped] = []
        kind = task_named(task_of(identity.name) if identity else DEFAULT_TASK)
        kind.check_preprocessing(self.preprocessing)
        self.task: Task = kind(self.labels, identity.class_metadata if identity else None)
        self.batch_size = batch_size or kind.prediction_batch
        self.reader: Any = (
            ClipReader(self.task.evaluation_transform, self.preprocessing)
            if kind.things == "videos"
            else ImageReader(self.preprocessing)
        )

    @property
    def title(self) -> str:
        """What predicts, for a heading: the model's name, with the run or the file that it comes from."""
        identity = identity_of(self.model)
        name = identity.name if identity else type(self.model).__name__
        if self._source is None:
            return name
        if is_known(self._source):
            return self._source  # with the tag of its weights, where one was given
        # The last part of the path that was given, for folders around it are private.
        parts = [part for part in Path(self._source).parts if part not in (WEIGHTS_FILE, "best", "last", "/", "..")]
        return f"{name} ({parts[-1]})" if parts else name

    @property
    def options(self) -> Mapping[str, Option]:
        """Everything that may be chosen per call, by name: the task's options, the model's controls and choices."""
        return {**self.task.options, **options_of(self.model)}

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._source is None:
            return super().__reduce_ex__(protocol)
        return partial(Predictor, self._source, str(self.device), **self._made_with), ()

    @overload
    def __call__(
        self, images: ImageInput, *, trace: Traced = False, features: bool = False, **options: Any
    ) -> Result: ...

    @overload
    def __call__(
        self, images: list[Any] | tuple[Any, ...], *, trace: Traced = False, features: bool = False,
        unreadable: Unreadable = "keep", **options: Any,
    ) -> list[Result]: ...  # fmt: skip

    def __call__(
        self, images: Any, *, trace: Traced = False, features: bool = False, unreadable: Unreadable = "keep",
        **options: Any,
    ) -> Result | list[Result]:  # fmt: skip
        """Predicts one image, or each of a list.

        Args:
            images: a path, bytes of a file, a PIL image or an RGB array (H, W, 3) of uint8; or a list of these.
            trace: True, or kinds of observations, for a trace in each result; of videos one view is seen then.
            features: for the pooled features before the last layer in each result, (D,); of a model that embeds, its
                embedding.
            unreadable: what becomes of images in a list that cannot be read: "keep" puts an `UnreadResult` in their
                place, "raise" raises UnreadableImageError for the first one.
            options: values of `self.options`: of the task (as `top_k` of a classifier, `threshold` of a detector), and
                of the model's controls and choices (as `keep_ratio`).

        Returns:
            One result for one image. For a list, as many results in its order; `skipped` lists the images that cannot
            be read.

        Raises:
            UnreadableImageError: the one image cannot be read, or one of a list with unreadable="raise".
            ConfigError: an option is unknown or out of its range.
        """
        if unreadable not in get_args(Unreadable):
            raise UnknownNameError("value of unreadable", str(unreadable), get_args(Unreadable))
        if isinstance(images, list | tuple):
            predict, self.skipped = self._checked(trace, features, options), []
            return list(self._stream(iter(images), predict, unreadable))
        predict = self._checked(trace, features, options)
        self.skipped = []
        if not isinstance(images, self.reader.types):
            kind = type(images).__name__
            raise ConfigError(f"A {kind} is not {self.reader.thing}; give a list, or use `stream` for an iterable.")
        return next(predict.run([predict.read(images, 0)]))

    def stream(
        self, images: Iterable[ImageInput], *, trace: Traced = False, features: bool = False, **options: Any
    ) -> Iterator[Result]:
        """Predicts images as they come, `batch_size` at a time, for as long as they come.

        Takes what `__call__` takes, from any iterable, an endless one too; nothing is read before the first result is
        asked for, and never more than one batch ahead. `skipped` lists the images that cannot be read.
        """
        predict = self._checked(trace, features, options)
        self.skipped = []
        return self._stream(iter(images), predict, "skip")

    def _stream(self, images: Iterator[ImageInput], predict: _Pass, unreadable: str) -> Iterator[Result]:
        skipped, numbered = self.skipped, enumerate(images)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            while window := list(islice(numbered, self.batch_size)):
                read = list(pool.map(partial(_try_reading, predict.read, self.reader.name_of), window))
                unread = [outcome for outcome in read if isinstance(outcome, Skipped)]
                skipped += unread
                if unread and unreadable == "raise":
                    raise UnreadableImageError(unread[0].reason)
                results = predict.run([outcome for outcome in read if not isinstance(outcome, Skipped)])
                for outcome in read:
                    if not isinstance(outcome, Skipped):
                        yield next(results)
                    elif unreadable == "keep":
                        yield UnreadResult(name=outcome.name, classes=self.labels, reason=outcome.reason)

    def _checked(self, trace: Traced, features: bool, options: dict[str, Any]) -> _Pass:
        """Returns the prediction with these options, which the model and its task must have."""
        if not (self.labels or features or trace):
            raise ConfigError("The model gives an embedding and no classes: ask for its features.")
        if features and not hasattr(self.model, "forward_head"):
            raise ConfigError(f"{type(self.model).__name__} has no pooled features: omit features.")
        if trace and not hasattr(self.model, "controls"):
            raise ConfigError(f"{type(self.model).__name__} does not record what it looks at: omit trace.")
        _trace(trace)
        known = self.task.options
        controls = checked_options(self.model, options, known)
        own = {name: checked_value(known[name], value) for name, value in options.items() if name in known}
        tiling = self.task.tiling(**own)
        if tiling is not None:
            if trace or features:
                raise ConfigError("An image in parts has neither trace nor features: show it whole for them.")
            return _Pass(partial(self._read_tiles, tiling=tiling), partial(self._predict_tiles, controls=controls))
        predict = partial(
            self._predict, read=self.task.reader(**own), kinds=trace, features=features, controls=controls
        )
        return _Pass(self.reader.in_one_view() if trace else self.reader, partial(_in_groups, predict=predict))

    def _read_tiles(self, given: ImageInput, position: int, *, tiling: Tiling) -> tuple[Tiles, float | None]:
        """Reads one image at its full size and divides it; returns its parts, and its time in a video."""
        image = self.reader.whole(given, position)
        return tiling(image.image, image.name, image.position, self.preprocessing), image.time

    @torch.no_grad()
    def _predict_tiles(
        self, images: Sequence[tuple[Tiles, float | None]], *, controls: Mapping[str, Any]
    ) -> Iterator[Result]:
        """Runs images part by part."""
        for tiles, time in images:
            for sample in tiles.samples():
                batch = self.batch([sample])
                output, _ = self._run(batch.images, None, False, controls)
                _check_numbers(sample.name, output)
                tiles.add(output, batch)
            yield replace(tiles.result(), time=time)

    @torch.no_grad()
    def _predict(
        self, samples: Sequence[Sample], *, read: Reader, kinds: Traced, features: bool, controls: Mapping[str, Any]
    ) -> list[Result]:
        """Runs samples of one size together."""
        batch = self.batch(samples)
        trace = _trace(kinds)
        output, pooled = self._run(batch.images, trace, features, controls)
        _check_numbers(batch.names[0], output, pooled)
        output, views = self.task.merge(output, batch), batch.views
        found = []
        for index, (result, sample) in enumerate(zip(read(output, batch), samples, strict=True)):
            own = None if pooled is None else pooled.unflatten(0, (-1, views))[index].mean(0).float().cpu()
            found.append(replace(result, trace=None if trace is None else trace[index], time=sample.time, features=own))
        return found

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """Puts samples of one size, as `reader` gives them, together, in the precision of the weights."""
        precision = _precision(self.model)
        if precision != self._opened_as and is_packed(self.model):
            raise ConfigError(
                f"The weights of this predictor are packed in {self._opened_as} and cannot become {precision}: convert "
                "the model of create_model(checkpoint=...) or load_model, and give that to Predictor."
            )
        images = torch.stack([sample.image for sample in samples]).to(self.device, precision)
        several = images.ndim > 1 + len(self.preprocessing.input_shape())
        return Batch(
            images=images.flatten(0, 1) if several else images,
            views=images.shape[1] if several else 1,
            targets=None,
            names=[sample.name for sample in samples],
            indices=[sample.index for sample in samples],
            geometries=[sample.geometry for sample in samples],
        )

    def _run(
        self, images: Tensor, trace: Trace | None, features: bool, controls: Mapping[str, Any]
    ) -> tuple[Any, Tensor | None]:
        """Returns the model's output, and the pooled features (B, D) if asked for."""
        traced = {} if trace is None else {"trace": trace}
        if not features:
            return self.model(images, **traced, **controls), None
        if not self.labels:
            embedding = self.model(images, **traced)
            return embedding, embedding
        # What each token responds to is formed where the logits are, so that only a whole pass records it.
        logits = self.model(images, **traced) if trace is not None and trace.wants("response") else None
        tokens = self.model.forward_features(images, **({} if logits is not None else traced))
        pooled = self.model.forward_head(tokens, pre_logits=True)
        return self.model.forward_head(tokens) if logits is None else logits, pooled


def _precision(model: nn.Module) -> torch.dtype:
    """Returns the type of a model's weights, which its user may have changed since it was opened."""
    tensors = (*model.parameters(), *model.buffers())
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)


def _are_numbers(output: Any) -> bool:
    """Returns whether no value is NaN, nor infinite in a tensor of logits; in a detector's, masked rows may be."""
    if isinstance(output, Tensor):
        return bool(output.isfinite().all())
    return not any(bool(leaf.isnan().any()) for leaf in tree_leaves(output) if isinstance(leaf, Tensor))


def _check_numbers(name: str, *outputs: Any) -> None:
    """Raises CheckpointError unless all outputs for an image are numbers."""
    if not all(map(_are_numbers, outputs)):
        raise CheckpointError(
            f"The model's output for {name} is not a number (NaN): its weights, though finite, are those of no trained "
            "model."
        )


def _try_reading(read: Callable[[Any, int], Any], name_of: Callable[[Any, int], str], numbered: tuple[int, Any]) -> Any:
    """Returns what was read, or what is to be said of an image that cannot be."""
    position, image = numbered
    try:
        return read(image, position)
    except UnreadableImageError as error:
        return Skipped(name_of(image, position), str(error))


def _in_groups(samples: Sequence[Sample], *, predict: Callable[[Sequence[Sample]], list[Result]]) -> Iterator[Result]:
    """Runs images of equal size together and gives the results in the images' order.

    Padding one to another's size would change what convolutions see of it.
    """
    groups: dict[tuple[int, ...], list[Sample]] = {}
    for sample in samples:
        groups.setdefault(tuple(sample.image.shape), []).append(sample)
    results = {
        sample.index: result for group in groups.values() for sample, result in zip(group, predict(group), strict=True)
    }
    for sample in samples:
        yield results.pop(sample.index)


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
    if given is not None and len(given) != outputs:
        raise ConfigError(f"The model has {outputs} outputs and was given {len(given)} labels: they must be as many.")
    embeds = getattr(model, "outputs", "classes") == "embedding"
    numbers = () if embeds else tuple(str(index) for index in range(outputs))
    return numbers if given is None else tuple(given)
