"""Requests to stop a command, by Ctrl-C, a scheduler or a closed terminal: obeyed between two steps or images."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

from sparsevision.errors import RunStoppedError

T = TypeVar("T")
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_END = object()


class StopRequest:
    """Records the first signal to stop inside a `with` block; a second Ctrl-C raises KeyboardInterrupt at once.

    Signals that are ignored stay so, as the one of a closed terminal under nohup. Outside of the main thread nothing is
    recorded.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[int, Any] = {}
        self._waiting = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def raise_if_stopped(self, done: str) -> None:
        """Raises RunStoppedError, which says what was done, if a signal came."""
        if self.signal is not None:
            raise RunStoppedError(f"Stopped by {self.signal.name} {done}.", self.signal)

    def ending(self, items: Iterable[T]) -> Iterator[T]:
        """Passes items on until a signal comes; one that comes while an item is waited for ends that, too."""
        iterator = iter(items)
        try:
            while (item := self._next(iterator)) is not _END:
                yield item
        except _WaitEndedError:
            return

    def _next(self, iterator: Iterator[Any]) -> Any:
        try:
            # A list on standard input, or a camera, may let nothing come for ever.
            self._waiting = True
            return next(iterator, _END) if self.signal is None else _END
        finally:
            self._waiting = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or signal.Signals(number)
        if self._waiting:
            self._waiting = False
            raise _WaitEndedError


class _WaitEndedError(BaseException):
    """A signal came while an item was waited for."""


@contextmanager
def stopping_in_order() -> Iterator[None]:
    """Lets a signal that would end the process raise RunStoppedError, so that unfinished files are removed."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise RunStoppedError(f"Stopped by {signal.Signals(number).name}.", number)
