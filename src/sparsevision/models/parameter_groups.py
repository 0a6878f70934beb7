"""Parameter groups as the papers have them: which parameters decay, and at what share of the learning rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

from torch import nn


@dataclass
class ParameterGroup:
    """Parameters that an optimiser treats alike; the learning rate is multiplied by `lr_scale`."""

    name: str
    parameters: list[tuple[str, nn.Parameter]]
    _: KW_ONLY
    decay: bool
    lr_scale: float = 1.0


def with_backbone_rate(groups: list[ParameterGroup], lr_scale: float) -> list[ParameterGroup]:
    """Divides groups into the parameters of `backbone`, at a share of the learning rate, and the others."""
    found = []
    for own, rate in ((True, lr_scale), (False, 1.0)):
        for group in groups:
            part = [item for item in group.parameters if item[0].startswith("backbone.") is own]
            name = f"backbone_{group.name}" if own else group.name
            found.append(ParameterGroup(name, part, decay=group.decay, lr_scale=rate))
    return [group for group in found if group.parameters]


def decay_groups(model: nn.Module, exempt: Callable[[str, nn.Parameter], bool]) -> list[ParameterGroup]:
    """Splits the trainable parameters of a model into those that decay and those that `exempt` frees of it."""
    trainable = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = [
        ParameterGroup("decay", [item for item in trainable if not exempt(*item)], decay=True),
        ParameterGroup("no_decay", [item for item in trainable if exempt(*item)], decay=False),
    ]
    return [group for group in groups if group.parameters]
