"""How Sphinx builds the documentation; `make docs` calls it with warnings as errors."""

from __future__ import annotations

from sparsevision import __version__

project = "sparsevision"
author = "The sparsevision authors"
copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "cyclopts.ext.sphinx"]
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
