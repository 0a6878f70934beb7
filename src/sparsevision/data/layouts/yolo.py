"""Images with boxes in the layout that YOLO is trained on: data.yaml, and a text of boxes for every image."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsevision.data.dataset import Dataset, Opening
from sparsevision.data.layouts import annotated_images
from sparsevision.data.layouts.annotated_images import AnnotatedImages, Annotation, located, located_image, named_twice
from sparsevision.data.reading import is_image_name
from sparsevision.data.splitting import split_of_folder
from sparsevision.data.texts import composed, read_text
from sparsevision.data.walking import Walked, notes_on, walk_images
from sparsevision.errors import DataError, MissingExtraError
from sparsevision.wording import count_of

FILES = ("data.yaml", "data.yml", "dataset.yaml")
UNMARKED = False
_ROUNDING = 0.02  # of the image, by which a keypoint may leave its box, and a box its image
_BEYOND = 1.5  # of the image's sides: what no fraction of them is
_NEARLY_ALL = 0.75
_OUTLINED = ("segment", "obb")
_NOTHING: tuple[object, ...] = ("", "~", "null", [])


class YoloImages(AnnotatedImages):
    """Images and boxes of one split of a data set in ultralytics' layout; a `Dataset` whose targets are `Objects`.

    `root` holds `data.yaml` with the `names` of the classes and where the images of `train`, `val` and `test` lie:
    folders, or texts that list images. Where it has nothing for a split, `images/SPLIT` and `SPLIT/images` are tried.
    The boxes of `.../images/a.jpg` are in `.../labels/a.txt`, or else beside the image; an image without such a text
    shows nothing. A line is a class and a box, the centre's x and y, width and height as fractions of the image; or a
    class and an outline, of which the box is taken. What follows a box (a confidence, the number of a track, keypoints)
    is left out, and `notes` tells so. No image is opened before it is read.
    Raises DataError, one sentence, for what is not such a data set.
    """

    layout = "YOLO"

    def __init__(self, root: str | os.PathLike[str], split: str | None, *, side: int | None = None) -> None:
        self.root, self.split = Path(root), split
        self.yaml = _described_by(self.root)
        content = _read_yaml(self.yaml)
        names = _names(content, self.yaml)
        places = _places(self.root, content, split, self.yaml)
        listed = [_listed(place, _bases(self.root, content)) for place in places]
        paths = [Path(path) for each in listed for path, _ in each.images]
        if not paths:
            raise DataError(f"The split {split!r} of {self.root} has no images where {self.yaml.name} says.")
        texts = _texts(paths)
        rows = [_rows(path) for path in texts]
        form, notes = _form(rows, content, self.root)
        notes += [*notes_on(listed), *named_twice(paths, list(map(os.fspath, paths)))]
        if all(place.is_dir() for place in places):
            notes += _without_image(texts)
        labels = {number: label for label, number in enumerate(names)}
        super().__init__(
            list(names.values()), paths, [_things(each, labels, form) for each in rows],
            names=[os.path.relpath(path, self.root) for path in paths],
            origin=f"{self.root}, {f'split {split!r}' if split else 'undivided'}, boxes from the texts of the images",
            category_ids=list(names), side=side, notes=notes,
        )  # fmt: skip


def recognises(spec: str) -> bool:
    """Returns whether a folder has a data.yaml."""
    return any((Path(spec) / name).is_file() for name in FILES)


def splits(spec: str) -> tuple[str, ...]:
    """Returns the splits that data.yaml, or the usual folders, have."""
    content = _read_yaml(_described_by(Path(spec)))
    # What is named for test may be missing: exports name it, whether they have it or not.
    found = {split for split in ("train", "val") if _given(content, split)}
    return tuple(
        split for split in ("train", "val", "test") if split in found or _candidates(Path(spec), content, split)
    )


def open_split(spec: str, split: str | None, opening: Opening) -> Dataset:
    """Opens a split as it is divided on disk, or the folder `images` of an undivided data set; see `YoloImages`."""
    return YoloImages(spec, split, side=opening.side)


def _described_by(root: Path) -> Path:
    found = [root / name for name in FILES if (root / name).is_file()]
    if not found:
        raise DataError(f"{root} has no data.yaml: put it there, with the names of the classes.")
    return found[0]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        import yaml
    except ImportError:
        raise MissingExtraError("pyyaml", "A data set in YOLO's layout") from None
    try:
        # Without types that follow from spelling: YAML would make false of the class "no", and 8 of "010".
        words = type("Words", (yaml.SafeLoader,), {"yaml_implicit_resolvers": {}})
        content = yaml.load(read_text(path), Loader=words)
    except (ValueError, RecursionError, yaml.YAMLError):
        raise DataError(f"{path} is not intact YAML: write it again.") from None
    if not isinstance(content, dict):
        raise DataError(f"{path} is not in YOLO's layout: it says no 'names' and no 'train'.")
    return content


def _names(content: dict[str, Any], path: Path) -> dict[int, str]:
    """Returns the names of the classes by their numbers, rising."""
    names = content.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    numbered = isinstance(names, dict) and all(str(number).isdecimal() and len(str(number)) < 20 for number in names)
    # Aliases would let a file of a few bytes write names of any length.
    if not numbered or not names or any(isinstance(name, list | dict | set | tuple) for name in names.values()):
        raise DataError(f"{path} has no 'names': list the classes there, as in names: [ant, bee].")
    repeated = [name for name, count in Counter(composed(str(name)) for name in names.values()).items() if count > 1]
    if repeated:
        raise DataError(f"{path} names two classes {repeated[0]!r}: rename one.")
    if str(count := content.get("nc", len(names))) != str(len(names)):
        raise DataError(f"{path} has {len(names)} names and nc: {str(count)[:40]}: correct one of the two.")
    return dict(sorted((int(key), str(name)) for key, name in names.items()))


def _places(root: Path, content: dict[str, Any], split: str | None, path: Path) -> list[Path]:
    found = _candidates(root, content, split)
    if not found:
        raise DataError(
            f"{path} leads to no images of the split {split!r}: write {split}: with their folder, or put them into "
            f"images/{split} beside it."
        )
    return found


def _given(content: dict[str, Any], split: str) -> Any:
    """Returns what data.yaml names for a split."""
    given = (value for key, value in content.items() if split_of_folder(str(key)) == split)
    return next((value for value in given if value not in _NOTHING), None)


def _candidates(root: Path, content: dict[str, Any], split: str | None) -> list[Path]:
    """Returns the folders and texts that a split's images are in; raises DataError where only some are there."""
    if split is None:
        return [place for place in (root / "images",) if place.is_dir()]
    given = _given(content, split)
    if given is None:
        inside = [path for home in (root / "images", root) for path in sorted(home.glob("*")) if path.is_dir()]
        usual = [path for path in inside if split_of_folder(path.name) == split]
        own = [path if path.parent.name == "images" else path / "images" for path in usual]
        there = [place for place in own if place.is_dir()]
        if len(there) > 1:
            raise DataError(
                f"{root} has two folders of images for the split {split!r}, {there[0]} and {there[1]}: put them "
                "together, or name them in data.yaml."
            )
        return there
    places = given if isinstance(given, list) else [given]
    if not all(isinstance(place, str) for place in places):
        raise DataError(f"data.yaml of {root} has no paths for {split!r}: write a folder there, or a list of them.")
    found: list[Path] = []
    absent: list[str] = []
    for place in places:
        # Exported data sets say ../train/images of what lies beside data.yaml.
        below = place
        while below.startswith("../"):
            below = below[3:]
        tried = [located(base, kind) for kind in (place, below) for base in _bases(root, content)]
        there = [path for path in tried if os.path.exists(path)][:1]
        found += there
        absent += [] if there else [place]
    if found and absent:
        raise DataError(f"data.yaml of {root} names {absent[0]!r} for {split!r}, which does not exist: correct it.")
    return found


