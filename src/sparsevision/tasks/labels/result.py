"""The result of a classifier for one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sparsevision.types import Result

if TYPE_CHECKING:
    from PIL.Image import Image

# Labels written over an annotated image.
_WRITTEN = 3


@dataclass(frozen=True, kw_only=True)
class ClassificationResult(Result):
    """The best `labels` of an image with their `scores`, best first; both are empty for a model that embeds."""

    offers: ClassVar[frozenset[str]] = frozenset({"scores"})
    labels: tuple[str, ...]
    scores: tuple[float, ...]

    def content(self) -> dict[str, Any]:
        """Returns {"classes": [{"label", "score"}, ...]}."""
        ranked = zip(self.labels, self.scores, strict=True)
        return {"classes": [{"label": label, "score": round(score, 6)} for label, score in ranked]}

    def cells(self) -> dict[str, str]:
        """Returns the classes with their scores in one cell."""
        return {"classes": self.summary()} if self.classes else {"embedding": "computed"}

    def summary(self) -> str:
        """Returns the classes with their scores."""
        return ", ".join(f"{label} {score:.3f}" for label, score in zip(self.labels, self.scores, strict=True))

    def agreement(self, other: Self) -> float:
        """Returns whether both have the same best class."""
        return float(self.labels[:1] == other.labels[:1])

    def annotate(self, image: Image, *, least_side: int = 480) -> Image:
        """Returns the image with the best classes written into its upper left corner."""
        # Imported late: predicting without drawing does without a font.
        from sparsevision.drawing.boxes import enlarged, write_lines

        ranked = list(zip(self.labels, self.scores, strict=True))[:_WRITTEN]
        return write_lines(enlarged(image, least_side), [f"{label} {score:.2f}" for label, score in ranked])
