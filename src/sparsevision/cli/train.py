"""`sparsevision train`: a recipe, a data set and a place to write to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sparsevision.cli.names import printable, sentence
from sparsevision.errors import ConfigError

SHOWN = 20
# Options that are fields of every recipe.
_FIELDS = {
    "epochs": "schedule.epochs", "batch_size": "data.batch", "lr": "optimiser.lr", "workers": "run.workers",
    "device": "run.device", "minutes": "run.time_budget_minutes",
}  # fmt: skip


def train(
    *, data: str | None = None, model: str | None = None, out: Path, recipe: str | None = None,
    epochs: int | None = None, batch_size: int | None = None, lr: float | None = None, workers: int | None = None,
    device: str | None = None, minutes: float | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", consume_multiple=False, negative="")] = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
) -> int:  # fmt: skip
    """Train a model on a data set; on several processes when started by torchrun.

    Args:
        data: A folder of class folders (with train/ and val/ or without), of images or of videos; images with boxes in
            COCO's, YOLO's or Pascal VOC's layout; images with masks; tar shards; "digits"; "digit-scenes:PHOTOGRAPHS".
        model: The model's name, as `sparsevision models` lists it; any "timm/NAME" too; or a checkpoint (folder or
            file) to start from.
        out: The run folder that is written.
        recipe: A recipe's name or a TOML file; without it the default for small folders is taken.
        epochs: Passes over the data; short for --set schedule.epochs=NUMBER.
        batch_size: Short for --set data.batch=NUMBER.
        lr: Learning rate; short for --set optimiser.lr=NUMBER.
        workers: Processes that load images; short for --set run.workers=NUMBER.
        device: "auto" takes a GPU where there is one, "cuda", "mps" and "xpu" require it, "cpu" uses none; short for
            --set run.device=NAME.
        minutes: Stop after so many, with a state that --resume goes on from; short for --set
            run.time_budget_minutes=NUMBER.
        set_: Override a recipe's field, as in --set optimiser.lr=1e-3; may be given several times.
        resume: Go on from the last state in the run folder.
    """
    import os
    import sys

    from sparsevision.training import train as run_training
    from sparsevision.training.recipe_defaults import choose_recipe

    shortcuts = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "workers": workers, "device": device, "minutes": minutes,
    }  # fmt: skip
    overrides = _with_shortcuts(shortcuts, set_ or [])
    chosen, notes = choose_recipe(recipe, data=data, model=model, overrides=overrides, out=out, resume=resume)
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


def _with_shortcuts(shortcuts: Mapping[str, float | str | None], overrides: Sequence[str]) -> list[str]:
    """Returns the overrides with the options that stand for fields; raises ConfigError where both name one field."""
    named = {override.partition("=")[0].strip() for override in overrides}
    given = {name: value for name, value in shortcuts.items() if value is not None}
    for name in given:
        if _FIELDS[name] in named:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} and --set {_FIELDS[name]} name the same field: give one of the two.")
    return [*(f"{_FIELDS[name]}={value}" for name, value in given.items()), *overrides]
