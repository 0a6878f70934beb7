"""Where a model looked, drawn: figures, a GIF, a page; and measures of whether what is drawn is true.

This room reads pictures, results and traces, and knows no model.
"""

from __future__ import annotations

from .animation import save_animation
from .attention_figures import attention_figure
from .attention_look import AttentionLook
from .attention_page import save_attention_page
from .comparison_figure import comparison_figure
from .density import density, share_inside
from .detection_figures import detections_figure, query_figure, saliency_figure
from .detection_look import DetectionLook
from .detection_page import save_detection_page
from .disturbances import DISTURBANCES
from .faithfulness import centre_map, deletion_insertion, faithfulness
from .faithfulness_figure import faithfulness_figure
from .figures import disturbed_figure, stages_figure, tokens_figure
from .grad_cam import grad_cam
from .look import Look, Stage
from .page import save_page
from .sheet import save_figure
from .sweep import Sweep, sweep_values
from .sweep_animation import save_sweep_animation
from .sweep_figure import sweep_figure

__all__ = [
    "DISTURBANCES",
    "AttentionLook",
    "DetectionLook",
    "Look",
    "Stage",
    "Sweep",
    "attention_figure",
    "centre_map",
    "comparison_figure",
    "deletion_insertion",
    "density",
    "detections_figure",
    "disturbed_figure",
    "faithfulness",
    "faithfulness_figure",
    "grad_cam",
    "query_figure",
    "saliency_figure",
    "save_animation",
    "save_attention_page",
    "save_detection_page",
    "save_figure",
    "save_page",
    "save_sweep_animation",
    "share_inside",
    "stages_figure",
    "sweep_figure",
    "sweep_values",
    "tokens_figure",
]
