"""Video classification: naming what a clip shows."""
