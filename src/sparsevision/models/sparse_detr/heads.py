"""Feed-forward networks and detection heads of tokens and queries."""

from __future__ import annotations

import math

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

# Share of positive answers that a new class head expects, so that its first losses are not all from empty places.
PRIOR = 0.01


class PostNormFeedForward(nn.Module):
    """Two linear layers with a ReLU between them, the residual, and the norm after it."""

    def __init__(self, width: int, inner_width: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner_width)
        self.fc2 = nn.Linear(inner_width, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Returns the tokens, enriched and normalised."""
        return self.norm(x + self.dropout(self.fc2(self.dropout(F.relu(self.fc1(x))))))


class BoxHead(nn.Module):
    """Class logits and a box, relative to some reference, for every token."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.classes = nn.Linear(width, num_classes)
        self.box = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 4)])

    def init_weights(self, side: float = 0.0) -> None:
        """Starts at the references themselves, `side` being the logit of width and height where there is none."""
        nn.init.constant_(self.classes.bias, -math.log((1 - PRIOR) / PRIOR))
        last = self.box[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        nn.init.constant_(last.bias[2:], side)

    def shift(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens 4"]:
        """Returns what is added to the logits of a reference box."""
        hidden, inner, last = self.box
        return last(F.relu(inner(F.relu(hidden(tokens)))))
