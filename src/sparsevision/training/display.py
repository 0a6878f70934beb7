"""Display of a run on stderr: one bar for the epoch, one line for each evaluation."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from sparsevision.wording import count_of

_SECONDS_THAT_TELL = 3.0


class _Stderr:
    """The standard error stream, of which nothing is expected: it may be closed in the middle of a run."""

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()

    def isatty(self) -> bool:
        try:
            return sys.stderr.isatty()
        except (OSError, ValueError):
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


class Display:
    """Shows the run's progress; silent where `quiet`, as on all processes but the first."""

    def __init__(self, *, quiet: bool = False) -> None:
        stream: Any = _Stderr()
        self.console = Console(file=stream, quiet=quiet, highlight=False, soft_wrap=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
        )
        # Into a file a bar would only leave empty lines; lines with the losses stand there instead.
        self.draws = not quiet and self.console.is_terminal
        self.progress = Progress(*columns, console=self.console, transient=True, disable=not self.draws)
        self._bar = self.progress.add_task("", total=None, losses="", visible=False)
        self._left, self._limit, self._timed, self._seconds = 0, "", 0, 0.0
        self._since: float | None = None  # until the first step, in which everything is warmed up

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def say(self, sentence: str) -> None:
        """Prints a line above the bar; names from files may hold anything."""
        self.console.print("".join(letter if letter.isprintable() else "?" for letter in sentence[:2000]), markup=False)

    def epoch(self, number: int, of: int, steps: int, done: int) -> None:
        """Starts an epoch's bar."""
        if self._since is not None:  # what came between epochs is none of a step's time
            self._since = time.monotonic()
        self.progress.reset(self._bar, total=steps, completed=done, visible=True)
        self.progress.update(self._bar, description=f"epoch {number}/{of}")

    def expect(self, steps: int, minutes: float | None) -> None:
        """Announces how many steps are left, so that their time can be estimated, and a limit of this start."""
        self._left = steps
        self._limit = "" if minutes is None else f"; this start ends after {minutes:g} minutes"

    def step(self) -> None:
        """Moves the bar by one step; once a few seconds tell, says how long all of them will take."""
        self.progress.advance(self._bar)
        now = time.monotonic()
        if self._since is not None:
            self._timed, self._seconds = self._timed + 1, self._seconds + now - self._since
        self._since = now
        if self._left and self._seconds >= _SECONDS_THAT_TELL:
            seconds = self._seconds / self._timed * self._left
            self.say(
                f"{count_of(self._left, 'step takes', 'steps take')} about {_spoken(seconds)}, "
                f"apart from scoring{self._limit}."
            )
            self._left = 0

    def losses(self, means: Mapping[str, float]) -> None:
        """Shows the losses of the last logging interval beside the bar, or on a line of their own."""
        text = " ".join(f"{name} {value:.3f}" for name, value in means.items())
        self.progress.update(self._bar, losses=text)
        if not self.draws:
            bar = self.progress.tasks[0]
            self.say(f"{bar.description}, step {bar.completed:.0f} of {bar.total:.0f}: {text}")
