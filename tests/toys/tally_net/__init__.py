"""A network of another kind: one number for each class, with a control and a choice of its own."""
