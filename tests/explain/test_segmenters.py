"""Explanations of segmenters: where tokens go, the areas that were found, and the page; and statistics of tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mask_folder import CLASSES, draw_mask_folder, save_tiny_segmenter
from sparsevision.checkpoints import save_checkpoint
from sparsevision.cli import main
from sparsevision.evaluation.token_statistics import measure_tokens
from sparsevision.explain import figures_for
from sparsevision.explain.explanation import Explanation
from sparsevision.explain.registry import panels_for
from sparsevision.factory import create_model
from sparsevision.tasks.segmentation.result import SegmentationResult
from sparsevision.types import Preprocessing, TokenMaps, Trace


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_mask_folder(tmp_path_factory.mktemp("shapes") / "data")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """VT-FPN and SparseFormer's segmenter, small and never trained."""
    place = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    small = {"num_tokens": 9, "num_points": 4, "feature_channels": 8, "focusing_width": 64, "cortex_width": 64}
    model = create_model(
        "sparseformer_segmenter_nano", num_classes=3, cortex_depth=1, restored_width=16, decoder_width=16, **small
    )
    view = Preprocessing(size=(64, 512), fit="short")
    save_checkpoint(place / "sf", model, name="sparseformer_segmenter_nano", preprocessing=view, labels=CLASSES)
    return {"vt": save_tiny_segmenter(place / "vt", name="vt_fpn_nano"), "sf": place / "sf"}


def explanation() -> Explanation:
    """Three tokens: the first is given to the left half, the second to the right one."""
    trace = Trace()
    given = torch.zeros(1, 3, 2, 4)
    given[:, 0, :, :2] = given[:, 1, :, 2:] = 1
    trace.record("level.1", TokenMaps(given=given))
    labels = np.zeros((20, 40), np.uint8)
    labels[:, 20:] = 1
    result = SegmentationResult(name="x.png", classes=CLASSES, labels=labels, trace=trace[0])
    return Explanation(image=Image.new("RGB", (40, 20), (90, 90, 90)), result=result)


def test_owners_and_given_follow_the_maps() -> None:
    shown = explanation()
    (module,) = shown.modules
    assert module.most_given().tolist() == [[0, 0, 1, 1]] * 2
    assert module.relative("given").max() == 3
    names = [kind.name for kind in figures_for(shown.has)]
    assert names == ["owners", "given", "annotated"]
    for kind in figures_for(shown.has):
        assert kind.draw(shown).get_figwidth() > 0
    panels = {kind.name: kind for _, kind in panels_for(shown.has)}
    assert list(panels) == ["areas", "modules"]
    areas = panels["areas"].content(shown)
    assert areas["classes"] == [["background", 0.5, 1], ["square", 0.5, 1]]
    content = panels["modules"].content(shown)["modules"][0]
    assert (content["read"], content["count"], content["share"]) == (None, 3, [0.5, 0.5, 0.0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "figures"),
    [("vt", {"attention", "owners", "given"}), ("sf", {"stages", "owners", "given", "disturbed"})],
)
def test_the_command(name: str, figures: set[str], weights: dict[str, Path], folder: Path, tmp_path: Path) -> None:
    image = str(folder / "val" / "images" / "val000.png")
    assert main(["explain", image, "--model", str(weights[name]), "--figure", "all", "--out", str(tmp_path)]) == 0
    assert {path.stem.removeprefix("val000-") for path in tmp_path.glob("*.png")} == {*figures, "annotated"}


@pytest.mark.slow
def test_the_page(
    weights: dict[str, Path], folder: Path, tmp_path: Path, open_page: Callable[..., Any]
) -> None:  # fmt: skip
    image = str(folder / "val" / "images" / "val000.png")
    for name, count, kind in (("vt", 8, "read"), ("sf", 9, "given")):
        out = tmp_path / name
        assert main(["explain", image, "--model", str(weights[name]), "--page", "--out", str(out)]) == 0
        with open_page(out / "page.html") as page:
            assert page.locator("#tokens .map").count() == count
            assert page.is_checked(f"input[value={kind}]")
            assert page.is_disabled("input[value=read]") is (name == "sf")
            page.check("input[value=given]")
            page.hover("#token-1")
            assert "Given to the image:" in page.text_content("#token")
            assert "%" in page.text_content("#areas li")
            assert page.get_attribute("#drawn", "src").startswith("data:image/jpeg")


def test_statistics_of_tokens(weights: dict[str, Path], folder: Path, tmp_path: Path) -> None:
    measured = measure_tokens(weights["vt"], str(folder), device="cpu")
    assert measured.images == 3
    assert [row.module for row in measured.rows] == [f"level.{number}" for number in range(1, 5)]
    for row in measured.rows:
        assert 0 < row.entropy <= row.even + 1e-4
        assert row.foreground is not None
        assert -1 < row.foreground < 2
    # 64 x 85 pixels are seen in 4 x 6 cells of stride 16.
    assert measured.rows[2].even == pytest.approx(np.log(4 * 6))
    command = ["explain", "--tokens", "--data", str(folder), "--model", str(weights["vt"]), "--out", str(tmp_path)]
    assert main(command) == 0
    assert len(json.loads((tmp_path / "tokens.json").read_text())["rows"]) == 4
    calls: list[tuple[int, int]] = []
    few = measure_tokens(weights["vt"], str(folder), limit=1, progress=lambda done, total: calls.append((done, total)))
    assert (few.images, calls[-1]) == (1, (1, 1))
    assert main([*command, "--overwrite", "--faithfulness"]) == 2


def test_attention_on_things_is_told() -> None:
    from sparsevision.evaluation.token_statistics import _Sums

    sums, foreground = _Sums(), torch.zeros(8, 8, dtype=torch.bool)
    foreground[:, :4] = True
    read = torch.zeros(2, 4, 4)
    read[:, :, :2], read[:, :, 2:] = 3 / 32, 1 / 32
    sums.add(read, foreground)
    row = sums.statistics("level.1", 1)
    assert row.foreground == pytest.approx(2.0)
    assert row.even == pytest.approx(np.log(16))
