"""A trained model's result for an image, and where it sampled, as one figure.

$ python examples/draw_explanation.py runs/mine/best cat.jpg stages.png
"""

from __future__ import annotations

import sys

from sparsevision import Predictor, explain_images
from sparsevision.explain import figures_for, save_figure


def main(weights: str, image: str, figure: str) -> None:
    [explanation] = explain_images(Predictor(weights), [image])
    print(explanation.result)
    for stage in explanation.stages:
        tokens, each, _ = stage.points.shape
        spread = (stage.points.reshape(-1, 2) / explanation.size).std(axis=0).mean()
        print(f"{stage.title}: {tokens} tokens sample {each} points each, spread {spread:.2f} of the image")
    kind = figures_for(explanation.has)[0]
    print(f"{kind.name}: {kind.description}")
    save_figure(kind.draw(explanation), figure)


if __name__ == "__main__":
    main(*sys.argv[1:4])
