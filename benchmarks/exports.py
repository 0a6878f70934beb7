"""Exports every registered model in every format that it is offered in, and compares each file with PyTorch.

    python benchmarks/exports.py PHOTOGRAPHS --videos VIDEOS
    python benchmarks/exports.py PHOTOGRAPHS --only "sparse_detr_*"

The smallest model of each family is exported as it is; the others narrow and shallow, with everything else that makes
them different from one another: graphs are the same but for numbers. PHOTOGRAPHS is a folder, of whose images 20 are
compared, evenly spaced; models of videos, which are left out without VIDEOS, see 20 of these. Of a detector that
chooses tokens, it is checked at three sizes that the file updates as many as PyTorch. Writes `results/exports.md` and
`.json`; rows of other models stay in them. Status 1 where a file differs.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import cyclopts
import torch
from PIL import Image
from torch import Tensor
from torch.optim.swa_utils import update_bn
from torchvision.transforms.v2.functional import pil_to_tensor

from publishing import publish, published
from sparsevision import Predictor, create_model
from sparsevision.checkpoints.downloads import weights_status
from sparsevision.data.file_kinds import IMAGES, VIDEOS, FileKind
from sparsevision.errors import SparseVisionError
from sparsevision.export import FORMATS, ExportOptions, export_model
from sparsevision.export.support import Support, support_of
from sparsevision.factory import open_model
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.report import markdown_table
from sparsevision.models.registry import NamedVariant, variants

COMPARED = 20
SIDES = ((256, 320), (320, 416), (416, 288))
# What makes a model of a family small; a field that a configuration lacks is left out. Heads have 32 groups at most.
NARROW: Mapping[str, Any] = {
    "feature_channels": 16, "focusing_width": 32, "cortex_width": 64, "cortex_depth": 2, "head_width": 64,
    "width": 64, "ffn_width": 64, "encoder_depth": 2, "decoder_depth": 2, "num_heads": 4,
}  # fmt: skip
# Shapes of layers and tokens are those of the weights that such a model starts from.
WHOLE = ("sparseformer_nano", "sparse_detr_nano", "vt_resnet18", "vt_fpn_nano", "sparseformer_segmenter_nano",
         "sparseformer_detector_nano", "video_sparseformer_nano")  # fmt: skip


def main(
    photographs: Path, *, videos: Path | None = None, only: str = "*",
    formats: Sequence[str] = ("onnx", "openvino", "pt2"), out: Path = Path("benchmarks/results"),
) -> int:  # fmt: skip
    """Export, compare, and tell."""
    images, clips = chosen(photographs, IMAGES), chosen(videos, VIDEOS) if videos else []
    rows = {(row["model"], row["format"], row["precision"]): row for row in published(out, "exports")}
    for name, variant in sorted(variants().items()):
        shown = images if variant.preprocessing.frames is None else clips
        if fnmatchcase(name, only) and shown:
            for row in checked(variant, shown, formats):
                rows[row["model"], row["format"], row["precision"]] = row
                tell(list(rows.values()), out)
    return 0 if all(row["passes"] for row in rows.values()) else 1


def chosen(folder: Path, kind: FileKind) -> list[Path]:
    """Returns the files of a kind under a folder that are compared."""
    files = sorted(path for path in folder.rglob("*") if kind.wanted(path.name))
    return [files[place * len(files) // COMPARED] for place in range(COMPARED)]


def checked(variant: NamedVariant, images: Sequence[Path], formats: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Exports one model in its formats, in fp32 and, as OpenVINO, in fp16."""
    model = made(variant, images)
    offered: Mapping[str, Support] = {each.format: each for each in support_of(variant.name)}
    for way in (name for name in formats if name in offered):
        for precision in (each for each in offered[way].precisions if each != "int8"):
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"model{FORMATS[way].suffix}"
                row: dict[str, Any] = {
                    "model": variant.name, "format": way, "precision": precision, "whole": variant.name in WHOLE,
                    "open": offered[way].open_by_default, "passes": False, "budgets": "",
                }  # fmt: skip
                try:
                    options = ExportOptions(format=way, precision=precision, trace=way == "onnx")
                    done = export_model(model, path, options, images=images)
                    assert done.agreement is not None
                    row |= {"passes": done.agreement.passes, "agreement": str(done.agreement)}
                    if way == "onnx" and "keep_ratio" in model.controls:
                        row["budgets"] = "right" if budgets_are_right(model, path) else "WRONG"
                        row["passes"] &= row["budgets"] == "right"
                except SparseVisionError as error:
                    row["agreement"] = str(error)
            yield row | {"seconds": round(time.perf_counter() - began)}


def made(variant: NamedVariant, images: Sequence[Path]) -> Any:
    """Returns a model: with the weights that come with the package, or fresh and, unless it is to be whole, narrow."""
    torch.manual_seed(0)
    if weights_status(variant) == "packaged":
        return open_model(variant.name).eval()
    known = {field.name for field in fields(variant.config)}
    narrow = {} if variant.name in WHOLE else {name: value for name, value in NARROW.items() if name in known}
    model = create_model(variant.name, **narrow)
    # As training starts with them: residual blocks that add little. Others amplify rounding from block to block.
    for block in model.modules():
        if hasattr(block, "zero_init_last"):
            block.zero_init_last()
    with torch.no_grad():  # fresh heads give the same everywhere, and every answer would agree
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        # Without statistics of their own, deep networks would end in numbers of which no digit agrees.
        if variant.preprocessing.frames is None:  # models of videos have none
            update_bn([torch.stack([seen(path) for path in images])], model)
    view = variant.preprocessing
    if view.fit == "short":
        view = replace(view, size=(320, 533), multiple=32)
    labels = tuple(map(str, range(model.num_classes))) if model.outputs == "classes" else None
    model.identity = replace(model.identity, preprocessing=view, labels=labels)
    return model.eval()


def seen(path: Path) -> Tensor:
    """Returns an image about as models see it, (3, 224, 224), with a mean near 0 and a deviation near 1."""
    with Image.open(path) as image:
        return pil_to_tensor(image.convert("RGB").resize((224, 224))) / 64 - 2


def budgets_are_right(model: Any, path: Path) -> bool:
    """Returns whether a file updates as many tokens of each level as PyTorch, at three sizes."""
    file = Predictor(path)
    ours = Predictor(model, "cpu", preprocessing=file.preprocessing)
    for height, width in SIDES:
        image = Image.effect_noise((width, height), 80).convert("RGB")
        kept = [next(iter(each(image, trace="kept").trace.kept.values())) for each in (ours, file)]
        if len({tuple(int((level >= 0).sum()) for level in one.indices) for one in kept}) != 1:
            return False
    return True


def tell(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Writes what is known by now."""
    table = markdown_table(
        ("model", "as", "precision", "sides", "compared", "tokens", "same"),
        [
            (
                row["model"] + ("" if row["whole"] else " (narrow)"), row["format"], row["precision"],
                "open" if row["open"] else "fixed", row["agreement"], row["budgets"], "yes" if row["passes"] else "NO",
            )
            for row in rows
        ],
    )  # fmt: skip
    good = sum(bool(row["passes"]) for row in rows)
    how = f"{good} of {len(rows)} files give PyTorch's answers; {COMPARED} photographs or videos each."
    how = f"{describe_machine()}.\n\n{how}"
    publish(out, "exports", "\n".join(("# Exports", "", how, "", *table)), list(rows))


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    sys.exit(app(result_action="return_value"))
