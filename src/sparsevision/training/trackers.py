"""Trackers of runs (wandb, mlflow, ...), through accelerate: one that fails while a run goes on does not end it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sparsevision.errors import ConfigError, first_line

if TYPE_CHECKING:
    from accelerate import Accelerator

    from sparsevision.training.recipe import Recipe

PROJECT = "sparsevision"


def available_trackers(recipe: Recipe) -> list[str]:
    """Returns the recipe's trackers; raises ConfigError for one whose package is not there."""
    from accelerate import tracking

    available = [*map(str, tracking.get_available_trackers())]
    for name in recipe.run.trackers:
        if name not in available:
            raise ConfigError(f"run.trackers names {name!r}, which cannot be used here: install its package.")
    return [*recipe.run.trackers]


class Trackers:
    """The trackers of one run; none where the recipe names none."""

    def __init__(self, accelerator: Accelerator, say: Callable[[str], None]) -> None:
        self.accelerator, self.say = accelerator, say

    def start(self, recipe: Recipe, name: str) -> None:
        """Begins a run in each, with the recipe's fields as its settings; raises ConfigError where one refuses."""
        if not recipe.run.trackers:
            return
        options = {"wandb": {"name": name}, "trackio": {"name": name}, "mlflow": {"run_name": name}}
        settings = dict(_fields(recipe.model_dump()))
        try:
            self.accelerator.init_trackers(PROJECT, config=settings, init_kwargs=options)
        except Exception as error:  # each package has its own
            raise ConfigError(
                f"A tracker of run.trackers does not start ({type(error).__name__}: {first_line(error)}): log in as it "
                "asks, or leave it out."
            ) from error

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Hands numbers on; after a failure, which is said, no more."""
        try:
            self.accelerator.log(dict(values), step=step)
        except Exception as error:
            self.close()
            self.say(
                f"A tracker failed ({type(error).__name__}: {first_line(error)}): the run goes on without trackers, "
                "and its numbers are in metrics.jsonl."
            )

    def close(self) -> None:
        """Ends the runs in the trackers, also of a training that was stopped."""
        for tracker in self.accelerator.trackers:
            with suppress(Exception):
                tracker.finish()
        self.accelerator.trackers = []


def _fields(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, int | float) else str(value)
