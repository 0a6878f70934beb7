"""Failures of a command as one line on stderr and an exit status; a traceback is shown only when asked for."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cyclopts import CoercionError, CycloptsError, MissingArgumentError, UnknownCommandError, UnusedCliTokensError

from sparsevision.errors import RunStoppedError, SparseVisionError, UnknownNameError

BUG, USER, INTERRUPTED, OUTPUT_CLOSED = 1, 2, 130, 141

_SPACE = "Free some space or write elsewhere."
_PERMISSION = "Choose another path or change its permissions."
# What the system's refusals mean, by their number, and what to do.
_REFUSALS = {
    errno.ENOSPC: ("The disk is full", _SPACE),
    errno.EDQUOT: ("Your disk quota is used up", _SPACE),
    errno.EROFS: ("The file system is mounted read-only", "Choose a folder that can be written."),
    errno.EACCES: ("Permission was denied", _PERMISSION),
    errno.EPERM: ("The system does not permit this", _PERMISSION),
    errno.EMFILE: ("Too many files are open", "Use fewer workers or raise `ulimit -n`."),
    errno.EEXIST: ("A file is in the way", "Choose another path."),
    errno.ENOTDIR: ("A file stands where a folder is needed", "Choose another path."),
    errno.EISDIR: ("A folder stands where a file is needed", "Choose another path."),
    errno.EFBIG: ("The file would become larger than this user may make one", "Raise `ulimit -f` or write elsewhere."),
}


def report(failure: BaseException, arguments: Sequence[str], *, debug: bool = False) -> int:
    """Prints a failure as one line on stderr and returns the exit status; with `debug`, after the traceback."""
    # rich answers a closed pipe with SystemExit.
    if isinstance(failure, BrokenPipeError) or isinstance(failure.__context__, BrokenPipeError):
        return _close_output()
    if isinstance(failure, SystemExit):
        return failure.code if isinstance(failure.code, int) else BUG if failure.code else 0
    if debug:
        traceback.print_exception(failure)
    if isinstance(failure, KeyboardInterrupt):
        return _say("Interrupted.", INTERRUPTED)
    sentence = _sentence(failure, arguments)
    if sentence is None:
        return _say(_bug(failure, arguments), BUG)
    try:
        sys.stdout.flush()
    except OSError:
        _close_output()
    return _say(sentence, failure.status if isinstance(failure, RunStoppedError) else USER)


def _sentence(failure: BaseException, arguments: Sequence[str]) -> str | None:
    """Returns what to tell the user of a mistake that the user can mend, None for anything else."""
    if isinstance(failure, UnknownCommandError) and failure.unused_tokens:
        from sparsevision.cli import COMMANDS

        name = failure.unused_tokens[0]
        kind = "option" if name.startswith("-") else "command"
        known = {"option": ("--help", "--version", "--debug"), "command": tuple(COMMANDS)}[kind]
        return str(UnknownNameError(kind, name, known, advice="See `sparsevision --help`."))
    if isinstance(failure, UnusedCliTokensError) and failure.unused_tokens:
        words = ", ".join(map(repr, failure.unused_tokens))
        return f"Nothing here takes {words}. See `sparsevision {arguments[0]} --help`."
    if isinstance(failure, MissingArgumentError) and failure.argument is not None and not failure.keyword:
        return f"{failure.argument.name} is missing. See `sparsevision {arguments[0]} --help`."
    if isinstance(failure, CoercionError) and (empty := re.match(r'Invalid value for (--\S+): .*"\{\}"', str(failure))):
        return f"{empty[1]} is given without a value: give a number, a word or the name of a file, which - is not."
    if isinstance(failure, SparseVisionError | CycloptsError):
        return " ".join(str(failure).split())
    return _out_of_memory(failure) or _refused_by_system(failure)


def _out_of_memory(failure: BaseException) -> str | None:
    """Recognises exhausted memory by its type's name and message, because torch may not be imported."""
    message = str(failure)
    names = {kind.__name__ for kind in type(failure).__mro__}
    exhausted = names & {"MemoryError", "OutOfMemoryError"} or "can't allocate memory" in message
    if exhausted:
        asked = re.search(r"[Tt]ried to allocate ([\d.]+ ?\w*)", message)
        amount = f" when {asked[1]} more were asked for" if asked else ""
        return f"Memory ran out{amount}: lower the batch size or the image's size, or use a smaller model."
    if "DataLoader worker" in message and ("Bus error" in message or "killed" in message):
        return "A data loader's process ended for lack of memory: use fewer workers (`--workers 0` uses none)."
    return None


def _refused_by_system(failure: BaseException) -> str | None:
    """Recognises what the operating system refused, also where a library hides its number in a message."""
    where = ""
    if isinstance(failure, OSError):
        number = failure.errno
        # Where there are two, the first is a temporary one of ours.
        name = failure.filename2 or failure.filename
        where = f": {name}" if name else ""
        if number not in _REFUSALS:
            # A path that a user gave, missing or of the wrong kind; without a path it is not theirs to mend.
            return f"{failure.strerror}{where}." if where and failure.strerror else None
    else:
        hidden = re.search(r"os error (\d+)", message := str(failure))
        number = int(hidden[1]) if hidden else errno.ENOSPC if "No space left on device" in message else None
    meaning, remedy = _REFUSALS.get(number or 0, ("", ""))
    return f"{meaning}{where}. {remedy}" if meaning else None


def _bug(failure: BaseException, arguments: Sequence[str]) -> str:
    """Writes the traceback into a file of its own and returns the sentence that names it."""
    from sparsevision import __version__

    bug = f"This is a bug in sparsevision ({type(failure).__name__}): please report"
    head = f"sparsevision {__version__}, Python {sys.version}\narguments: {list(arguments)}\n\n"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparsevision"
    for folder in (cache, Path(tempfile.gettempdir())):
        path = folder / f"failure-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(head + "".join(traceback.format_exception(failure)), encoding="utf-8")
        except OSError:
            continue
        return f"{bug} it with the file {path}."
    return f"{bug} what --debug shows; no log file could be written."


def _say(text: str, status: int) -> int:
    """Prints one line on stderr, if that is still open."""
    from sparsevision.cli.names import sentence

    with suppress(OSError, ValueError):
        print(f"sparsevision: {sentence(text)}", file=sys.stderr)
    return status


def _close_output() -> int:
    """Points stdout nowhere: what it still holds cannot be written, and the interpreter would say so when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return OUTPUT_CLOSED
