"""What tasks share whose answer is one class: the loss, mixing, measures and results."""
