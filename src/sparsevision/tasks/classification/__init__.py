"""Classification: naming what an image shows."""