def _bases(root: Path, content: dict[str, Any]) -> list[Path]:
    """Returns the folders that paths may start from."""
    base = content.get("path")
    return [root / base, root] if isinstance(base, str) else [root]


def _listed(place: Path, bases: Sequence[Path]) -> Walked:
    """Returns the images of a folder, or of a text with one on each line."""
    if place.is_dir():
        return walk_images(os.fspath(place))
    found = Walked()
    for line in filter(None, map(str.strip, read_text(place).splitlines())):
        if is_image_name(line):
            tried = [located_image(base, line) for base in (*bases, place.parent)]
            found.images.append((os.fspath(next((path for path in tried if path.exists()), tried[0])), 0))
        else:
            found.leave_out(line)
    return found


def _texts(images: Sequence[Path]) -> list[Path]:
    """Returns the text of every image: in the folder of labels, or else beside the image."""
    found = [(_labels_of(image), image.with_suffix(".txt")) for image in images]
    return [beside if beside.exists() and not apart.exists() else apart for apart, beside in found]


def _without_image(texts: Sequence[Path]) -> list[str]:
    """Returns a sentence about the texts that lie among those of images and are of none."""
    there = {path for folder in {text.parent for text in texts} for path in folder.glob("*.txt")}
    others = [path for path in there - {*texts} if path.name != "classes.txt"]
    what = count_of(len(others), "text")
    return [f"Not read: {what} without an image, first {min(others)}."] if others else []


