"""A detector whose scores are a softmax with a background output."""
