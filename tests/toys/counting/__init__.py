"""A task of another kind: the number of squares in an image."""
