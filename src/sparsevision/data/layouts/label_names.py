"""Labels as layouts write them, names or numbers, and the classes that they mean."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from sparsevision.data.texts import composed, read_text
from sparsevision.errors import DataError


def named_classes(folder: Path) -> list[tuple[str, str]] | None:
    """Reads (key, name) of each class from a list of them in a folder, or one up; None where there is none."""
    files = (home / name for home in (folder, folder.parent) for name in ("classes.txt", "classes.json"))
    return next((_listed(file) for file in files if file.is_file()), None)


def _listed(file: Path) -> list[tuple[str, str]]:
    """Returns (key, name) of each class in order."""
    text = composed(read_text(file))
    try:
        if file.suffix == ".txt":
            rows = [line.split("\t", 1) for line in text.splitlines() if line.strip()]
            return [(row[0].strip(), row[-1].strip()) for row in rows]
        value = json.loads(text)
        if isinstance(value, dict):
            value = [value[str(number)] for number in range(len(value))]
        return [(str(name), str(name)) for name in value]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"The list of classes {file} cannot be used: give a name a line, or as JSON a list or "
            f'{{"0": "first name", ...}}.'
        ) from error


def numbered(
    named: Sequence[tuple[str, str]] | None, labels: Sequence[int | str], names: Sequence[str], where: str
) -> tuple[tuple[str, ...], list[int]]:
    """Turns labels into numbers of classes; returns the classes' names and the numbers.

    Args:
        named: (key, name) of each class where there is a list of them; without one the labels tell the classes.
        labels: class names, their keys, or places in the list.
        names: what each label is of, for messages.
        where: what holds the labels, for messages, as "the shards".

    Raises:
        DataError: a label that the classes do not have, or that may be one class or another.
    """
    if named is not None:
        return tuple(name for _, name in named), _looked_up(named, labels, names, where)
    if all(map(is_number, labels)):
        least, most = min(map(int, labels), default=0), max(map(int, labels), default=-1)
        if least < 0 or most > 1_000_000:
            raise DataError(f"A label of {where} is {least if least < 0 else most}: give 0, 1, 2, ... or class names.")
        return tuple(map(str, range(most + 1))), list(map(int, labels))
    order = {label: number for number, label in enumerate(sorted({str(label) for label in labels}))}
    return tuple(order), [order[str(label)] for label in labels]


def _looked_up(
    named: Sequence[tuple[str, str]], labels: Sequence[int | str], names: Sequence[str], where: str
) -> list[int]:
    """Returns the numbers of classes from a list of them: labels are names (or keys), or else places in the list.

    Raises DataError where numbers may be either and do not mean the same.
    """
    by_name = {text: number for number, pair in enumerate(named) for text in pair}
    if repeated := [name for name, count in Counter(name for _, name in named).items() if count > 1]:
        raise DataError(f"The list of classes beside {where} has {repeated[0]!r} twice: rename one.")
    by_place = {str(number): number for number in range(len(named))}
    given = {str(label): (label, name) for label, name in zip(labels, names, strict=True)}
    are_names, are_places = (all(label in table for label in given) for table in (by_name, by_place))
    if are_names and are_places and any(by_name[label] != by_place[label] for label in given):
        written = [text for text, (label, _) in given.items() if isinstance(label, int)]
        if written:  # a number in JSON; digits in a text are a name that is written there
            raise DataError(
                f"Labels of {where} such as {written[0]} may be names of classes or places in their list, which is "
                "another class: write labels as names."
            )
    if not (are_names or are_places):
        mixed = {**by_place, **by_name}
        strange = next((text for text in given if text not in mixed), None)
        if strange is not None:
            raise DataError(
                f"{given[strange][1]} has the label {strange[:80]!r}, which the list of classes beside {where} does "
                "not have: correct one of the two."
            )
        raise DataError(f"Some labels of {where} are names of classes and some are numbers: write names in all.")
    table = by_name if are_names else by_place
    return [table[str(label)] for label in labels]


def is_number(label: int | str) -> bool:
    """Returns whether a label is a number and not a name of digits."""
    # "01" is a name: as a number it would be the class "1".
    return isinstance(label, int) or (
        len(label) < 20 and label.removeprefix("-").isdecimal() and str(int(label)) == label
    )