def _labels_of(image: Path) -> Path:
    parts = list(image.parts)
    places = [place for place, part in enumerate(parts[:-1]) if part.casefold() == "images"]
    if not places:
        return image.with_suffix(".txt")
    found = []
    for name in ("labels", "Labels", "LABELS"):
        parts[places[-1]] = name
        found.append(Path(*parts).with_suffix(".txt"))
    return next((path for path in found if path.exists()), found[0])


@dataclass(frozen=True)
class _Row:
    """One line of a text: a class and numbers."""

    path: Path
    label: int
    values: tuple[float, ...]


def _rows(path: Path) -> list[_Row]:
    """Reads the lines of a text; raises DataError for one that has no class and box."""
    if not path.exists():
        return []
    found = []
    for line in filter(str.strip, read_text(path).splitlines()):
        try:
            label, *values = map(float, line.split())
        except ValueError:
            label, values = -1.0, []
        negative = len(values) < 6 and min(values[2:4], default=0) < 0
        if len(values) < 4 or negative or not label.is_integer() or not np.isfinite(values).all():
            raise DataError(f"{path} has a line that is not a box: {line.strip()[:80]!r}.")
        found.append(_Row(path, int(label), tuple(values)))
    return found


def _form(rows: Sequence[Sequence[_Row]], content: dict[str, Any], root: Path) -> tuple[str, list[str]]:
    """Returns whether lines of more than a box's numbers are "outlines" or "boxes" with something behind; and notes.

    Raises DataError where they may be either, and where boxes are in another form.
    """
    every = [row for each in rows for row in each]
    _refuse_other_forms(every, root)
    longer = [row for row in every if len(row.values) > 4]
    if not longer:
        return "outlines", []
    if all(len(row.values) == 5 for row in longer):
        return "boxes", [
            f"{count_of(len(longer), 'line has', 'lines have')} a number behind the box, which is left out."
        ]
    length = len(longer[0].values)
    alike = all(len(row.values) == length for row in longer)
    if "kpt_shape" in content or (alike and content.get("task") not in _OUTLINED and _follows_box(longer, root)):
        return "boxes", [f"Lines have {length - 4} numbers behind the box (keypoints or a track), which are left out."]
    if odd := next((row for row in longer if len(row.values) % 2 or len(row.values) < 6), None):
        raise DataError(
            f"{odd.path} has a line of {len(odd.values) + 1} numbers, which is neither a box nor an outline of points: "
            "leave a class and four numbers a line."
        )
    return "outlines", []


