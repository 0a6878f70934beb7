"""A folder of class folders, or of a folder of these for each split."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from sparsevision.data.dataset import Dataset, Opening
from sparsevision.data.file_kinds import IMAGES, VIDEOS, FileKind
from sparsevision.data.layouts import yolo
from sparsevision.data.layouts.labelled_files import LabelledFiles
from sparsevision.data.splitting import split_and_rest, split_of_folder
from sparsevision.data.texts import composed, read_text
from sparsevision.data.walking import Walked, is_passed_over, notes_on
from sparsevision.errors import DataError
from sparsevision.files import WHOLE, recorded_in
from sparsevision.wording import count_of

UNMARKED = True  # any folder of folders may be one
# Folders of data sets with masks, and of those with boxes.
_OF_MASKS = frozenset(("images", "image", "imgs", "img", "labels", "label", "masks", "mask", "annotations"))
_OF_BOXES = ("annotations", "labels", "imagesets", "jpegimages")


class ImageFolder(LabelledFiles):
    """Images whose label is the name of the folder they lie in; a `Dataset`.

    `root` holds either class folders, or folders for splits that hold class folders: `split` is one of them, or None.
    Images may lie deeper inside their class folder. A file `classes.txt` in `root` with lines `folder<TAB>name` gives
    folders readable names. `side` is the short side below which a JPEG is not reduced while decoding. `notes` says in
    sentences what is not read.
    Raises DataError for what is not such a folder.
    """

    def __init__(self, root: str | os.PathLike[str], split: str | None = None, *, side: int | None = None) -> None:
        super().__init__(root, side)
        kind = self.kind
        homes = split_folders(self.root, kind)
        if split is not None and split not in homes:
            raise DataError(f"{self.root} has no folder for the split {split!r}.")
        first = next(iter(homes.values()), self.root)
        own = self.root if split is None else homes[split]
        # Classes are those of train, and no split has others. What only test has is told when test is scored.
        checked = [home for name, home in homes.items() if name in ("train", "val")]
        folders = _class_folders(first, [*checked, own], kind)
        self.classes = _readable_names(self.root, folders)
        # A folder may be spelled otherwise in Unicode here than there.
        paths = {composed(os.path.basename(path)): path for path in _folders(own)}
        found = [kind.walk(paths[folder]) if folder in paths else Walked() for folder in folders]
        if split in (None, "train") and not all(walked.images for walked in found):
            empty, walked = next(each for each in zip(folders, found, strict=True) if not each[1].images)
            if empty.casefold() in _OF_BOXES:
                said = f"The folder {own / empty} is one of annotations: {own} is not one of class folders."
                if walked.texts[".txt"] and not yolo.recognises(os.fspath(self.root)):
                    said += f" For boxes as YOLO has them, write the classes' names into {self.root / yolo.FILES[0]}."
                raise DataError(said)
            bare = f"The class folder {own / empty} has no {kind.things}"
            for other in (IMAGES, VIDEOS):
                if any(other.wanted(f"x{suffix}") for suffix in walked.unread):
                    raise DataError(f"{bare} but {other.things}: name a --model for {other.things}.")
            raise DataError(f"{bare} ({kind.examples}, ...): put some in or remove it.")
        if len(folders) > 1 and _OF_MASKS.issuperset(map(str.casefold, folders)):
            raise DataError(
                f"The folders {' and '.join(map(repr, folders))} in {first} seem to be images and their masks, not "
                "classes: name a --model for masks, or rename the folders."
            )
        _refuse_boxes(own, found)
        rows = [(path, label, size) for label, walked in enumerate(found) for path, size in walked.images]
        self.names = [os.path.relpath(path, self.root) for path, _, _ in rows]
        self.labels = [label for _, label, _ in rows]
        self._sizes = [size for _, _, size in rows]
        self.notes = [
            *notes_on([*found, _passed_over(own, kind)], kind.thing), *_beside(own, kind),
            *_beside_splits(self.root, homes, kind),
            *_unused_names(self.root, folders),
        ]  # fmt: skip
        self.origin = f"{self.root}" if split is None else f"{self.root}, split {split!r} as its folders have it"
        if not self.names:
            raise DataError(
                f"The split {split!r} of {self.root} has no {kind.things}: put some in or choose another split."
            )


def recognises(spec: str) -> bool:
    """Returns whether a path is a folder."""
    return os.path.isdir(spec)


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits that have a folder."""
    return tuple(split_folders(Path(spec), IMAGES))


