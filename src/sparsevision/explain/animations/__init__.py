"""Animations of an explanation or a sweep, one file each; `registry.ANIMATIONS` lists them."""
