"""The table of tasks: where each one's class is, and which layouts of data on disk it reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from sparsevision.data.dataset import Dataset, Opening
from sparsevision.data.inspection import Inspection
from sparsevision.data.layouts.registry import DataLayout, layout_named
from sparsevision.errors import DataError, UnknownNameError
from sparsevision.tasks.contract import Progress, Task


@dataclass(frozen=True, kw_only=True)
class TaskEntry:
    """One task: the dotted path of its class ("module:Class", imported when it is used) and its layouts, in order."""

    path: str
    layouts: tuple[str, ...]


TASKS: dict[str, TaskEntry] = {
    "detection": TaskEntry(
        path="sparsevision.tasks.detection.task:DetectionTask", layouts=("digit_scenes", "coco", "yolo", "voc")
    ),
    "segmentation": TaskEntry(
        path="sparsevision.tasks.segmentation.task:SegmentationTask",
        layouts=("ade20k", "cityscapes", "lip", "voc_masks", "mask_folders", "coco_masks"),
    ),
    "video_classification": TaskEntry(
        path="sparsevision.tasks.video_classification.task:VideoClassificationTask",
        layouts=("moving_digits", "video_lists", "video_shards", "video_folders"),
    ),
    "classification": TaskEntry(
        path="sparsevision.tasks.classification.task:ClassificationTask",
        layouts=("placed_digits", "digits", "shards", "class_folders"),
    ),
}
# Of data that no layout recognises, and of models that do not name their task.
DEFAULT_TASK = "classification"


def task_named(name: str) -> type[Task]:
    """Returns a task's class; raises UnknownNameError where nothing is registered under the name."""
    if name not in TASKS:
        raise UnknownNameError("task", name, TASKS)
    found: type[Task] = resolve_name(TASKS[name].path)
    return found


def task_of_data(spec: str | os.PathLike[str]) -> str:
    """Returns the name of the task that a data set is for, by its layout.

    A layout that marks its folders by a file of its own is asked before one that does not, as class folders.
    """
    spec = os.fspath(spec)
    return next(_tasks_for(spec, unmarked=False), None) or next(_tasks_for(spec, unmarked=True), DEFAULT_TASK)


def _tasks_for(spec: str, *, unmarked: bool) -> Iterator[str]:
    """Yields the tasks with a layout that recognises a data set, of the layouts that are marked or of the others."""
    for name, entry in TASKS.items():
        layouts = (layout_named(layout) for layout in entry.layouts)
        if any(layout.UNMARKED is unmarked and layout.recognises(spec) for layout in layouts):
            yield name


def other_tasks_note(spec: str | os.PathLike[str], *, option: str) -> str | None:
    """Returns a sentence about further tasks that a data set is marked for, beside the one that is taken.

    `option` is the one that chooses another.
    """
    first, *others = [*_tasks_for(os.fspath(spec), unmarked=False)] or [""]
    if not others:
        return None
    more = " and ".join(others)
    return f"{spec} is taken as a data set for {first}, and is one for {more}, too: name a {option} for it."


def layout_of(task: str, spec: str | os.PathLike[str]) -> DataLayout | None:
    """Returns the first of a task's layouts that recognises a data set; None where none does.

    Raises DataError for a data set that is marked as one for another task, and is none for this one.
    """
    spec, layouts = os.fspath(spec), map(layout_named, TASKS[task].layouts)
    found = next((layout for layout in layouts if layout.recognises(spec)), None)
    if found is not None and found.UNMARKED and (other := task_of_data(spec)) != task:
        try:
            found.open_split(spec, next(iter(found.splits(spec)), None), Opening())
        except DataError:
            raise DataError(
                f"{spec} is annotated for {other}, and the model is one for {task}: name a --model for {other}, of "
                "those that `sparsevision models` lists."
            ) from None
    return found


def needed_layout(task: str, spec: str, *, parts: str, advice: str) -> DataLayout:
    """Returns `layout_of` a data set of images and `parts`; raises DataError with `advice` where there is none."""
    if (found := layout_of(task, spec)) is not None:
        return found
    if not os.path.isdir(spec):
        wrong = f"{spec} is not a folder" if os.path.exists(spec) else f"The folder {spec} does not exist"
        raise DataError(f"{wrong}: give one with images and their {parts}.")
    of_another = f"If it is a data set for {task_of_data(spec)}, name a --model for that."
    raise DataError(f"{spec} has no {parts}: {advice}. {of_another}")


def open_dataset(
    spec: str | os.PathLike[str], split: str = "train", *, task: str | None = None, **options: Any
) -> Dataset:
    """Opens a split of a data set for a task, by default for the one that its layout is of; see `Task.open`."""
    return task_named(task or task_of_data(spec)).open(os.fspath(spec), split, **options)


def inspect_dataset(
    spec: str | os.PathLike[str], *, task: str | None = None, seed: int = 0, progress: Progress | None = None
) -> Inspection:
    """Decodes every image of a data set once and reports its faults; `progress(done, total)` is called along the way.

    A data set that cannot be opened gives a report with that one sentence in `harmful`, not an exception.
    """
    return task_named(task or task_of_data(spec)).inspect(os.fspath(spec), seed=seed, progress=progress)
