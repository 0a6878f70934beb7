"""`sparsevision predict`: the results of a model for images and videos."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from sparsevision.cli.names import report_skipped, split_options
from sparsevision.cli.tables import print_table, progress_bar
from sparsevision.errors import ConfigError, naming
from sparsevision.types import Table, TextOption

if TYPE_CHECKING:
    from sparsevision.inference import Predictor
    from sparsevision.tasks import Task, Writer
    from sparsevision.types import Option, Result, Skipped

_OWN = ("model", "json", "features", "draw", "batch-size", "device", "debug")


def predict(
    *images: Annotated[str, Parameter(allow_leading_hyphen=True)], model: str = "sparseformer_nano",
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False, features: Path | None = None,
    draw: Path | None = None, batch_size: int | None = None, device: str | None = None,
) -> int:  # fmt: skip
    """Classify images, or find and count objects in images and videos.

    The results are those of the model's task: a classifier names the classes of each image, a detector finds objects.
    Further options depend on the model: values of its controls and choices, options of its task (as --top-k or
    --threshold) and files that its task writes (as --coco). `sparsevision models MODEL` lists them.

    Args:
        images: Files, folders, glob patterns, - for a list of paths on standard input; videos, and camera:0 for a
            camera.
        model: A checkpoint (folder or file), a run's best/ folder, or a model's name for its published weights.
        json_: Print one JSON object a line instead of a table.
        features: Write the pooled features of every image into this .parquet or .npz file.
        draw: Write annotated images and videos into this folder.
        batch_size: Images that are read ahead; those of one size are run together. Default: the task's own number, or 1
            for a camera.
        device: cpu, cuda, cuda:1, ... Default: a GPU if there is one.
    """
    import sys

    given, options = split_options(images)
    if not given:
        # A flag that is misspelt takes the word behind it.
        taken = "".join(f" ({value!r} is the value of --{name})" for name, value in options.items() if value)
        raise ConfigError(
            f"No images were given{taken}: name files, folders or patterns, or - to read a list of paths."
        )

    from sparsevision.inference import Predictor
    from sparsevision.inference.options import resolve_options
    from sparsevision.inference.sources import find_images
    from sparsevision.inference.video import is_camera, with_frames

    if batch_size is None and any(map(is_camera, given)):
        batch_size = 1  # the result of a camera's image does not wait for further ones
    predictor = Predictor(model, device, batch_size=batch_size)
    files = writer_options(predictor.task)
    chosen = resolve_options(options, [*predictor.options.values(), *files.values()], others=_OWN)
    asked = {name: value for name, value in chosen.items() if name not in files}
    paths = {name: Path(value) for name, value in chosen.items() if name in files}
    skipped: list[Skipped] = []
    sources: Iterator[Any] = with_frames(find_images(given, sys.stdin.buffer, skipped), skipped)
    # Asked for before anything is written: what is wrong with the options is reported here.
    predictor.stream([], features=features is not None, **asked)
    with ExitStack() as stack:
        writers = _writers(predictor, features, draw, paths, stack)
        for writer in writers:
            sources = writer.watching(sources)
        results: Iterable[Any] = _counted(predictor.stream(sources, features=features is not None, **asked))
        for writer in writers:
            results = writer.passing(results)
        number = _print_lines(results) if json_ else _print_results(results)
    report_skipped(skipped + predictor.skipped, number)
    return 0


def writer_options(task: Task) -> dict[str, Option]:
    """Returns the files that a task writes and their further options, by name."""
    found: dict[str, Option] = {}
    for name, entry in task.writers.items():
        texts = {name: f"write {entry.description} into this file", **entry.options}
        found |= {each: TextOption(each, None, text) for each, text in texts.items()}
    return found


def _writers(
    predictor: Predictor, features: Path | None, draw: Path | None, paths: Mapping[str, Path], stack: ExitStack
) -> list[Writer[Any]]:
    """Opens what is written besides the table or the lines."""
    writers: list[Writer[Any]] = []
    if features is not None:
        from sparsevision.inference.feature_file import FeatureFile

        stack.enter_context(naming(features))
        writers.append(stack.enter_context(FeatureFile(features)))
    for name, entry in predictor.task.writers.items():
        own = {each: paths[each] for each in entry.options if each in paths}
        if name not in paths:
            if own:
                option = next(iter(own)).replace("_", "-")
                raise ConfigError(f"--{option} is an option of --{name}: give a file with --{name}, too.")
            continue
        stack.enter_context(naming(paths[name]))
        writers.append(stack.enter_context(entry.open(paths[name], predictor.task, **own)))
    if draw is not None:
        # Imported here: the font of annotations comes with matplotlib, which takes a second.
        from sparsevision.inference.annotated_files import AnnotatedFiles

        stack.enter_context(naming(draw))
        writers.append(stack.enter_context(AnnotatedFiles(draw)))
    return writers


def _counted(results: Iterable[Result]) -> Iterator[Result]:
    """Passes results on and shows their number on a terminal's stderr while they come."""
    with progress_bar("images") as progress:
        for number, result in enumerate(results, start=1):
            progress(number, None)
            yield result


def _print_lines(results: Iterable[Result]) -> int:
    printed = 0
    for result in results:
        print(json.dumps(result.to_dict()), flush=True)
        printed += 1
    return printed


def _print_results(results: Iterable[Result]) -> int:
    """Prints a row for each image; file names are shown as they are, however long they or the list may be."""
    rows: list[tuple[str, ...]] = []
    columns: tuple[str, ...] = ()
    for result in results:
        cells = {"image": result.name} | result.cells()
        columns = tuple(cells)
        rows.append(tuple(cells.values()))
    # Counts are aligned like numbers.
    numbers = frozenset(place for place in range(1, len(columns)) if all(row[place].isdecimal() for row in rows))
    print_table(Table(columns=columns, rows=tuple(rows), numbers=numbers), pipe_width=10_000)
    return len(rows)
