"""Configuration of Visual Transformers: the rows of the paper's Tables 2 to 8 as values of fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sparsevision.errors import ConfigError
from sparsevision.models.config_checks import Count, FromZero, Rate, Repeats, RepeatsFromZero, check_fields

# Blocks of the stages before the tokens, and how much wider a block comes out than it is inside.
STAGES: Mapping[int, tuple[tuple[int, int, int], int]] = {
    18: ((2, 2, 2), 1),
    34: ((3, 4, 6), 1),
    50: ((3, 4, 6), 4),
    101: ((3, 4, 23), 4),
}


@dataclass(frozen=True, kw_only=True)
class VisualTransformerConfig:
    """The hyper-parameters of a ResNet whose last stage is made of Visual Transformer modules.

    Attributes:
        depth: of the ResNet: 18, 34, 50 or 101.
        width: channels behind the stem; 64 is the standard.
        num_modules: Visual Transformer modules in the place of the last stage.
        feature_width: channels (C) of the map behind the first module; in the equation form those of the trunk.
        num_tokens: visual tokens (L).
        token_width: channels of a token (C_T); in the equation form those of the trunk.
        num_heads: attention heads of every part.
        group_width: channels of a group in grouped maps of features.
        token_groups: groups of the maps between tokens.
        form: "budget", whose costs are the published ones, or "equation": Eqs. 1 to 5 letter by letter.
        tokenizer: of the first module: "filter", "cluster", or "pool", which then stands in all modules (Table 3).
        recurrence: "full", "half" (the first version of the paper, Table 8) or "none": every module has a tokenizer as
            the first one has (Table 4).
        relation: between tokens: "attention", "graph" or "none" (Table 5).
        projector: "attention", or "none": the map stays as it is, and so all modules work on the first one's tokens
            (Table 7).
        kmeans_iterations: of the tokenizer "cluster".
        dropout: rate in front of the classifier.
        drop_path_rate: of every residual branch, of blocks and modules alike (stochastic depth).
        num_classes: outputs of the head; 0 leaves the mean of the tokens.
        in_chans: channels of the image.
    """

    depth: Literal[18, 34, 50, 101] = 18
    width: int = 64
    num_modules: Repeats = 2
    feature_width: int = 512
    num_tokens: Count = 16
    token_width: int = 1024
    num_heads: int = 16
    group_width: int = 64
    token_groups: int = 4
    form: Literal["equation", "budget"] = "budget"
    tokenizer: Literal["filter", "pool", "cluster"] = "filter"
    recurrence: Literal["full", "half", "none"] = "full"
    relation: Literal["attention", "graph", "none"] = "attention"
    projector: Literal["attention", "none"] = "attention"
    kmeans_iterations: RepeatsFromZero = 1
    dropout: Rate = 0.0
    drop_path_rate: Rate = 0.0
    num_classes: FromZero = 1000
    in_chans: int = 3

    def __post_init__(self) -> None:
        if self.depth not in STAGES:
            raise ConfigError(f"depth is {self.depth}; a ResNet of {', '.join(map(str, STAGES))} layers can be built.")
        if self.form == "equation":
            # Eqs. 1 to 5 know one width, one head, and no groups.
            for name in ("feature_width", "token_width", "group_width"):
                object.__setattr__(self, name, self.trunk_width)
            for name in ("num_heads", "token_groups"):
                object.__setattr__(self, name, 1)
        self._check()

    def _check(self) -> None:
        check_fields(self)
        if self.num_modules > 1 and self.recurrence == "half" and self.num_tokens < 2:
            raise ConfigError("recurrence='half' renews half of the tokens: num_tokens must be at least 2.")
        if self.form == "budget":
            self._check_division()

    def _check_division(self) -> None:
        for width in (self.trunk_width, self.feature_width):
            if width % self.groups(width):
                raise ConfigError(f"A width of {width} does not divide into groups of {self.group_width} channels.")
        divided = [("feature_width", self.feature_width, "num_heads")]
        if self.relation == "attention":
            # Between tokens, queries and keys are half as wide as tokens.
            half = self.token_width // 2
            divided += [("token_width", self.token_width, "token_groups")]
            divided += [("half of token_width", half, by) for by in ("num_heads", "token_groups")]
            if self.token_width % 2:
                raise ConfigError(f"token_width is {self.token_width}; for relation='attention' it must be even.")
        for what, width, by in divided:
            if width % getattr(self, by) or not width:
                raise ConfigError(f"{what} is {width}, which does not divide by {by}, {getattr(self, by)}.")
        groups = self.groups(self.feature_width)
        if self.projector == "attention" and self.num_modules > 1 and self.trunk_width % groups:
            raise ConfigError(
                f"The map that the first module reads has {self.trunk_width} channels, which do not divide into the "
                f"{groups} groups of feature_width {self.feature_width}."
            )

    @property
    def trunk_width(self) -> int:
        """Channels of the map that the first module reads."""
        return 4 * self.width * STAGES[self.depth][1]

    def groups(self, width: int) -> int:
        """Returns the groups of a map of features that comes out so wide."""
        return max(1, width // self.group_width)
