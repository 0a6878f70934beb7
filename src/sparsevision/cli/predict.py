"""`sparsevision predict`: the results of a model for images and videos."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from sparsevision.cli.names import report_omitted, report_skipped, split_options
from sparsevision.cli.tables import print_table, progress_bar, show_status
from sparsevision.errors import ConfigError, naming
from sparsevision.files import OutputFolder, check_different, check_new
from sparsevision.stopping import StopRequest
from sparsevision.types import Table, TextOption

if TYPE_CHECKING:
    from sparsevision.inference import Predictor
    from sparsevision.tasks import Task, Writer
    from sparsevision.types import Option, Result, Skipped

_MODEL = "sparseformer_nano"
_OWN = ("model", "json", "features", "draw", "overwrite", "batch-size", "device", "runtime", "debug")


def predict(
    *images: Annotated[str, Parameter(allow_leading_hyphen=True)], model: str | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False, features: Path | None = None,
    draw: Path | None = None, overwrite: Annotated[bool, Parameter(negative="")] = False,
    batch_size: int | None = None, device: str | None = None,
    runtime: Literal["pytorch", "auto", "onnxruntime", "openvino"] = "pytorch",
) -> int:  # fmt: skip
    """Classify images or their pixels, or find and count objects in images and videos.

    The results are those of the model's task: a classifier names the classes of each image, a detector finds objects, a
    segmenter gives every pixel a class. Further options depend on the model: values of its controls and choices,
    options of its task (as --top-k or --threshold) and files that its task writes (as --coco or --masks).
    `sparsevision models MODEL` lists them.

    Args:
        images: Files, folders, glob patterns, - for a list of paths on standard input; videos, and camera:0 for a
            camera.
        model: A checkpoint (folder or file), a run's best/ folder, or a model's name for its published weights.
            Default: sparseformer_nano.
        json_: Print one JSON object a line instead of a table.
        features: Write the pooled features of every image into this .parquet or .npz file.
        draw: Write annotated images and videos into this folder. What `predict` wrote there before is replaced and not
            read as an image; beside a file of the same name a number is added.
        overwrite: Replace files that exist already. Files that are read are never replaced.
        batch_size: Images that are read ahead; those of one size are run together. Default: the task's own number, or 1
            for a camera or a stream.
        device: cpu, cuda, cuda:1, ... Default: a GPU if there is one.
        runtime: auto exports the model once, into the cache, and takes what is fastest on this machine's CPU of what is
            installed: the time of the first call is longer. Or name one.
    """
    given, options = _sources(images)
    unnamed = model is None
    weights = model = _MODEL if model is None else model
    if runtime != "pytorch":
        model, options = _in_runtime(model, runtime, options, device, features)
    from sparsevision.inference import Predictor
    from sparsevision.inference.options import resolve_options
    from sparsevision.inference.video import is_live
    from sparsevision.models.registry import variant_named

    if batch_size is None and any(map(is_live, given)):
        batch_size = 1  # the result of a camera's image does not wait for further ones
    predictor = Predictor(model, device, batch_size=batch_size)
    files = writer_options(predictor.task)
    chosen = resolve_options(options, [*predictor.options.values(), *files.values()], others=_OWN)
    asked = {name: value for name, value in chosen.items() if name not in files}
    paths = {name: Path(value) for name, value in chosen.items() if name in files}
    skipped: list[Skipped] = []
    sources = _inputs(predictor, given, skipped, drawn=draw is not None)
    # Asked for before anything is written: what is wrong with the options is reported here.
    predictor.stream([], features=features is not None, **asked)
    outputs = _Outputs([*given], [Path(weights), Path(model)], overwrite)
    shown = _Lines() if json_ else _Rows(predictor.task.things.removesuffix("s"))
    with StopRequest() as stop:
        with ExitStack() as stack:
            writers = _writers(predictor, features, draw, paths, outputs, stack)
            sources = stop.ending(sources)
            for writer in writers:
                sources = writer.watching(sources)
            results: Iterable[Any] = _counted(predictor.stream(sources, features=features is not None, **asked), stop)
            for writer in writers:
                results = writer.passing(results)
            for result in results:
                shown.add(result, stop)
        # After the files are complete: a console that is closed by now cannot take them along.
        shown.end()
    if not stop.signal or shown.number:
        report_skipped(skipped + predictor.skipped, shown.number)
    for caveat in () if json_ else predictor.task.caveats(**asked):
        print(caveat, file=sys.stderr)
    if unnamed and shown.number and not json_:
        print(f"Model: {variant_named(_MODEL).tagged_name}, as no --model was given.", file=sys.stderr)
    for writer in writers:
        report_omitted(writer.omitted, shown.number)
        if writer.note and not json_:
            print(writer.note, file=sys.stderr)
    stop.raise_if_stopped(f"after {shown.number} {predictor.task.things}, whose results are complete")
    return 0


def _in_runtime(
    model: str, runtime: Literal["auto", "onnxruntime", "openvino"], options: dict[str, str], device: str | None,
    features: Path | None,
) -> tuple[str, dict[str, str]]:  # fmt: skip
    """Returns the file that a runtime runs in the model's place, and the options that are not fixed in it."""
    from sparsevision.export.fastest import choose_runtime
    from sparsevision.factory import open_model
    from sparsevision.inference.options import options_of, resolve_options

    if device not in (None, "cpu"):
        raise ConfigError(f"--runtime {runtime} is for the CPU: omit --device {device}.")
    if features is not None:
        raise ConfigError(f"An exported model has no pooled features: omit --runtime {runtime}.")
    known = options_of(open_model(model)) if options else {}
    names = {name for name in options if name.replace("-", "_") in known}
    fixed = resolve_options({name: options[name] for name in names}, known.values(), others=_OWN)
    with show_status("choosing a runtime") as status:
        chosen = choose_runtime(model, runtime, controls=fixed, progress=status.update)
    print(f"Runtime: {chosen.title}. {chosen.reason}".strip(), file=sys.stderr)
    if chosen.file is None:
        return model, options
    return str(chosen.file), {name: value for name, value in options.items() if name not in names}


