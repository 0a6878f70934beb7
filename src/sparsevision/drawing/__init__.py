"""Primitives for drawing over images: colours, boxes with labels."""
