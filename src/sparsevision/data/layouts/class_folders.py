"""A folder of class folders, with train/ and val/ inside or without."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

from sparsevision.data.caching import cached
from sparsevision.data.dataset import Dataset, Opening, Record, Split, check_split, fingerprint_of
from sparsevision.data.reading import decode_image, is_image_name, read_bytes
from sparsevision.data.subset import HEAD_BYTES, digest_of, held_out
from sparsevision.errors import DataError

UNMARKED = True  # any folder of folders may be one
SPLIT_FOLDERS: dict[str, tuple[str, ...]] = {"train": ("train", "training"), "val": ("val", "valid", "validation")}


class ImageFolder:
    """Images whose label is the name of the folder they lie in; a `Dataset`.

    `root` holds either class folders, or `train` and `val` folders (also `training`, `valid`, `validation`) that hold
    class folders. Without both, a stratified `val_fraction` is held out by the hash of the files' content and `seed`.
    Images may lie deeper inside their class folder. A file `classes.txt` in `root` with lines `folder<TAB>name` gives
    folders readable names. `side` is the short side below which a JPEG is not reduced while decoding.
    Raises DataError for what is not such a folder.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: Split = "train",
        opening: Opening = Opening(),
    ) -> None:
        self.root = Path(root)
        self.split = check_split(split)
        self.side = opening.side
        parts = _split_folders(self.root)
        homes = [parts[name] for name in ("train", "val") if name in parts] or [self.root]
        self._folders = _class_folders(homes, required=homes[0])
        self.classes = _readable_names(self.root, self._folders)
        divided = "val" in parts
        if divided and split != "all":
            if split not in parts:
                raise DataError(f"{self.root} has a folder of validation images but no 'train' folder: add it.")
            homes = [parts[split]]
        self.names, self.labels, self._sizes = _images(self.root, homes, self._folders)
        self.origin = f"{self.root}, split {split!r} as its folders have it"
        if not divided and split != "all":
            self._hold_out(opening)
            self.origin = (
                f"{self.root}, split {split!r} of a stratified split by file hash "
                f"({opening.val_fraction:.0%} of each class for validation, seed {opening.seed})"
            )
        if not self.names:
            raise DataError(f"The split {split!r} of {self.root} has no images: put some in or choose another split.")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the classes, and with the path, size or label of any image."""
        return fingerprint_of(self.classes, zip(self.names, self.labels, self._sizes, strict=True))

    def path(self, index: int) -> Path:
        """Returns where an image lies."""
        return self.root / self.names[index]

    def read(self, index: int) -> Record:
        """Decodes one image; raises UnreadableImageError."""
        path = os.fspath(self.path(index))
        image, size = decode_image(path, side=self.side)
        return Record(image, self.labels[index], path, original_size=size)

    def content(self, index: int) -> bytes:
        """The bytes of the image's file; raises UnreadableImageError."""
        return read_bytes(os.fspath(self.path(index)))

    def _hold_out(self, opening: Opening) -> None:
        digests = [_digest(os.fspath(self.path(index)), size) for index, size in enumerate(self._sizes)]
        validation = held_out(digests, self.labels, opening.val_fraction, opening.seed)
        kept = [index for index, is_val in enumerate(validation) if is_val == (self.split == "val")]
        self.names = [self.names[index] for index in kept]
        self.labels = [self.labels[index] for index in kept]
        self._sizes = [self._sizes[index] for index in kept]


def recognises(spec: str) -> bool:
    """Returns whether a path is a folder."""
    return os.path.isdir(spec)


def open_split(spec: str, split: str, opening: Opening) -> Dataset:
    """Opens a split of class folders; see `ImageFolder`."""
    dataset = ImageFolder(spec, check_split(split), opening)
    return cached(dataset, opening.cache)


