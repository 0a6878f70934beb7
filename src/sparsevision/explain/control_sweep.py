"""One image explained with rising values of a control."""

from __future__ import annotations

from dataclasses import dataclass

from sparsevision.errors import ConfigError
from sparsevision.types import Control, Result

from .explanation import Explanation

# Shares of a control's largest value: close together where little is spent.
_RUNGS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class ControlSweep:
    """An image's explanations, in rising order of a control's value; a model without a control has one.

    `start` is the index of the one with the model's own value, or the value that was asked for.
    """

    explanations: tuple[Explanation, ...]
    control: Control | None = None
    start: int = 0

    def __post_init__(self) -> None:
        if not self.explanations:
            raise ConfigError("A sweep needs at least one explanation; received none.")

    @property
    def own(self) -> Explanation:
        """The explanation with the model's own value, or the value that was asked for."""
        return self.explanations[self.start]

    @property
    def result(self) -> Result:
        """The result with that value."""
        return self.own.result

    @property
    def has(self) -> frozenset[str]:
        """The names that animations and panels need; "control_values" where there are several."""
        return self.own.has | ({"control_values"} if len(self.explanations) > 1 else set())

    @property
    def values(self) -> tuple[float, ...]:
        """The control's value in each explanation; none without a control."""
        return tuple(float(each.settings[self.control.name]) for each in self.explanations) if self.control else ()


def sweep_values(control: Control, own: float | None = None) -> tuple[float, ...]:
    """Returns the values of a sweep, rising: rungs within the control's range, and `own`, or its default."""
    return tuple(sorted({*control.values_at(_RUNGS), control.default if own is None else own}))
