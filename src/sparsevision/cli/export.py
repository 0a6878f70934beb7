"""`sparsevision export`: a trained model as a file of another runtime."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sparsevision.cli.demo import found_scenes
from sparsevision.cli.names import report_skipped, split_options
from sparsevision.cli.sizes import parse_size
from sparsevision.cli.tables import show_status
from sparsevision.errors import ConfigError
from sparsevision.files import check_folder_of, check_new

if TYPE_CHECKING:
    from sparsevision.types import Skipped

_Flag = Parameter(negative="")
_COMPARED, _CALIBRATED = 20, 100
_OWN = (
    "out", "format", "size", "dynamic", "batch", "trace", "precision", "images", "calibration", "overwrite", "debug",
)  # fmt: skip


def export(
    model: str, *controls: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)], out: Path,
    format: Literal["onnx", "openvino", "pt2", "web"] = "onnx", size: str | None = None,
    dynamic: Annotated[bool, _Flag] = False, batch: int | None = None, trace: Annotated[bool, _Flag] = False,
    precision: Literal["fp32", "fp16", "int8"] = "fp32",
    images: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    calibration: Annotated[list[str] | None, Parameter(consume_multiple=True, negative="")] = None,
    overwrite: Annotated[bool, _Flag] = False,
) -> int:  # fmt: skip
    """Write a model for ONNX Runtime, OpenVINO or torch.export, and compare it with PyTorch.

    The file carries labels, preprocessing and thresholds, and is used by name wherever a model is: `sparsevision
    predict photo.jpg --model model.onnx`. Controls of the model, as --keep-ratio 0.2, are fixed by the export. Status 1
    if the file does not give the same answers.

    Args:
        model: A checkpoint (folder or file), a run's best/ folder, or a model's name for its published weights.
        out: The file to write: .onnx, .xml or .pt2; or the folder of a page.
        format: The format. web is a folder with a page that runs the model in a browser.
        size: Size of the images in pixels, 224 or 480x640 (height and width). Default: the model's own.
        dynamic: Images of any size whose sides are multiples of 32. Default for models that see whole images.
        batch: Images at once. Default: any number.
        trace: The file also returns what the model looked at, for `explain`.
        precision: fp16 halves an OpenVINO file. int8 is faster, where a model is offered in it, and loses up to one
            point of the score; it is fitted to --calibration.
        images: Files, folders or glob patterns to compare with, 20 of them at most, evenly spaced. Default: those of
            --calibration, or the photographs of `sparsevision demo`.
        calibration: Files, folders or glob patterns of images of the kind that the model is for, of which 100 are
            taken, for --precision int8.
        overwrite: Replace files that exist already.
    """
    given, options = split_options(controls)
    if given:
        raise ConfigError(f"{given[0]!r} stands behind the model: name images by --images.")
    from sparsevision.export.formats import FORMATS

    way = FORMATS[format]
    way.check_installed(precision)
    if way.suffix and out.suffix.lower() != way.suffix:
        raise ConfigError(f"--out {out}: the name of this format ends in {way.suffix}.")
    check_folder_of(out, "the exported model")
    for path in way.files(out):
        check_new(path, overwrite=overwrite, inputs=[model])

    from sparsevision.export import ExportOptions, export_model
    from sparsevision.factory import open_model
    from sparsevision.inference.options import options_of, resolve_options
    from sparsevision.inference.sources import find_images
    from sparsevision.runtimes import is_exported

    opened = model if is_exported(model) else open_model(model)
    known = () if isinstance(opened, str) else options_of(opened).values()
    fixed = resolve_options(options, known, others=_OWN)
    side = None if size is None else parse_size(size, "--size")
    asked = ExportOptions(
        format=format, size=(side, side) if isinstance(side, int) else side, dynamic=dynamic or None, batch=batch,
        trace=trace, precision=precision, controls=fixed,
    )  # fmt: skip
    skipped: list[Skipped] = []
    shown = images or calibration or [path for _, path in found_scenes()]
    compared = _spread(find_images(shown, sys.stdin.buffer, skipped), _COMPARED)
    fitted = _spread(find_images(calibration or (), sys.stdin.buffer, skipped), _CALIBRATED)
    with show_status("starting") as status:
        made = export_model(opened, out, asked, images=compared, calibration=fitted, progress=status.update)
    report_skipped(skipped, len(compared))
    megabytes = sum(path.stat().st_size for path in made.files) / 1e6
    print(f"{out}: {megabytes:.1f} MB, takes images ({', '.join(map(str, made.graph.axes))}), for {way.title}.")
    assert made.agreement is not None
    print(f"Compared with PyTorch, which saw the same: {made.agreement}.")
    if made.remark:
        print(made.remark)
    if made.agreement.passes:
        return 0
    print("The file does not give the same answers: use it only if the differences do not matter.", file=sys.stderr)
    return 1


def _spread(paths: Iterable[str], count: int) -> list[str]:
    """Returns so many paths at most, evenly spaced: the first ones of class folders would be of one class."""
    found = list(paths)
    return [found[place * len(found) // count] for place in range(count)] if len(found) > count else found
