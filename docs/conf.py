"""How Sphinx builds the documentation; `make docs` calls it with warnings as errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from docutils import nodes

from sparsevision import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "sparsevision"
author = "The sparsevision authors"
copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "cyclopts.ext.sphinx",
    "sphinx_design",
    "recipe_fields",
]
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

default_role = "code"
# Not the dashes, which would spoil the names of options.
smartquotes_action = "qe"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
# Shapes stand in jaxtyping's strings, which are no references.
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"sparsevision {release}"
html_static_path = ["_static"]


def setup(app: Any) -> None:
    """Connects what follows."""
    # Before the collectors, which take headings into the table of contents.
    app.connect("doctree-read", name_options, priority=100)


def name_options(app: Any, tree: nodes.document) -> None:
    """Calls the generated list of a command's parameters "Options": its heading would repeat the page's."""
    page = app.env.docname
    if page.startswith("commands/"):
        for title in list(tree.findall(nodes.title))[1:]:
            if title.astext() == page.partition("/")[2]:
                title[:] = [nodes.Text("Options")]
