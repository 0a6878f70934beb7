"""An exported classifier without this package: NumPy, Pillow and ONNX Runtime, and what the file carries.

$ sparsevision export sparseformer_nano --out sparseformer.onnx
$ python examples/onnx_alone.py sparseformer.onnx cat.jpg
"""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main(model: str, photograph: str) -> None:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    described = json.loads(session.get_modelmeta().custom_metadata_map["sparsevision"])
    images = preprocess(Image.open(photograph), described["preprocessing"])[None]
    logits = session.run(["logits"], {"images": images})[0][0]
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    for index in probabilities.argsort()[::-1][:5]:
        print(f"{described['labels'][index]}: {probabilities[index]:.3f}")


def preprocess(image: Image.Image, view: dict) -> np.ndarray:
    """Resizes the image so that it covers size / crop_fraction, takes the centre, and normalises it: (3, H, W)."""
    assert view["fit"] == "crop"
    image = ImageOps.exif_transpose(image).convert("RGB")
    height, width = view["size"]
    cover = [int(side / view["crop_fraction"]) for side in (width, height)]
    scale = max(cover[0] / image.width, cover[1] / image.height)
    size = [max(int(side * scale), least) for side, least in zip(image.size, cover, strict=True)]
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[view["interpolation"]]
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    shown = image.resize(size, method).crop((left, top, left + width, top + height))
    pixels = (np.asarray(shown, np.float32) / 255 - np.float32(view["mean"])) / np.float32(view["std"])
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
