"""The page of a model that runs in a browser: its scripts, beside which each task brings how it reads outputs."""
