"""Errors due to what was given: one sentence that names it and says what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any


class SparseVisionError(Exception):
    """A mistake that the user can mend; the command line prints its message alone and exits with status 2."""


class ConfigError(SparseVisionError):
    """A model's configuration, a recipe or an option does not make sense."""


class UnknownNameError(ConfigError):
    """A name that nothing is registered under; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, advice: str = "") -> None:
        known = sorted(known)
        # Names from files may be of any length, and looking for the nearest takes time that grows with it.
        name = name if len(name) <= 80 else f"{name[:80]}..."
        near = difflib.get_close_matches(name, known, n=4, cutoff=0.5)
        which = "the nearest are" if near else f"of {len(known)} the first are" if len(known) > 5 else "there are"
        offered = ", ".join(repr(candidate) for candidate in near or known[:5])
        message = f"Unknown {kind}: {name!r}; {which} {offered}."
        super().__init__(f"{message} {advice}".strip())


class DataError(SparseVisionError):
    """A data set, an archive or a single image cannot be used."""


class UnreadableImageError(DataError):
    """One image cannot be decoded; long runs skip it and count it."""


class CheckpointError(SparseVisionError):
    """A file of weights is missing, damaged, unsafe, or does not fit the model."""


class MissingExtraError(SparseVisionError):
    """A package that only some features need is not installed."""

    def __init__(self, package: str, purpose: str) -> None:
        package = package.partition(".")[0]
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed: "
            f"install the extra, in the repository by `pip install -e '.[{_extra_of(package)}]'`."
        )


def import_extra(package: str, purpose: str) -> Any:
    """Returns a package that only some features need; raises MissingExtraError where it is not installed."""
    try:
        return import_module(package)
    except ImportError:
        raise MissingExtraError(package, purpose) from None


def _extra_of(package: str) -> str:
    """Returns the extra of this package, but for those of its development, that brings another package."""
    try:
        needed = requires("sparsevision") or []
    except PackageNotFoundError:
        needed = []
    found = (re.match(rf"{re.escape(package)}\b.*extra == ['\"](\w+)['\"]", line) for line in needed)
    # The last one: of two that bring a package, "train" is what a user is most likely to need.
    return max(({match[1] for match in found if match} - {"docs", "test"}) or {"train"})


class OutOfMemoryError(SparseVisionError):
    """The device ran out of memory; the message says what to lower."""


class NonFiniteLossError(SparseVisionError):
    """The loss became NaN or infinite; the message names the batch's files."""


class RunStoppedError(SparseVisionError):
    """A run was stopped by a signal, after its state was written; `status` is the exit status for that."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.status = 128 + signal


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or the error's name where it has none, to stand in a sentence."""
    # Some libraries colour their messages.
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().split("\n")[0]
    return (text or type(error).__name__)[:200].rstrip(".")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names a path in the system's refusals to write that name none, as when the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None and not isinstance(error, BrokenPipeError):
            error.filename = str(path)
        raise
