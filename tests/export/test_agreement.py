"""When an exported file counts as giving PyTorch's answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sparsevision.export.agreement import Agreement

BOXES = torch.stack([torch.linspace(0.1, 0.9, 100)] * 2 + [torch.full((100,), 0.2)] * 2, dim=-1)[None]


def _outputs(boxes: Tensor = BOXES, error: float = 0.0) -> dict[str, Tensor]:
    return {"boxes": boxes + error / 100, "logits": torch.zeros(1, 100, 3) + error}


def _exchanged(rows: int) -> Tensor:
    boxes = BOXES.clone()
    boxes[0, :rows, 2:] = 0.5
    return boxes


def _compared(*images: dict[str, Tensor], answers: float = 1.0, precision: str = "fp32") -> Agreement:
    found = Agreement(precision, agreements=[answers] * len(images))
    for image in images:
        found.add(_outputs(), image)
    return found


@pytest.mark.parametrize(("error", "passes"), [(5e-4, True), (2e-3, False)])
def test_outputs_in_fp32_differ_by_rounding(error: float, passes: bool) -> None:
    found = _compared(_outputs(), _outputs(error=error))
    assert found.passes is passes
    assert f"logits {error:.1e}" in str(found)


def test_rows_may_come_in_any_order() -> None:
    turned = {name: tensor.flip(1) for name, tensor in _outputs().items()}
    assert _compared(turned).passes


def test_queries_with_one_box_are_told_apart_by_their_scores() -> None:
    boxes = BOXES[:, :2].clone()
    boxes[0, 1] = boxes[0, 0] + 1e-4
    logits = torch.tensor([[[4.0, -4.0], [-4.0, 4.0]]])
    found = Agreement(agreements=[1.0])
    # The other row's box is nearer by rounding.
    found.add({"boxes": boxes, "logits": logits}, {"boxes": boxes.flip(1) + 6e-5, "logits": logits.flip(1)})
    assert found.passes, str(found)


def test_a_row_has_one_partner() -> None:
    # The exchanged row is almost another one: without it in the file, that one must not stand for both.
    boxes = BOXES.clone()
    boxes[0, 1] = boxes[0, 0] + 3e-3
    found, got = Agreement(agreements=[1.0]), _outputs(boxes)
    got["boxes"] = torch.cat([boxes[:, :1], torch.full((1, 1, 4), 0.5), boxes[:, 2:]], dim=1)
    found.add(_outputs(boxes), got)
    assert found.exchanged == 1, str(found)


def test_where_rows_are_exchanged_the_others_move_too() -> None:
    found = _compared(_outputs(), _outputs(), _outputs(_exchanged(2), error=0.02))
    assert found.passes
    assert "2 of 300 rows exchanged in 1 image, which the differences leave out" in str(found)
    assert not _compared(_outputs(), _outputs(_exchanged(2)), _outputs(_exchanged(2))).passes  # most images
    assert not _compared(_outputs(), _outputs(), _outputs(_exchanged(8))).passes  # too many rows
    assert "not known" in str(_compared(_outputs(_exchanged(1))))


def test_answers_are_compared_on_all_images() -> None:
    assert not _compared(_outputs(), _outputs(), answers=0.99).passes
    assert _compared(_outputs(), answers=1 - 1e-5).passes  # of pixels that are nearly tied
    assert _compared(_outputs(), _outputs(error=1.0), answers=0.99, precision="fp16").passes
    assert not _compared(_outputs(), answers=0.8, precision="int8").passes
