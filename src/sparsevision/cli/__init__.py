"""The command line: one file per command, loaded when it is called, so that `--help` answers at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App

from sparsevision import __version__

COMMANDS = {
    "demo": "Recognise photographs with the shipped weights and draw where the model looked.",
    "train": "Train a model on a data set: needs only --data, --model and --out.",
    "evaluate": "Score a checkpoint on a labelled data set, or sweep a detector over keep ratios.",
    "predict": "Classify images, or find and count objects in images and videos.",
    "explain": "Draw what a model sampled and read, stage by stage; or measure its faithfulness.",
    "models": "List the models, their sizes and their weights.",
    "benchmark": "Measure speed, memory, multiply-adds and parameters, beside other models.",
    "doctor": "Examine this machine, and a data set before training on it.",
}

app = App(
    name="sparsevision", help="Recognition that spends its computation where the image needs it.",
    help_epilogue="`sparsevision COMMAND --help` tells more. Any command takes --debug, which shows whole tracebacks.",
    help_format="plaintext", version=__version__, suppress_keyboard_interrupt=False,
)  # fmt: skip
for _name, _help in COMMANDS.items():
    app.command(f"{__name__}.{_name}:{_name}", name=_name, help=_help)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns the process's exit status.

    0: done. 1: a finding (`doctor`), or a bug in this package. 2: something that the user can mend, said in one
    line on stderr. 130: interrupted. 141: whoever read the output went away.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = given[: given.index("--")] if "--" in given else given
    debug = "--debug" in options or os.environ.get("SPARSEVISION_DEBUG", "") not in ("", "0")
    tokens = [token for token in options if token != "--debug"] + given[len(options) :]
    try:
        status = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except BaseException as failure:
        # Imported here: a command that succeeds pays nothing for the words about failures.
        from sparsevision.cli.failures import report

        return report(failure, tokens, debug=debug)
    return status if isinstance(status, int) else 0
