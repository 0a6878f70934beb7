"""Every kind of bad input that we know of, what is typed, and how it ends: refused in one sentence, skipped, or read.

A row more: an id and what is wrong; the command and a function that makes the bad thing (`{bad}` in the command; the
other names in braces are good things of `bench.py`); the outcome, with words that must be said.
"""

from __future__ import annotations

from box_rows import BOXES
from data_rows import FOLDERS, IMAGES, RECIPES, SHARDS
from detector_rows import DETECTORS
from explain_rows import EXPLANATIONS
from mask_rows import MASKS
from model_rows import CHECKPOINTS, COMMANDS, PLACES, RUNS, TEACHERS
from token_rows import TOKENS
from video_rows import VIDEOS

TABLE = {
    f"{room}: {row.id}": row
    for room, rows in {
        "image": IMAGES,
        "folder": FOLDERS,
        "shards": SHARDS,
        "boxes": BOXES,
        "masks": MASKS,
        "videos": VIDEOS,
        "recipe": RECIPES,
        "checkpoint": CHECKPOINTS,
        "run": RUNS,
        "teacher": TEACHERS,
        "place": PLACES,
        "command line": COMMANDS,
        "detector": DETECTORS,
        "explain": EXPLANATIONS,
        "visual tokens": TOKENS,
    }.items()
    for row in rows
}