def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
    """Opens the class folders of a split, or those of a folder without splits; see `ImageFolder`."""
    return ImageFolder(spec, split, side=opening.side)


def split_folders(root: Path, kind: FileKind) -> dict[str, Path]:
    """Finds the folders of splits in a data set's folder, train first; raises DataError where that does not exist.

    A folder of images with such a name is a class: trains are photographed, too.
    """
    if not root.exists():
        raise DataError(f"The data set {root} does not exist: give the path of one that does, or 'digits'.")
    if not root.is_dir():
        raise DataError(
            f"The data set {root} is a file: give the folder of the data set, such as {root.parent}, or .tar shards."
        )
    found: dict[str, Path] = {}
    for folder in map(Path, _folders(root)):
        split = split_of_folder(folder.name)
        if split is None or not _folders(folder):
            continue
        if split in found:
            raise DataError(
                f"{root} has two folders for the split {split!r}, {found[split].name!r} and {folder.name!r}: put them "
                "together, or rename one."
            )
        found[split] = folder
    if len(found) == 1 and (others := _others(root, found, kind)):
        [folder] = found.values()
        raise DataError(
            f"{root} has the folder {folder.name!r}, which may be a split or a class, beside {others[0]!r}: rename it, "
            f"or give the folder of the {kind.things} alone."
        )
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _others(root: Path, homes: Mapping[str, Path], kind: FileKind) -> list[str]:
    """Names the folders with images beside those of splits."""
    beside = (path for path in map(Path, _folders(root)) if path not in homes.values())
    return [path.name for path in beside if kind.walk(os.fspath(path)).images]


def _passed_over(home: Path, kind: FileKind) -> Walked:
    """Counts the images in folders beside class folders that are none themselves."""
    found = Walked(wanted=kind.wanted)
    for entry in _entries(home):
        if entry.is_dir() and is_passed_over(entry.name):
            found.pass_over(entry.path)
    return found


def _beside(home: Path, kind: FileKind) -> list[str]:
    """Returns a sentence about images that lie in no class folder."""
    loose = [entry.name for entry in _entries(home) if kind.wanted(entry.name) and not entry.name.startswith(".")]
    if not loose:
        return []
    what = count_of(len(loose), kind.thing)
    return [f"Not read: {what} beside the class folders of {home}, first {min(loose)}."]


def _beside_splits(root: Path, homes: Mapping[str, Path], kind: FileKind) -> list[str]:
    """Returns a sentence about folders of images that belong to no split."""
    others = _others(root, homes, kind) if homes else []
    return [f"Folders of {kind.things} beside the splits are not read: {', '.join(others)}."] if others else []


def _refuse_boxes(home: Path, found: Sequence[Walked]) -> None:
    """Raises DataError for images with an xml each: they are annotated with boxes, in a place where none are read."""
    pages = sum(each.texts[".xml"] for each in found)
    if pages * 2 > sum(len(each.images) for each in found):
        raise DataError(
            f"{pages:,} xml files lie among the images of {home}: if they are boxes of Pascal VOC, put them into a "
            "folder Annotations, or into the folder of their split itself."
        )


