"""Videos that lists name: Kinetics' csv files, and lists of `path label`."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sparsevision.data.dataset import Dataset, Opening
from sparsevision.data.file_kinds import VIDEOS, FileKind
from sparsevision.data.layouts.label_names import named_classes, numbered
from sparsevision.data.layouts.labelled_files import LabelledFiles
from sparsevision.data.splitting import split_of_file
from sparsevision.data.texts import composed, read_text
from sparsevision.data.walking import entries_in, notes_on
from sparsevision.errors import DataError

UNMARKED = False
_SUFFIXES = (".csv", ".txt", ".tsv")
_KINETICS = {"label", "youtube_id", "time_start", "time_end"}
_HEADINGS = {"path", "video", "file", "filename", "file_name", "name"}  # of the column of paths
_HOMES = ("", "annotations", "annotation", "lists")


@dataclass(frozen=True)
class _Listed:
    """One line of a list: the video as it is written there, its label, and where it stands."""

    video: str
    label: str
    place: str


class VideoList(LabelledFiles):
    """Videos that the list of their split names; a `Dataset`.

    `root` holds the lists, or its folder `annotations` does, and the videos at any depth. A list's name tells its split
    (`train.csv`, `kinetics_val.csv`). It is one of Kinetics, with the columns label, youtube_id, time_start and
    time_end, whose videos are called `ID_START_END` (six digits each); or has lines of a path, from the folder
    of the list or from `root`, and a label: a name, or a number with `classes.txt` beside it. What is listed but not
    there is counted in `notes`.
    Raises DataError for what does not fit.
    """

    kind: ClassVar[FileKind] = VIDEOS

    def __init__(self, root: str | os.PathLike[str], split: str | None, *, side: int | None = None) -> None:
        super().__init__(root, side)
        lists = _lists(self.root)
        rows = {name: _rows(path) for name, path in lists.items() if split in (None, name) or name == "train"}
        own = [row for name, each in rows.items() if split in (None, name) for row in each]
        # Without a list of classes those of train are all there are.
        known = rows.get("train", own)
        home = next(iter(lists.values())).parent
        where = "the lists"
        named = named_classes(home) or [(label, label) for label in _labels(known, where)]
        self.classes, numbers = numbered(named, [row.label for row in own], [row.place for row in own], where)
        walked = VIDEOS.walk(os.fspath(self.root))
        places = _Places(self.root, split, [path for path, _ in walked.images])
        sizes = dict(walked.images)
        found = [(places.of(row, home), number) for row, number in zip(own, numbers, strict=True)]
        there = [(path, number) for path, number in found if path is not None]
        if not there:
            raise DataError(
                f"None of the {len(own):,} videos that {home / '*.csv' if split is None else lists[split]} lists lies "
                f"under {self.root}, first {own[0].video[:120]!r}: put them there."
            )
        self.names = [os.path.relpath(path, self.root) for path, _ in there]
        self.labels = [number for _, number in there]
        self._sizes = [sizes.get(path, 0) for path, _ in there]
        self.origin = f"{self.root}" if split is None else f"{lists[split]}"
        self.notes = notes_on([walked], VIDEOS.thing)
        if missing := [row.video for row, (path, _) in zip(own, found, strict=True) if path is None]:
            self.notes.append(
                f"{len(missing):,} of {len(own):,} listed videos are not under {self.root}, first {missing[0][:120]!r}."
            )


def recognises(spec: str) -> bool:
    """Returns whether a path is a folder with a list of videos."""
    try:
        return os.path.isdir(spec) and bool(_lists(Path(spec)))
    except DataError:
        return True  # what is wrong with the lists is said where they are opened


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits that have a list."""
    lists = _lists(Path(spec))
    return tuple(split for split in ("train", "val", "test") if split in lists)


def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
    """Opens the videos of a list, or of all lists; see `VideoList`."""
    return VideoList(spec, split, side=opening.side)


