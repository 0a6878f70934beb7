"""The contract of a task: everything that differs between kinds of recognition.

Training, evaluation, inference and the commands know this contract and no task. A task is one folder, entered in the
table of `tasks.registry`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, Literal, Protocol, Self, TypeVar

from torch import Tensor

from sparsevision.data.dataset import Dataset, Opening, Record
from sparsevision.data.inspection import Inspection
from sparsevision.data.layouts.registry import DataLayout
from sparsevision.data.splitting import open_part, splits_of
from sparsevision.errors import DataError
from sparsevision.tasks.settings import TaskSettings
from sparsevision.types import Batch, ClassMetadata, Option, Preprocessing, Result, Sample, Skipped, Table
from sparsevision.wording import count_of

Progress = Callable[[int, int], None]
Transform = Callable[[Record], Sample]
Collate = Callable[[list[Sample]], Batch]
Reader = Callable[[Any, Batch], Sequence[Result]]
R = TypeVar("R", bound=Result)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number of a report: its `name` among the report's scalars, and its `label` for people."""

    name: str
    label: str
    percent: bool = True
    higher_is_better: bool = True

    def text(self, value: float | None) -> str:
        """Writes a value, None being that of a measure of nothing."""
        if value is None:
            return "not defined"
        return f"{value:.2%}" if self.percent else f"{value:.4g}"

    def rank(self, value: float | None) -> float:
        """Returns a number that is larger for a better value."""
        if value is None:
            return -math.inf
        return value if self.higher_is_better else -value


class Report(Protocol):
    """The measures of one set of weights on a labelled data set."""

    @property
    def images(self) -> int:
        """The number of images that were scored."""

    def scalars(self) -> dict[str, float | None]:
        """Returns the measures that are one number, None where there was nothing to measure."""

    def tables(self) -> Sequence[Table]:
        """Returns the report as tables of text."""

    def headline(self) -> str:
        """Returns the measures that matter in one line."""

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON takes it."""

    def class_metadata(self) -> ClassMetadata:
        """Returns the values of each class that the weights of this report carry."""


class Metrics(Protocol):
    """Collects outputs against targets; `compute` joins the parts of all processes."""

    def to(self, device: Any) -> Metrics:
        """Moves what was collected to a device."""

    def update(self, output: Any, batch: Batch) -> None:
        """Adds a batch."""

    def compute(self) -> Report:
        """Returns the report over everything that was added, on all processes."""


class Tiles(Protocol):
    """One image that is predicted in parts: the outputs of its `samples` are added in their order."""

    def samples(self) -> Iterator[Sample]:
        """Yields the parts of the image, as the model gets them."""

    def add(self, output: Any, batch: Batch) -> None:
        """Takes the output of the next parts."""

    def result(self) -> Result:
        """Returns the result for the whole image."""


# Of an RGB image at full size, its name, its place among others, and the preprocessing.
Tiling = Callable[[Any, str, int, Preprocessing], Tiles]


class Writer(ABC, Generic[R]):
    """Takes results one after another, inside a `with` block that completes or discards the file at its end.

    `omitted` are the results that could not be written; `note` is a sentence about what was, for whoever reads it.
    """

    omitted: Sequence[Skipped] = ()
    note: str = ""

    @abstractmethod
    def add(self, result: R) -> None:
        """Takes one result."""

    def watching(self, images: Iterator[Any]) -> Iterator[Any]:
        """Passes on the images that go into the predictor, for writers that need their pixels."""
        return images

    def passing(self, results: Iterable[R]) -> Iterator[R]:
        """Passes results on, each after it was added."""
        for result in results:
            self.add(result)
            yield result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Completes the file, or discards it after an error."""


