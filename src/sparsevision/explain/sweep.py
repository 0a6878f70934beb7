"""One picture looked at with several values of a control: what a page lets a person slide through."""

from __future__ import annotations

from dataclasses import dataclass

from sparsevision.errors import ConfigError
from sparsevision.types import Control, Result

from .detection_look import DetectionLook

# Shares of a control's largest value at which a sweep looks: close together where little is spent.
_RUNGS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)


@dataclass(frozen=True)
class Sweep:
    """A picture's looks, in rising order of a control's value; a model without a control has one look.

    `start` says which of them has the value that the model would use by itself, or that was asked for.
    """

    looks: tuple[DetectionLook, ...]
    control: Control | None = None
    start: int = 0

    def __post_init__(self) -> None:
        if not self.looks:
            raise ConfigError("A sweep needs at least one look; received none.")

    @property
    def own(self) -> DetectionLook:
        """The look with the value that the model would use by itself, or that was asked for."""
        return self.looks[self.start]

    @property
    def result(self) -> Result:
        """What was found then."""
        return self.own.result

    @property
    def values(self) -> tuple[float, ...]:
        """The control's value in each look; none without a control."""
        return tuple(float(look.settings[self.control.name]) for look in self.looks) if self.control else ()


def sweep_values(control: Control, own: float | None = None) -> tuple[float, ...]:
    """Returns the values at which to look, rising: rungs within the control's range, and `own`, or its default."""
    rungs = {round(rung * control.maximum, 6) for rung in _RUNGS}
    within = {value for value in rungs if value >= control.minimum}
    return tuple(sorted(within | {control.default if own is None else own}))
