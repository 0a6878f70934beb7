"""Panels of the page, one module and one file of markup, style and script each; `registry.PANELS` lists them."""
