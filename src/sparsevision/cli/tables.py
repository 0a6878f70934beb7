"""Tables of reports, inspections and results, on a terminal or in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sparsevision.cli.names import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.status import Status

    from sparsevision.types import Table


def print_table(table: Table, *, pipe_width: int = 160) -> None:
    """Prints a table; a pipe has no width, and gets lines of up to `pipe_width` letters."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else pipe_width, highlight=False)
    if table.heading:
        console.print(Text(printable(table.heading)), soft_wrap=True)
    # Without rules and empty lines: the first line has the columns, and each further line is a row.
    drawn = RichTable(box=None, pad_edge=False)
    for number, name in enumerate(table.columns):
        # As Text: brackets in a name such as [train] are not markup.
        drawn.add_column(Text(printable(name)), justify="right" if number in table.numbers else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    if table.rows:
        console.print(drawn)
    if table.note:
        console.print(Text(printable(table.note)))


def show_status(title: str) -> Status:
    """Shows on a terminal's stderr what is being done, inside of a `with` block."""
    from rich.console import Console

    return Console(stderr=True).status(title)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int | None], None]]:
    """Shows on a terminal's stderr how much is done, of a total that may be unknown (None)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