def _inputs(predictor: Predictor, given: Sequence[str], skipped: list[Skipped], *, drawn: bool) -> Iterator[Any]:
    """Yields what the predictor takes: images and frames of videos; of a model of videos their clips, or whole files.

    Raises ConfigError for a source without an end where whole videos are seen.
    """
    from sparsevision.inference.clips import clips_of, in_windows
    from sparsevision.inference.sources import find_images
    from sparsevision.inference.video import is_live, with_frames

    clips = predictor.task.things == "videos"
    found = find_images(given, sys.stdin.buffer, skipped, videos=clips)
    if not clips:
        return with_frames(found, skipped)
    if in_windows(predictor.preprocessing):
        return clips_of(with_frames(found, skipped), predictor.preprocessing, all_frames=drawn)
    if live := next(filter(is_live, given), None):
        raise ConfigError(f"The model sees whole videos, and {live} has no end: give files.")
    return found


def _sources(words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Divides words into sources and options; raises ConfigError where there is no source."""
    given, options = split_options(words)
    if not given:
        # A flag that is misspelt takes the word behind it.
        taken = "".join(f" ({value!r} is the value of --{name})" for name, value in options.items() if value)
        raise ConfigError(
            f"No images were given{taken}: name files, folders or patterns, or - to read a list of paths."
        )
    return given, options


def writer_options(task: Task) -> dict[str, Option]:
    """Returns the files that a task writes and their further options, by name."""
    found: dict[str, Option] = {}
    for name, entry in task.writers.items():
        where = "folder" if entry.folder else "file"
        texts = {name: f"write {entry.description} into this {where}", **entry.options}
        found |= {each: TextOption(each, None, text) for each, text in texts.items()}
    return found


class _Outputs(NamedTuple):
    """What decides whether a file may be written: the sources, further files that are read, and --overwrite."""

    sources: list[str]
    read: list[Path]
    overwrite: bool

    def check(self, path: Path) -> None:
        """Raises ConfigError for a file that is not to be written."""
        from sparsevision.inference.sources import inputs_in

        inputs = [path.parent / name for name in inputs_in(path.parent, self.sources)]
        check_new(path, overwrite=self.overwrite, inputs=[*self.read, *inputs])

    def folder(self, path: Path, files: Sequence[Path]) -> OutputFolder:
        """Opens a folder of outputs, into which these files are written, too."""
        from sparsevision.inference.sources import inputs_in

        # What is in the folder is written before these files are complete.
        kept = {each.name for each in files if each.absolute().parent.resolve() == path.resolve()}
        inputs = inputs_in(path, self.sources) | kept
        return OutputFolder(path, "predict", overwrite=self.overwrite, inputs=inputs)


def _writers(
    predictor: Predictor, features: Path | None, draw: Path | None, paths: Mapping[str, Path], outputs: _Outputs,
    stack: ExitStack,
) -> list[Writer[Any]]:  # fmt: skip
    """Opens what is written besides the table or the lines."""
    writers: list[Writer[Any]] = []
    folders: dict[str, tuple[Path, Callable[[OutputFolder], Writer[Any]]]] = {}
    files = [] if features is None else [features]
    if features is not None:
        from sparsevision.inference.feature_file import FeatureFile

        outputs.check(features)
        stack.enter_context(naming(features))
        writers.append(stack.enter_context(FeatureFile(features)))
    for name, entry in predictor.task.writers.items():
        own = {each: paths[each] for each in entry.options if each in paths}
        if name not in paths:
            if own:
                option = next(iter(own)).replace("_", "-")
                raise ConfigError(f"--{option} is an option of --{name}: give a file with --{name}, too.")
            continue
        if entry.folder:
            folders[name] = (paths[name], partial(entry.open, task=predictor.task, **own))
            continue
        written = (paths[name], *entry.beside(paths[name], **own))
        files += written
        for path in written:
            outputs._replace(read=[*outputs.read, *own.values()]).check(path)
        check_different(files)
        stack.enter_context(naming(paths[name]))
        writers.append(stack.enter_context(entry.open(paths[name], predictor.task, **own)))
    if draw is not None:
        # Imported here: the font of annotations comes with matplotlib, which takes a second.
        from sparsevision.inference.annotated_files import AnnotatedFiles

        folders["draw"] = (draw, AnnotatedFiles)
    check_different([*files, *(path for path, _ in folders.values())])
    for path, open_folder in folders.values():
        stack.enter_context(naming(path))
        writers.append(stack.enter_context(open_folder(outputs.folder(path, files))))
    return writers


def _counted(results: Iterable[Result], stop: StopRequest) -> Iterator[Result]:
    """Passes results on until a signal to stop comes, and shows their number on a terminal's stderr meanwhile."""
    with progress_bar("images") as progress:
        for number, result in enumerate(results, start=1):
            progress(number, None)
            yield result
            if stop.signal is not None:
                return


class _Lines:
    """Prints a JSON line for each result as it comes."""

    number = 0

    def add(self, result: Result, stop: StopRequest) -> None:
        try:
            print(json.dumps(result.to_dict()), flush=True)
        except OSError:
            # A terminal that was closed, which is why we are to stop: the files are completed all the same.
            if stop.signal is None:
                raise
        self.number += 1

    def end(self) -> None:
        """All is printed."""


class _Rows(_Lines):
    """Prints a row for each image in the end; file names are shown as they are, however long they or the list are."""

    def __init__(self, thing: str) -> None:
        self._rows: list[tuple[str, ...]] = []
        self._thing = thing
        self._columns: tuple[str, ...] = (thing,)
        self._note = ""

    def add(self, result: Result, stop: StopRequest) -> None:
        cells, self._note = result.cells(), result.cells_note
        self._columns = (self._thing, *cells)  # a class may be called image, too
        self._rows.append((result.name, *cells.values()))
        self.number += 1

    def end(self) -> None:
        """Prints the table, in which counts are aligned like numbers."""
        places = range(1, len(self._columns))
        numbers = frozenset(place for place in places if all(row[place].isdecimal() for row in self._rows))
        table = Table(columns=self._columns, rows=tuple(self._rows), numbers=numbers, note=self._note)
        print_table(table, pipe_width=10_000)
