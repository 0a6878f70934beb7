"""The result of counting for one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sparsevision.types import Result

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, kw_only=True)
class CountingResult(Result):
    offers: ClassVar[frozenset[str]] = frozenset({"count"})
    count: float

    def content(self) -> dict[str, Any]:
        return {"count": round(self.count, 3)}

    def cells(self) -> dict[str, str]:
        return {self.classes[0]: f"{self.count:.1f}"}

    def summary(self) -> str:
        return f"{self.count:.1f} {self.classes[0]}"

    def agreement(self, other: Self) -> float:
        return float(abs(self.count - other.count) < 0.1)

    def annotate(self, image: Image, *, least_side: int = 480) -> Image:
        from sparsevision.drawing.boxes import enlarged, write_lines

        return write_lines(enlarged(image, least_side), [self.summary()])
