"""Figures of an explanation, one file each; `registry.FIGURES` lists them."""
