"""Explanations of results: figures, animations and a page of what a model sampled and read.

This room reads images, results and traces, and knows no model and no task. What can be drawn is listed in `registry`.
"""

from __future__ import annotations

from .clip import ClipFrames
from .comparison_figure import comparison_figure
from .control_sweep import ControlSweep, sweep_values
from .curves import faithfulness_figure, sweep_figure
from .density import density, share_inside
from .explanation import Explanation, SamplingStage
from .gif import save_animation
from .kinds import Animation, AnimationKind, FigureKind, NothingToDrawError, PanelKind
from .page import save_page
from .registry import all_figures, animations_for, figures_for
from .sheet import save_figure
from .writer import ExplanationWriter

__all__ = [
    "Animation", "AnimationKind", "ClipFrames", "ControlSweep", "Explanation", "ExplanationWriter", "FigureKind",
    "NothingToDrawError", "PanelKind", "SamplingStage", "all_figures", "animations_for", "comparison_figure",
    "density", "faithfulness_figure", "figures_for", "save_animation", "save_figure", "save_page", "share_inside",
    "sweep_figure", "sweep_values",
]  # fmt: skip
