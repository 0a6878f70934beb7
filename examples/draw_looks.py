"""What a trained model says of a picture, and where it looked, as one figure.

$ python examples/draw_looks.py runs/mine/best cat.jpg looks.png
"""

from __future__ import annotations

import sys

from sparsevision import Predictor
from sparsevision.data import read_picture
from sparsevision.explain import Look, save_figure, stages_figure


def main(weights: str, picture: str, figure: str) -> None:
    result = Predictor(weights)(picture, trace=True)
    print(result)
    for stage, points in result.trace.points.items():
        tokens, each, _ = points.xy.shape
        spread = points.xy.flatten(0, 1).std(dim=0).mean().item()
        print(f"{stage}: {tokens} tokens look at {each} points each, spread {spread:.2f} of the picture")
    save_figure(stages_figure(Look(read_picture(picture), result)), figure)


if __name__ == "__main__":
    main(*sys.argv[1:4])
