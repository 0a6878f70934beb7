"""What each registered model is exported as: formats, their precisions, and the sides that images may have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sparsevision.errors import ConfigError
from sparsevision.export.formats import FORMATS, Format
from sparsevision.export.graph import MULTIPLE
from sparsevision.models.registry import NamedVariant, variant_named, variants
from sparsevision.types import Preprocessing, Table


class Support(NamedTuple):
    """One format that a model is written in.

    `precisions` are those of its weights. `open_by_default` says whether images may have any sides without being asked
    for, and `may_be_open` whether they may at all.
    """

    model: str
    format: str
    precisions: tuple[str, ...]
    open_by_default: bool
    may_be_open: bool


def support_of(name: str) -> tuple[Support, ...]:
    """Returns the formats of a registered model; raises UnknownNameError where there is none of the name."""
    return tuple(_formats(variant_named(name)))


def sees_any_sides(preprocessing: Preprocessing) -> bool:
    """Returns whether a model sees whole images of any sides, as its exported file then does."""
    return preprocessing.fit in ("whole", "short")


def may_be_open(preprocessing: Preprocessing, config: Any) -> bool:
    """Returns whether a model's file can take images of any sides: not clips, and not where maps become windows."""
    return preprocessing.frames is None and not getattr(config, "windowed", False)


def precisions_of(way: Format, name: str) -> tuple[str, ...]:
    """Returns the precisions of a format for a model: eight bits only where they pay."""
    pays = way.name in variant_named(name).int8
    return tuple(each for each in way.precisions if each != "int8" or pays)


def support_table(names: list[str] | None = None) -> Table:
    """Returns a row for each model, all of them without `names`: sides, and the precisions of each format."""
    rows = []
    for name in names or sorted(variants()):
        found = {each.format: each for each in support_of(name)}
        height, width = variant_named(name).preprocessing.size
        first = next(iter(found.values()))
        sides = f"multiples of {MULTIPLE}" if first.open_by_default else f"{height}x{width}"
        cells = (", ".join(found[way].precisions) if way in found else "" for way in FORMATS)
        rows.append((name, sides if first.may_be_open else f"{sides} alone", *cells))
    return Table(columns=("model", "sides", *FORMATS), rows=tuple(rows))


def _formats(variant: NamedVariant) -> Iterator[Support]:
    view, may = variant.preprocessing, may_be_open(variant.preprocessing, variant.config)
    # Whatever they are: a model of embeddings has none, and every other one has.
    labels = None if getattr(variant.config, "outputs", "classes") == "embedding" else ("label",)
    for way in FORMATS.values():
        try:
            way.check(variant.name, labels)
        except ConfigError:
            continue
        yield Support(variant.name, way.name, precisions_of(way, variant.name), may and sees_any_sides(view), may)
