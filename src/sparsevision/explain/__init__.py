"""Where a model looked, drawn: figures, a GIF, a page; and measures of whether what is drawn is true.

This room reads pictures, results and traces, and knows no model.
"""

from __future__ import annotations

from .animation import save_animation
from .density import density, share_inside
from .disturbances import DISTURBANCES
from .faithfulness import centre_map, deletion_insertion, faithfulness
from .faithfulness_figure import faithfulness_figure
from .figures import disturbed_figure, stages_figure, tokens_figure
from .grad_cam import grad_cam
from .keep_ratio_figure import keep_ratio_figure
from .look import Look, Stage
from .page import save_page
from .sheet import save_figure

__all__ = [
    "DISTURBANCES",
    "Look",
    "Stage",
    "centre_map",
    "deletion_insertion",
    "density",
    "disturbed_figure",
    "faithfulness",
    "faithfulness_figure",
    "grad_cam",
    "keep_ratio_figure",
    "save_animation",
    "save_figure",
    "save_page",
    "share_inside",
    "stages_figure",
    "tokens_figure",
]