@lru_cache(maxsize=1 << 18)
def _digest(path: str, size: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return digest_of(file.read(HEAD_BYTES), size)
    except OSError:
        # It will be skipped, and named, when it is its turn to be read.
        return digest_of(os.path.basename(path).encode(errors="surrogateescape"), size)


def _split_folders(root: Path) -> dict[str, Path]:
    """Finds the train and val folders inside a data set's folder; raises DataError where the folder does not exist."""
    if not root.exists():
        raise DataError(f"The data set {root} does not exist: give a folder of class folders, tar shards or 'digits'.")
    if not root.is_dir():
        raise DataError(f"The data set {root} is a file: give a folder of class folders or .tar shards.")
    found = {}
    for split, candidates in SPLIT_FOLDERS.items():
        for candidate in candidates:
            # A folder of images with such a name is a class: trains are photographed, too.
            if (root / candidate).is_dir() and any(entry.is_dir() for entry in _entries(root / candidate)):
                found[split] = root / candidate
                break
    return found


def _class_folders(homes: Sequence[Path], required: Path) -> tuple[str, ...]:
    """Lists the class folders, by name; those of `required` are all there are."""
    names = sorted(entry.name for entry in _entries(required) if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        loose = sum(1 for entry in _entries(required) if is_image_name(entry.name))
        has = f"has {loose} images but no class folders" if loose else "has no class folders"
        raise DataError(f"{required} {has}: put the images of each class into a folder named after the class.")
    for name in names:
        if any("\ud800" <= letter <= "\udfff" for letter in name):  # how Python holds bytes that are not UTF-8
            raise DataError(f"The name of the class folder {str(required / name)!r} is not UTF-8: rename it.")
    for home in homes:
        for entry in _entries(home):
            if (
                entry.is_dir()
                and not entry.name.startswith(".")
                and entry.name not in names
                and walk_images(entry.path)
            ):
                raise DataError(
                    f"{home} has images of a class {entry.name!r} that {required} has not: every class needs a "
                    f"folder in {required}."
                )
    return tuple(names)


def _images(root: Path, homes: Sequence[Path], folders: Sequence[str]) -> tuple[list[str], list[int], list[int]]:
    """Lists (path relative to root, label, bytes) of all images in the class folders of `homes`."""
    paths: list[str] = []
    labels: list[int] = []
    sizes: list[int] = []
    for home in homes:
        is_training = home is homes[0]
        for label, folder in enumerate(folders):
            found = walk_images(os.fspath(home / folder))
            if not found and is_training and home.name not in SPLIT_FOLDERS["val"]:
                raise DataError(
                    f"The class folder {home / folder} has no images (.jpg, .png, .webp, ...): put some in or "
                    f"remove it."
                )
            paths.extend(os.path.relpath(path, root) for path, _ in found)
            labels.extend([label] * len(found))
            sizes.extend(size for _, size in found)
    return paths, labels, sizes


def walk_images(folder: str) -> list[tuple[str, int]]:
    """Lists (path, bytes) of the images under a folder, sorted by path."""
    found = []
    for parent, _, files in os.walk(folder, onerror=_refuse):
        for file in files:
            if is_image_name(file) and not file.startswith("."):
                path = os.path.join(parent, file)
                found.append((path, os.stat(path).st_size if os.path.exists(path) else 0))
    return sorted(found)


def _refuse(error: OSError) -> None:
    # A folder whose images cannot be listed would be left out without a word.
    if not isinstance(error, FileNotFoundError):
        raise DataError(f"The folder {error.filename} cannot be listed: {error.strerror}.") from error


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be listed: {error.strerror}.") from error


def _readable_names(root: Path, folders: Sequence[str]) -> tuple[str, ...]:
    """Reads class names from `classes.txt` where it has `folder<TAB>name`; a name for two folders says which."""
    try:
        lines = (root / "classes.txt").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return tuple(folders)
    pairs = dict(line.split("\t", 1) for line in lines if "\t" in line)
    names = [pairs.get(folder, folder).strip() for folder in folders]
    times = Counter(names)
    return tuple(
        name if times[name] == 1 else f"{name} ({folder})" for name, folder in zip(names, folders, strict=True)
    )
