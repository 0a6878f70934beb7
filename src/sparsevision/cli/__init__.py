"""The command line: one file per command, loaded when it is called, so that `--help` answers at once."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from cyclopts import App

from sparsevision import __version__
from sparsevision.errors import ConfigError
from sparsevision.stopping import stopping_in_order

COMMANDS = {
    "demo": "Show what the shipped models make of photographs, and where they looked.",
    "train": "Train a model on a data set: needs only --data and --out.",
    "evaluate": "Score a checkpoint on a labelled data set, or sweep a detector over keep ratios.",
    "predict": "Classify images or their pixels, or find and count objects in images and videos.",
    "explain": "Draw what a model sampled and read, stage by stage; or measure its faithfulness.",
    "batch": "Predict very many images on all cores or on a cluster, into Parquet files.",
    "export": "Write a model for ONNX Runtime or OpenVINO, and compare it with PyTorch.",
    "models": "List the models, their sizes and their weights.",
    "benchmark": "Measure speed, memory, multiply-adds and parameters, beside other models.",
    "doctor": "Examine this machine, or a data set before training on it.",
}

app = App(
    name="sparsevision", help="Recognition that spends its computation where the image needs it.",
    help_epilogue="`sparsevision COMMAND --help` tells more. Any command takes --debug, which shows whole tracebacks.",
    help_format="markdown", version=__version__, suppress_keyboard_interrupt=False,
)  # fmt: skip
for _name, _help in COMMANDS.items():
    app.command(f"{__name__}.{_name}:{_name}", name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns the process's exit status.

    0: done. 1: a finding (`doctor`), or a bug in this package. 2: something that the user can mend, said in one
    line on stderr. 130, 129, 143: stopped by Ctrl-C, a closed terminal or SIGTERM. 141: whoever read the output went
    away.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = given[: given.index("--")] if "--" in given else given
    debug = "--debug" in options or os.environ.get("SPARSEVISION_DEBUG", "") not in ("", "0")
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # What a console cannot show is escaped: paths may hold any bytes, and consoles know few letters.
            stream.reconfigure(errors="backslashreplace")
    tokens = [token for token in options if token != "--debug"] + given[len(options) :]
    try:
        _check_not_empty(tokens)
        with stopping_in_order(), _plain_warnings():
            _tell_all(tokens)
            status = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
            sys.stdout.flush()
    except BaseException as failure:
        # Imported here: a command that succeeds pays nothing for the words about failures.
        from sparsevision.cli.failures import report

        return report(failure, tokens, debug=debug)
    return status if isinstance(status, int) else 0


def _tell_all(tokens: Sequence[str]) -> None:
    """Lets a command whose help is asked for say all that it has to say, instead of its line in the list."""
    if tokens and tokens[0] in COMMANDS and not {"--help", "-h"}.isdisjoint(tokens):
        command = app[tokens[0]]
        command.help = None
        command.help_epilogue = "Any command takes --debug, which shows whole tracebacks."


def _check_not_empty(tokens: Sequence[str]) -> None:
    """Raises ConfigError for an empty word, which would mean the current folder: an unset variable leaves one."""
    for before, token in pairwise(["", *tokens]):
        option = token[:-1] if token.startswith("--") and token.endswith("=") else before if not token else ""
        if option.startswith("--") and option != "--":
            raise ConfigError(f"{option} is empty: give it a value, or omit it.")
        if not token:
            raise ConfigError("One of the arguments is empty: give a name in its place, or omit it.")


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Shows warnings as one line without the place in the code, which is for programmers."""
    usual, warnings.formatwarning = warnings.formatwarning, _one_line
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _one_line(message: Warning | str, *place: object, **more: object) -> str:
    from sparsevision.cli.names import sentence

    return f"sparsevision: {sentence(' '.join(str(message).split()))}\n"


def _open_closed_streams() -> None:
    """Opens standard streams that were closed before the start, as by `>&-`, on nothing.

    Otherwise the next file that is opened would get a stream's number, and what libraries print would go into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            # Of no bytes: some programs that start others put a stream there that cannot be written.
            os.write(number, b"") if number else os.read(number, 0)
        except OSError as error:
            if error.errno == errno.EBADF:
                _open_on_nothing(number)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def _open_on_nothing(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
