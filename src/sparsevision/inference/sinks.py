"""What writes results down while they pass by on their way to whoever reads them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from sparsevision.types import Result

R = TypeVar("R", bound=Result)


class Sink(ABC, Generic[R]):
    """Takes results as they come, between entering and leaving it."""

    @abstractmethod
    def add(self, result: R) -> None:
        """Takes one result."""

    def watching(self, pictures: Iterator[Any]) -> Iterator[Any]:
        """Lets pictures pass on to a predictor; a sink that needs them looks at them here."""
        return pictures

    def passing(self, results: Iterable[R]) -> Iterator[R]:
        """Takes results as they pass by."""
        for result in results:
            self.add(result)
            yield result

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
