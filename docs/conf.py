"""How Sphinx builds the documentation; `make docs` calls it with warnings as errors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from docutils import nodes

from sparsevision import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "sparsevision"
author = "The sparsevision authors"
copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "cyclopts.ext.sphinx",
    "sphinx_design",
    "recipe_fields",
]
myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

default_role = "code"
# Not the dashes, which would spoil the names of options.
smartquotes_action = "qe"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
# Shapes stand in jaxtyping's strings, which are no references.
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"sparsevision {release}"
html_static_path = ["_static"]


# What people type into the search that the pages call otherwise.
KEYWORDS = {
    "classification": "classifier, classify, image recognition, top-1, top-5",
    "data": "dataset, dataloader, image folder, webdataset, csv",
    "deployment": "quantization, quantize, tensorrt, inference server, production, mobile, javascript, s3",
    "detection": "count, counting, object detection, bounding box, bbox, confidence, nms",
    "faq": "help, problem, error, slow, memory",
    "gallery": "heatmap, visualization, examples",
    "howto/class_imbalance": "imbalanced, unbalanced, weighted sampler, long tail, rare classes",
    "howto/count": "counter, number of objects",
    "howto/crowded_images": "duplicates, overlapping, queries",
    "howto/fine_tune": "finetune, finetuning, transfer learning, pretrained, backbone, freeze",
    "howto/gpus": "cuda, ddp, distributed, multi-gpu, mixed precision, amp, mps",
    "howto/hub": "huggingface, push_to_hub, save_pretrained, upload, share",
    "howto/labels": "class names, id2label",
    "howto/own_data": "custom dataset, custom data",
    "howto/small_objects": "sahi, tiles, tiling, high resolution",
    "howto/trackers": "wandb, tensorboard, trackio, logging",
    "howto/whole_image": "resize, letterbox, aspect ratio, cropping",
    "install": "pip, conda, docker, requirements",
    "python": "inference, api, load model",
    "segmentation": "semantic segmentation, masks, miou, iou, polygon",
    "sparse_detr": "attention map, saliency, heatmap, deformable attention",
    "sparseformer": "attention map, heatmap, explainability, xai, grad-cam, interpretability",
    "video": "action recognition, clip, camera, webcam, rtsp, stream",
    "visual_transformers": "attention map, tokenizer, heatmap",
}


def setup(app: Any) -> None:
    """Connects what follows."""
    # Before the collectors, which take headings into the table of contents.
    app.connect("doctree-read", name_options, priority=100)
    app.connect("doctree-read", give_keywords, priority=100)


def give_keywords(app: Any, tree: nodes.document) -> None:
    """Lets the search find a page by words that it does not use."""
    if words := KEYWORDS.get(app.env.docname):
        tree.insert(0, nodes.meta(name="keywords", content=words))


def name_options(app: Any, tree: nodes.document) -> None:
    """Calls the generated list of a command's parameters "Options": its heading would repeat the page's."""
    page = app.env.docname
    if page.startswith("commands/"):
        for title in list(tree.findall(nodes.title))[1:]:
            if title.astext() == page.partition("/")[2]:
                title[:] = [nodes.Text("Options")]