@dataclass(frozen=True, kw_only=True)
class WriterEntry:
    """A file that `predict` can write: `open(path, task, **options)`, `options` being further paths by name.

    Those are of files that are read. `beside(path, **options)` names further files that are written beside the path.
    One that writes a `folder` is opened with its `OutputFolder` in place of a path.
    """

    description: str
    open: Callable[..., Writer[Any]]
    options: Mapping[str, str] = field(default_factory=dict)
    beside: Callable[..., tuple[Path, ...]] = lambda path, **options: ()
    folder: bool = False


@dataclass(frozen=True, kw_only=True)
class ReportWriterEntry:
    """A file that `evaluate` can write of a report: `write(report, path)`."""

    description: str
    write: Callable[[Any, Path], None]


class Task(ABC):
    """One kind of recognition, for the classes of one model.

    Class attributes:
        name: as registered.
        Settings: the recipe's tables [transforms] and [loss].
        measures: of a report; the first one decides which weights are better.
        recipe: the default recipe's name.
        evaluation_batch, prediction_batch: images at once where nothing else is asked for.
        things: what a data set holds, "images" or "videos", of which models see clips; also the word in messages.
        returns_logits: whether the output is one tensor of logits (B, K), so that a classifier can teach it.
        page: the package with the script (page.js) that reads and draws outputs in a browser; None: it has none.
        writers, report_writers: files that `predict` and `evaluate` can write, by option.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[TaskSettings]]
    measures: ClassVar[tuple[Measure, ...]]
    recipe: ClassVar[str]
    evaluation_batch: ClassVar[int] = 16
    prediction_batch: ClassVar[int] = 4
    things: ClassVar[Literal["images", "videos"]] = "images"
    returns_logits: ClassVar[bool] = False
    page: ClassVar[str | None] = None
    writers: ClassVar[Mapping[str, WriterEntry]] = {}
    report_writers: ClassVar[Mapping[str, ReportWriterEntry]] = {}

    def __init__(
        self, classes: Sequence[str], class_metadata: ClassMetadata | None = None, *,
        settings: TaskSettings | None = None, labels: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """Makes the task of a model.

        Args:
            classes: the names of the model's outputs; empty for a model that embeds.
            class_metadata: values of each class besides the name, as weights or a data set carry them.
            settings: of a recipe, for training.
            labels: of the training set, one class an image, for weights of classes.
        """
        self.classes = tuple(classes)
        self.class_metadata = class_metadata or ClassMetadata()
        self.settings = settings or self.Settings()

    # ------------------------------------------------------------------------------------------------------ data

    @classmethod
    @abstractmethod
    def layout(cls, spec: str) -> DataLayout:
        """Returns the layout of a data set on disk; raises DataError, one sentence, for what has none of the task's."""

    @classmethod
    def open(cls, spec: str, split: str = "train", **options: Any) -> Dataset:
        """Opens a split ("train", "val", "test" or "all"); `options` are those of `Opening`.

        Raises DataError, one sentence, for what cannot be such a data set.
        """
        return open_part(cls.layout(spec), spec, split, Opening(**options))

    @classmethod
    def splits(cls, spec: str) -> tuple[str, ...]:
        """Returns the splits of a data set: train, val, and test if there is one."""
        return splits_of(cls.layout(spec), spec)

    @classmethod
    @abstractmethod
    def inspect(cls, spec: str, *, seed: int = 0, progress: Progress | None = None) -> Inspection:
        """Decodes every image once and reports faults; `progress(done, total)` is called along the way."""

    @classmethod
    def metadata_of(cls, dataset: Dataset) -> ClassMetadata:
        """Returns the values of each class that a data set carries besides names."""
        return ClassMetadata()

    @classmethod
    def check_sets(cls, spec: str, train: Dataset, val: Dataset) -> None:
        """Raises DataError for data sets that nothing can be learned from."""
        if not len(train) or not len(val):
            raise DataError(
                f"{spec!r} has {count_of(len(train), 'image')} to train on and {len(val)} to score: add some."
            )

    def remarks(self, train: Dataset, val: Dataset, preprocessing: Preprocessing, model: Any) -> list[str]:
        """Returns what a person should know about data sets and a model before training, in sentences."""
        return []

    def caveats(self, **options: Any) -> list[str]:
        """Returns what a person should know of results with some options, from what the weights say, in sentences."""
        return []

    @classmethod
    def fitted_config(cls, train: Dataset, val: Dataset, config: Any) -> dict[str, Any]:
        """Returns fields of a model's configuration that follow from the data sets, unless a recipe names them."""
        return {}

    @classmethod
    @abstractmethod
    def relabel(cls, target: Any, labels: Sequence[int]) -> Any:
        """Returns a target in which class `i` is class `labels[i]`."""

    @classmethod
    @abstractmethod
    def fitted(cls, preprocessing: Preprocessing) -> dict[str, Any]:
        """Returns fields of [transforms] that follow from the input of a model, for the default recipe."""

    # ------------------------------------------------------------------------------------------------- transforms

    @abstractmethod
    def train_transform(self) -> Transform:
        """Returns the random transform of the settings, from a record to a sample."""

    def late_transform(self, epochs_left: int) -> Transform | None:
        """Returns the random transform of an epoch with so many left, itself included; None where it is the usual."""
        return None

    @abstractmethod
    def evaluation_transform(self, preprocessing: Preprocessing) -> Transform:
        """Returns the transform of a record outside training, with its whole target."""

    @classmethod
    def check_preprocessing(cls, preprocessing: Preprocessing) -> None:
        """Raises ConfigError for a view that this kind of recognition cannot work on."""
        return

    def train_collate(self) -> Collate:
        """Returns the collate of training."""
        return self.collate

    @abstractmethod
    def collate(self, samples: list[Sample]) -> Batch:
        """Puts samples together; an empty list gives an empty batch."""

    @abstractmethod
    def blank(self, preprocessing: Preprocessing) -> Batch:
        """Returns a batch of one empty image, which stands in where none could be read."""

    # ------------------------------------------------------------------------------------------ loss and measures

    @abstractmethod
    def count(self, batch: Batch) -> Tensor:
        """Returns the numbers (k,) that the parts of the loss are averaged over; they add up over batches."""

    @abstractmethod
    def loss(self, output: Any, batch: Batch, count: Tensor) -> dict[str, Tensor]:
        """Returns the terms whose sum is the loss; sums over the batch are divided by a step's whole `count`."""

    def merge(self, output: Any, batch: Batch) -> Any:
        """Returns one output a sample, where the batch has several views of each."""
        return output

    @abstractmethod
    def metrics(self) -> Metrics:
        """Returns a fresh accumulator of measures."""

    def foreground(self, batch: Batch) -> list[Tensor] | None:
        """Returns which pixels (H, W) of each image show a thing and not the background; None where nothing tells."""
        return None

    # ---------------------------------------------------------------------------------------------------- results

    @property
    def options(self) -> Mapping[str, Option]:
        """The options of how outputs become results, by name."""
        return {}

    @abstractmethod
    def reader(self, **options: Any) -> Reader:
        """Returns a function from an output and its batch to one result an image; `options` are checked values."""

    @property
    def view_options(self) -> Mapping[str, Option]:
        """The options of the views that are scored, by name."""
        return {}

    def viewed(self, preprocessing: Preprocessing, **options: Any) -> Preprocessing:
        """Returns a preprocessing with other views; `options` are checked values of `view_options`."""
        return preprocessing

    def tiling(self, **options: Any) -> Tiling | None:
        """Returns how an image is predicted in parts, None where the options do not ask for it."""
        return None

    @classmethod
    def score(cls, report: Report) -> float | None:
        """Returns the value of the first measure."""
        return report.scalars()[cls.measures[0].name]

    @classmethod
    def rank(cls, score: float | None) -> float:
        """Returns a number that is larger for a better score."""
        return cls.measures[0].rank(score)