def _refuse_other_forms(rows: Sequence[_Row], root: Path) -> None:
    """Raises DataError where boxes are pixels, or most are corners or have a number before them."""
    if not rows:
        return
    firsts = np.array([row.values[:4] for row in rows])
    if _most(firsts > _BEYOND):
        raise DataError(f"The boxes of {root} go beyond 1: they seem to be pixels, and YOLO's are fractions.")
    if odd := next((row for row in rows if len(row.values) < 6 and max(row.values[:4]) > _BEYOND), None):
        raise DataError(
            f"{odd.path} has a box that goes beyond 1, {' '.join(f'{value:g}' for value in odd.values)}: it seems to "
            "be in pixels, and YOLO's are fractions."
        )
    boxes = np.array([row.values[:4] for row in rows if len(row.values) in (4, 5)]).reshape(-1, 4)
    if not len(boxes) or _inside(boxes).mean() > 0.5:
        return
    behind = np.array([row.values[1:] for row in rows if len(row.values) == 5]).reshape(-1, 4)
    if len(behind) == len(boxes) and _inside(behind).mean() > _NEARLY_ALL:
        raise DataError(
            f"Lines of {root} seem to have a number between the class and the box: leave a class and four numbers."
        )
    x0, y0, x1, y1 = boxes.T
    if ((x1 > x0) & (y1 > y0) & (x1 <= 1 + _ROUNDING) & (y1 <= 1 + _ROUNDING)).mean() > _NEARLY_ALL:
        raise DataError(
            f"Most boxes of {root} leave their image: they seem to be corners (x0, y0, x1, y1), and YOLO's are the "
            "centre, width and height."
        )


def _most(values: np.ndarray) -> bool:
    return bool(values.any(axis=1).mean() > 0.5)


def _inside(boxes: np.ndarray) -> np.ndarray:
    """Returns which boxes, by centre and size, lie in the image."""
    centre, half = boxes[:, :2], boxes[:, 2:4] / 2
    within = (centre - half >= -_ROUNDING) & (centre + half <= 1 + _ROUNDING)
    return np.asarray(within.all(axis=1))


def _follows_box(rows: Sequence[_Row], root: Path) -> bool:
    """Returns whether numbers of one length follow a box: those of a track, or keypoints; else they are an outline.

    Raises DataError where they may be either.
    """
    values = np.array([row.values for row in rows])
    centre, size, rest = values[:, :2], values[:, 2:4], values[:, 4:]
    if rest.shape[1] == 2 and (rest > _BEYOND).any():
        return True  # the number of a track, and perhaps a confidence
    if rest.shape[1] % 3 == 0 and np.isin(rest[:, 2::3], (0, 1, 2)).all():
        return True
    whole = rest.shape[1] == 2 and (rest % 1 == 0).all(axis=0).any()
    if rest.shape[1] % 2 and rest.shape[1] % 3:
        return False
    if not _inside(values).all() or not (whole or any(_in_box(rest, centre, size, each) for each in (2, 3))):
        return False
    # The second point of an outline lies among the others; a box's width and height are anywhere.
    outline = values.reshape(len(values), -1, 2) if values.shape[1] % 2 == 0 else None
    if outline is None:
        return True
    others = np.delete(outline, 1, axis=1)
    if (np.abs(size - others.mean(axis=1)) > 2 * np.ptp(others, axis=1) + _ROUNDING).any():
        return True
    raise DataError(
        f"Lines of {values.shape[1] + 1} numbers in the texts of {root} may be outlines, or boxes with keypoints or a "
        "track: write task: segment, task: obb, or kpt_shape, into data.yaml, or leave a class and four numbers a line."
    )


def _in_box(rest: np.ndarray, centre: np.ndarray, size: np.ndarray, numbers: int) -> bool:
    """Returns whether the numbers behind boxes may be keypoints of so many numbers each: places in the box, or 0, 0."""
    if rest.shape[1] % numbers:
        return False
    points = rest.reshape(len(rest), -1, numbers)
    off = np.abs(points[..., :2] - centre[:, None]) > size[:, None] / 2 + _ROUNDING
    placed = not (off.any(axis=-1) & (points[..., :2] != 0).any(axis=-1)).any()
    return placed and bool((points[..., 2:] <= 2).all())


def _things(rows: Sequence[_Row], labels: dict[int, int], form: str) -> Sequence[Annotation]:
    for row in rows:
        if row.label not in labels:
            raise DataError(f"{row.path} has the class {row.label}, which 'names' in data.yaml has not.")
    corners = np.array([_corners(row.values, form) for row in rows]).reshape(-1, 4)
    return annotated_images.annotations_of(corners, [labels[row.label] for row in rows])


def _corners(values: tuple[float, ...], form: str) -> tuple[float, float, float, float]:
    """Returns the corners of a line's box, or of the box around its outline."""
    if form == "boxes" or len(values) == 4:
        x, y, width, height = values[:4]
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    across, down = values[::2], values[1::2]
    return min(across), min(down), max(across), max(down)