def _refuse_splits(home: Path) -> None:
    """Raises DataError for class folders that are the splits of something, as "train" and "test" or "seg_train"."""
    by_rest: dict[str, dict[str, str]] = {}
    paths = _folders(home)
    for name in map(os.path.basename, paths):
        for split, rest in split_and_rest(name):
            by_rest.setdefault(rest, {}).setdefault(split, name)
    if pair := next((list(each.values()) for each in by_rest.values() if len(each) > 1), None):
        raise DataError(
            f"The folders {pair[0]!r} and {pair[1]!r} in {home} seem to be splits, not classes: name them train and "
            "val or test, with a folder for each class in them."
        )
    for path in paths:
        inside = {os.path.basename(each).casefold() for each in _folders(Path(path))}
        if inside >= {"annotations", "jpegimages"}:
            raise DataError(f"{path} is a data set with boxes of its own: give that folder.")


def _class_folders(required: Path, homes: Sequence[Path], kind: FileKind) -> tuple[str, ...]:
    """Lists the class folders of `required` by name; raises DataError where one of `homes` has images of another."""
    names = [composed(os.path.basename(path)) for path in _folders(required)]
    if not names:
        loose = sum(kind.wanted(entry.name) for entry in _entries(required))
        has = f"has {count_of(loose, kind.thing)} but no class folders" if loose else "has no class folders"
        raise DataError(f"{required} {has}: put the {kind.things} of each class into a folder named after the class.")
    _refuse_splits(required)
    for name in names:
        if any("\ud800" <= letter <= "\udfff" for letter in name):  # how Python holds bytes that are not UTF-8
            raise DataError(f"The name of the class folder {str(required / name)!r} is not UTF-8: rename it.")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise DataError(
            f"{required} has two class folders named {repeated[0]!r}, in two spellings that look the same: put their "
            f"{kind.things} together."
        )
    for home in homes:
        for path in _folders(home):
            name = composed(os.path.basename(path))
            if name not in names and kind.walk(path).images:
                raise DataError(
                    f"{home} has {kind.things} of a class {name!r} that {required} has not: every class needs a "
                    f"folder in {required}."
                )
    return tuple(sorted(names))


def _folders(folder: Path) -> list[str]:
    """Lists the folders in a folder, sorted, without hidden ones, those of systems, and those of training runs."""
    paths = (entry.path for entry in _entries(folder) if entry.is_dir() and not is_passed_over(entry.name))
    return sorted(path for path in paths if WHOLE not in recorded_in(path))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be listed: {error.strerror}.") from error


def _readable_names(root: Path, folders: Sequence[str]) -> tuple[str, ...]:
    """Reads class names from `classes.txt` where it has `folder<TAB>name`; a name for two folders says which."""
    pairs = _pairs(root)
    names = [pairs.get(folder, folder).strip() for folder in folders]
    times = Counter(names)
    return tuple(
        name if times[name] == 1 else f"{name} ({folder})" for name, folder in zip(names, folders, strict=True)
    )


def _pairs(root: Path) -> dict[str, str]:
    """Returns the readable name of each folder that `classes.txt` has one for."""
    path = root / "classes.txt"
    lines = read_text(path).splitlines() if path.is_file() else []
    return {composed(key).strip(): name for key, name in (line.split("\t", 1) for line in lines if "\t" in line)}


def _unused_names(root: Path, folders: Sequence[str]) -> list[str]:
    """Returns a sentence about a `classes.txt` that names folders which are not there, or none at all."""
    if not (root / "classes.txt").is_file():
        return []
    pairs = _pairs(root)
    if not pairs:
        plain = {composed(line).strip() for line in read_text(root / "classes.txt").splitlines()} - {""}
        known = plain <= {*folders}
        return [] if known else [f"{root / 'classes.txt'} is not used: its lines are not 'folder<TAB>name'."]
    others = sorted(pairs.keys() - {*folders})
    what = f"Of folders that are not there: {count_of(len(others), 'line')} of {root / 'classes.txt'}"
    return [f"{what}, first {others[0][:80]!r}."] if others else []
