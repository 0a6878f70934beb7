"""Fast forms of operators, and the rule by which they stand in for the plain ones that models are written in."""
