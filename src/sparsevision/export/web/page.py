"""The folder of a page that runs a model in a browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from sparsevision.errors import ConfigError
from sparsevision.export.web.runtime import FILES, runtime_files
from sparsevision.factory import task_of
from sparsevision.files import replacing
from sparsevision.runtimes.runtime import DESCRIPTION, GRAPH
from sparsevision.tasks import task_named

SCRIPTS = ("index.html", "page.css", "page.js", "view.js", "resampling.js", "structure.js", "looking.js")
MODEL, TASK, ABOUT, RUNTIME = "model.onnx", "task.js", "model.json", "runtime"
PAGE_FILES = (*SCRIPTS, TASK, ABOUT, MODEL, *(f"{RUNTIME}/{name}" for name in FILES))


def page_of(model: str, labels: Sequence[str] | None) -> str:
    """Returns the package with the page of a named model's task; raises ConfigError where there can be none."""
    task = task_named(task_of(model))
    if task.page is None:
        raise ConfigError(f"A model of {task.things} has no page for a browser: export it as onnx.")
    if not labels:
        raise ConfigError("The model gives an embedding and no classes, of which a page could show nothing.")
    return task.page


def write_page(folder: Path, texts: Mapping[str, str], write_model: Callable[[Path], None]) -> None:
    """Writes a page; `write_model` writes the ONNX file to a path."""
    described: dict[str, Any] = json.loads(texts[DESCRIPTION])
    page = page_of(described["model"], described["labels"])
    runtime = runtime_files()
    about = {"model": described, "graph": json.loads(texts[GRAPH])}
    contents = {name: (files("sparsevision.export.web") / name).read_bytes() for name in SCRIPTS}
    # The colours and letters of the page that `explain` writes.
    contents["page.css"] = (files("sparsevision.explain.panels") / "colors.css").read_bytes() + contents["page.css"]
    contents |= {TASK: (files(page) / "page.js").read_bytes(), ABOUT: json.dumps(about).encode()}
    contents |= {f"{RUNTIME}/{name}": content for name, content in runtime.items()}
    for name, content in contents.items():
        with replacing(folder / name) as part:
            part.write_bytes(content)
    with replacing(folder / MODEL) as part:
        write_model(part)
