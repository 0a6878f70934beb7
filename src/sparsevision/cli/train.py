"""`sparsevision train`: a recipe, a data set and a place to write to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sparsevision.cli.names import printable, sentence

SHOWN = 20


def train(
    *, data: str | None = None, model: str | None = None, out: Path, recipe: str | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", consume_multiple=False)] = None, resume: bool = False,
) -> int:  # fmt: skip
    """Train a model on a data set; on several processes when started by torchrun.

    Args:
        data: A folder of class folders (with train/ and val/ or without), tar shards, or "digits"; for a detector one
            in COCO's, YOLO's or Pascal VOC's layout, or "digit-scenes:PHOTOGRAPHS".
        model: The model's name, as `sparsevision models` lists it; any "timm/NAME" too; or a checkpoint (folder or
            file) to start from.
        out: The run folder that is written.
        recipe: A recipe's name or a TOML file; without it the default for small folders is taken.
        set_: Override a recipe's field, as in --set optimiser.lr=1e-3; may be given several times.
        resume: Go on from the last state in the run folder.
    """
    import os
    import sys

    from sparsevision.training import train as run_training
    from sparsevision.training.recipe_defaults import choose_recipe

    chosen, notes = choose_recipe(recipe, data=data, model=model, overrides=set_ or [], out=out, resume=resume)
    # One of torchrun's processes speaks for all.
    speaks = os.environ.get("RANK", "0") == "0"
    for note in notes if speaks else ():
        print(sentence(note), file=sys.stderr)
    summary = run_training(chosen, out=out, resume=resume)
    if not speaks:
        return 0
    print(summary)
    for name, reason in sorted(summary.skipped.items())[:SHOWN]:
        print(f"skipped {printable(name)}: {sentence(reason)}", file=sys.stderr)
    if len(summary.skipped) > SHOWN:
        print(f"... and {len(summary.skipped) - SHOWN} more: see {out / 'skipped.jsonl'}", file=sys.stderr)
    return 0