def _lists(root: Path) -> dict[str, Path]:
    """Finds the list of each split, in the first folder that has any; raises DataError for two of one split."""
    for home in _HOMES:
        found: dict[str, Path] = {}
        for entry in entries_in(root / home):
            path = Path(entry.path)
            if path.suffix.lower() not in _SUFFIXES or entry.name.startswith(".") or not _lists_videos(path):
                continue
            split = split_of_file(path.stem) or ("val" if "validate" in path.stem.lower() else None)
            if split is None:
                continue
            if split in found:
                raise DataError(
                    f"{found[split]} and {path} both list videos of the split {split!r}: leave one of them."
                )
            found[split] = path
        if found:
            return found
    return {}


def _lists_videos(path: Path) -> bool:
    """Looks at the first two lines of a file, one of which may be a heading."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            lines = [file.readline(4096) for _ in range(2)]
    except OSError:
        return False
    if _is_kinetics(lines[0]):
        return True
    found = (_divided(line.strip("\r\n")) for line in lines)
    return any(len(row) >= 2 and VIDEOS.wanted(row[0]) for row in found)


def _is_kinetics(heading: str) -> bool:
    return {"youtube_id", "time_start"} <= {name.strip().strip('"').lower() for name in heading.split(",")}


def _divided(line: str) -> list[str]:
    """Divides a line at commas or tabs as csv does, else at the last space."""
    for mark in (",", "\t"):
        if mark in line:
            return [part.strip() for part in next(csv.reader([line], delimiter=mark, skipinitialspace=True))]
    return [part.strip() for part in line.rsplit(maxsplit=1)]


def _rows(path: Path) -> list[_Listed]:
    text = composed(read_text(path))
    try:
        rows = list((_kinetics_rows if _is_kinetics(text.split("\n", 1)[0]) else _plain_rows)(path, text))
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as CSV ({error}): correct its quotes.") from error
    if not rows:
        raise DataError(f"{path} lists no videos: write lines of a path and a label.")
    return rows


def _kinetics_rows(path: Path, text: str) -> Iterator[_Listed]:
    table = csv.DictReader(text.splitlines())
    table.fieldnames = [name.strip().lower() for name in table.fieldnames or ()]
    if lacking := _KINETICS - {*table.fieldnames}:
        raise DataError(f"{path} has no column {sorted(lacking)[0]!r}: its videos cannot be scored.")
    for row in table:
        place = f"{path}, line {table.line_num}"
        try:
            start, end = (round(float(row[name])) for name in ("time_start", "time_end"))
        except (TypeError, ValueError, OverflowError):
            raise DataError(f"{place}: the times of a video are numbers of seconds: correct the line.") from None
        if not (row["youtube_id"] and row["label"]):
            raise DataError(f"{place}: a video has an id and a label: correct the line.")
        yield _Listed(f"{row['youtube_id'].strip()}_{start:06d}_{end:06d}", row["label"].strip(), place)


def _plain_rows(path: Path, text: str) -> Iterator[_Listed]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        row = _divided(line)
        if number == 1 and row[0].lower() in _HEADINGS:
            continue
        if len(row) != 2 or not all(row):
            raise DataError(f"{path}, line {number}: {line[:80]!r} is not a path and a label: correct the line.")
        yield _Listed(row[0], row[1], f"{path}, line {number}")


def _labels(rows: Sequence[_Listed], where: str) -> list[str]:
    """Returns the classes that labels tell, in order: as many as the largest number says where all are numbers."""
    classes, _ = numbered(None, [row.label for row in rows], [row.place for row in rows], where)
    return [*classes]


class _Places:
    """Where videos lie, by the ways in which lists name them."""

    def __init__(self, root: Path, split: str | None, paths: Sequence[str]) -> None:
        self.root, self.paths = root, {*paths}
        self._by_stem: dict[str, str] = {}
        # A repaired copy goes first, then one in the folder of the split.
        for path in sorted(paths, key=lambda path: ("replacement" in path, split is not None and f"/{split}/" in path)):
            self._by_stem[Path(path).stem] = path

    def of(self, row: _Listed, home: Path) -> str | None:
        """Returns the path of a row's video, None where it is not there."""
        for folder in (home, self.root):
            path = os.path.normpath(folder / row.video)
            if path in self.paths or (VIDEOS.wanted(path) and os.path.isfile(path)):
                return path
        return None if VIDEOS.wanted(row.video) else self._by_stem.get(row.video)
