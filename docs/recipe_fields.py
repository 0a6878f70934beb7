"""The directive `recipe-fields`: every field of every recipe with its type and default, from the settings' classes."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from docutils import nodes
from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from sparsevision.tasks.registry import TASKS
from sparsevision.training.recipe import Recipe, recipe_class


class RecipeFields(SphinxDirective):
    """Tables of fields: those that all tasks share, then each task's own."""

    def run(self) -> list[nodes.Node]:
        """Parses what is written below as Markdown in the place of the directive."""
        return self.parse_text_to_nodes("\n".join(page()), allow_section_headings=True)


def page() -> Iterator[str]:
    """Writes the sections as Markdown."""
    tasks = {name: recipe_class(name) for name in TASKS}
    shared = [name for name in Recipe.model_fields if name not in ("task", "transforms", "loss")]
    yield "## Of every task\n"
    for name in shared:
        yield from section(name, _class_of(Recipe, name))
    for task, recipe in tasks.items():
        yield f"## Of {task.replace('_', ' ')}\n"
        for name in ("transforms", "loss"):
            yield from section(name, _class_of(recipe, name))


def section(name: str, settings: type[BaseModel]) -> Iterator[str]:
    """Writes one table, behind what its class says; tables within it follow."""
    yield f"### `{name}`\n"
    yield f"{inspect.getdoc(settings)}\n"
    inner = []
    yield "| field | values | default |\n|---|---|---|"
    for field, about in settings.model_fields.items():
        if isinstance(about.annotation, type) and issubclass(about.annotation, BaseModel):
            inner.append((f"{name}.{field}", about.annotation))
            continue
        default = about.get_default(call_default_factory=True)
        yield f"| `{name}.{field}` | {_written(about.annotation, about.metadata)} | `{_value(default)}` |"
    yield ""
    for inner_name, each in inner:
        yield from section(inner_name, each)


def _class_of(recipe: type[BaseModel], name: str) -> type[BaseModel]:
    found = recipe.model_fields[name].annotation
    assert isinstance(found, type)
    return found


def _value(value: Any) -> str:
    """Writes a value as TOML would, and None as recipes spell it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _written(kind: Any, limits: Any = ()) -> str:
    """Says in words which values a type takes."""
    origin, parts = get_origin(kind), get_args(kind)
    bounds = " and ".join(
        f"{word} {getattr(limit, name):g}"
        for limit in limits
        for name, word in (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most"))
        if getattr(limit, name, None) is not None
    )
    if origin is Literal:
        words = " or ".join(f"`{_value(part)}`" for part in parts)
    elif origin in (Union, types.UnionType):
        words = " or ".join(_written(part) for part in parts)
    elif origin is tuple:
        each = [part for part in parts if part is not Ellipsis]
        words = f"list of {_written(each[0])}" if len(each) < len(parts) else f"[{', '.join(map(_written, each))}]"
    elif origin is dict:
        words = "table"
    elif hasattr(kind, "__metadata__"):  # a constrained number of pydantic's
        words = _written(kind.__origin__, kind.__metadata__)
    else:
        known = {int: "integer", float: "number", bool: "true or false", str: "text", type(None): "none"}
        words = known.get(kind, getattr(kind, "__name__", str(kind)))
    return f"{words} {bounds}" if bounds else words


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds the directive."""
    app.add_directive("recipe-fields", RecipeFields)
    return {"parallel_read_safe": True}
