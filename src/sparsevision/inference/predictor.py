"""Classification of pictures: one in one out, a list in a list out, a stream in an iterator out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any, overload

import torch
from torch import Tensor, nn

from sparsevision.errors import ConfigError, UnknownNameError, UnreadablePictureError
from sparsevision.factory import identity_of, insist_on_classifier, open_model, usable_device
from sparsevision.inference.pictures import KINDS, Picture, PictureReader, name_of
from sparsevision.layers.packing import pack_linear_layers
from sparsevision.tasks.classification import ClassificationTask
from sparsevision.types import TRACE_KINDS, Classification, Preprocessing, Sample, Skipped, Trace, TraceKind

Traced = bool | TraceKind | Sequence[TraceKind]


class Predictor:
    """A trained classifier with everything around it: reading, preprocessing, batches, labels.

    >>> predictor = Predictor("runs/flowers/best")        # doctest: +SKIP
    >>> print(predictor("rose.jpg"))                      # doctest: +SKIP
    rose.jpg: rose 0.981, tulip 0.010, ...

    Args:
        model: a checkpoint's path, a model's name (its published weights), or a model in memory.
        device: where to run; by default the first CUDA device if there is one, else the CPU.
        batch_size: pictures that are run together, and so how far a stream is read ahead.
        preprocessing, labels: what the model does not carry itself, or is to be overruled.

    A model given in memory is moved to `device` and into evaluation mode, and is otherwise left as it is. One that was
    opened here is `model` in a form for predicting only: on a CPU its linear layers' weights are packed for the
    matrix kernels, so that it can neither be trained nor saved.

    Attributes:
        skipped: what the last call or stream could not read, so far.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | nn.Module,
        device: str | torch.device | None = None,
        *,
        batch_size: int = 16,
        preprocessing: Preprocessing | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1.")
        self.device = usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        made = model if isinstance(model, nn.Module) else open_model(model)
        identity = identity_of(made)
        if preprocessing is None and identity is None:
            raise ConfigError("The model does not say what input it wants: give preprocessing=.")
        if identity is not None:
            insist_on_classifier(identity.name)
        self.model: Any = made.to(self.device).eval()
        # A model that was opened here is nobody else's to train or save, so its weights may take the form that runs
        # fastest; one that was handed over is left as it is. timm's models read their layers' weights themselves.
        if made is not model and hasattr(made, "controls"):
            pack_linear_layers(self.model)
        self.batch_size = batch_size
        self.preprocessing = preprocessing or identity.preprocessing  # type: ignore[union-attr]
        self.labels = _labels(made, labels if labels is not None else identity.labels if identity else None)
        self.skipped: list[Skipped] = []
        self._task = ClassificationTask(self.labels)
        self._read = PictureReader(self.preprocessing)

    @overload
    def __call__(
        self, pictures: Picture, *, top_k: int = 5, trace: Traced = False, features: bool = False
    ) -> Classification: ...

    @overload
    def __call__(
        self, pictures: list[Any] | tuple[Any, ...], *, top_k: int = 5, trace: Traced = False, features: bool = False
    ) -> list[Classification]: ...

    def __call__(
        self, pictures: Any, *, top_k: int = 5, trace: Traced = False, features: bool = False
    ) -> Classification | list[Classification]:
        """Classifies one picture, or a list of them.

        Args:
            pictures: a path, bytes of a file, a PIL image or an RGB array (H, W, 3) of uint8; or a list of these.
            top_k: how many of the best classes each result lists.
            trace: True, or kinds of observations, to have in each result what the model looked at.
            features: have in each result the pooled features before the classifier, (D,); a model that embeds rather
                than classifies gives its embedding, and no labels.

        Returns:
            One result for one picture. For a list, the results in its order; pictures that cannot be read are left out
            and listed in `skipped`.

        Raises:
            UnreadablePictureError: the one picture cannot be read.
        """
        self._check(top_k, trace, features)
        self.skipped = []
        if isinstance(pictures, list | tuple):
            return list(self.stream(pictures, top_k=top_k, trace=trace, features=features))
        if not isinstance(pictures, KINDS):
            raise ConfigError(
                f"A {type(pictures).__name__} is no picture; give a list, or use `stream` for an iterable."
            )
        return self._classify([self._read(pictures, 0)], top_k, trace, features)[0]

    def stream(
        self, pictures: Iterable[Picture], *, top_k: int = 5, trace: Traced = False, features: bool = False
    ) -> Iterator[Classification]:
        """Classifies pictures as they come, `batch_size` at a time, for as long as they come.

        Takes what `__call__` takes, from any iterable, an endless one too; nothing is read before the first result is
        asked for, and never more than one batch ahead. Pictures that cannot be read are left out and listed in
        `skipped`.
        """
        self._check(top_k, trace, features)
        self.skipped = []
        return self._stream(iter(pictures), top_k, trace, features)

    def _stream(
        self, pictures: Iterator[Picture], top_k: int, trace: Traced, features: bool
    ) -> Iterator[Classification]:
        skipped, numbered = self.skipped, enumerate(pictures)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            while window := list(islice(numbered, self.batch_size)):
                read = list(pool.map(self._try_reading, window))
                skipped += [outcome for outcome in read if isinstance(outcome, Skipped)]
                samples = [outcome for outcome in read if isinstance(outcome, Sample)]
                yield from self._in_groups(samples, top_k, trace, features)

    def _try_reading(self, numbered: tuple[int, Picture]) -> Sample | Skipped:
        position, picture = numbered
        try:
            return self._read(picture, position)
        except UnreadablePictureError as error:
            return Skipped(name_of(picture, position), str(error))

    def _in_groups(
        self, samples: Sequence[Sample], top_k: int, trace: Traced, features: bool
    ) -> Iterator[Classification]:
        """Runs pictures of equal size together and gives the results in the pictures' order."""
        groups: dict[tuple[int, ...], list[Sample]] = {}
        for sample in samples:
            groups.setdefault(tuple(sample.image.shape), []).append(sample)
        results: dict[int, Classification] = {}
        for group in groups.values():
            found = self._classify(group, top_k, trace, features)
            results.update(zip((sample.index for sample in group), found, strict=True))
        for sample in samples:
            yield results.pop(sample.index)

    @torch.no_grad()
    def _classify(self, samples: Sequence[Sample], top_k: int, trace: Traced, features: bool) -> list[Classification]:
        images = torch.stack([sample.image for sample in samples]).to(self.device)
        looked = _trace(trace)
        logits, pooled = self._run(images, looked, features)
        if self.labels:
            batch = replace(self._task.collate([replace(sample, target=0) for sample in samples]), images=images)
            results = self._task.results(logits.cpu(), batch, top=top_k)
        else:
            results = [Classification(sample.name, (), (), sample.geometry) for sample in samples]
        return [
            replace(
                result,
                trace=None if looked is None else looked[index],
                features=None if pooled is None else pooled[index].float().cpu(),
            )
            for index, result in enumerate(results)
        ]

    def _run(self, images: Tensor, trace: Trace | None, features: bool) -> tuple[Tensor, Tensor | None]:
        """Returns logits (B, K), and where they are wanted pooled features (B, D)."""
        traced = {} if trace is None else {"trace": trace}
        if not features:
            return self.model(images, **traced), None
        if not self.labels:
            embedding = self.model(images, **traced)
            return embedding, embedding
        # What each token responds to is formed where the logits are, so that only a whole pass records it.
        logits = self.model(images, **traced) if trace is not None and trace.wants("response") else None
        tokens = self.model.forward_features(images, **({} if logits is not None else traced))
        pooled = self.model.forward_head(tokens, pre_logits=True)
        return self.model.forward_head(tokens) if logits is None else logits, pooled

    def _check(self, top_k: int, trace: Traced, features: bool) -> None:
        if top_k < 1:
            raise ConfigError(f"top_k is {top_k}; it must be at least 1.")
        if not (self.labels or features or trace):
            raise ConfigError("The model gives an embedding and no classes: ask for its features.")
        if trace and not hasattr(self.model, "controls"):
            raise ConfigError(f"{type(self.model).__name__} does not record what it looks at: leave out trace.")
        _trace(trace)


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
