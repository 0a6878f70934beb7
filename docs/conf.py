"""How Sphinx builds the documentation; `make docs` calls it with warnings as errors."""

from __future__ import annotations

import sys
from pathlib import Path

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
    "recipe_fields",
]
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
# Shapes stand in jaxtyping's strings, which are no references.
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"sparsevision {release}"
html_static_path = ["_static"]
