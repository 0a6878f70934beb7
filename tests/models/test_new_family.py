"""A family of networks is one folder and one entry of the table: everything else finds it there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from model_checks import CHECKS, EACH_CHECK, make, smallest
from sparsevision import Predictor
from sparsevision.checkpoints import save_checkpoint
from sparsevision.errors import UnknownNameError
from sparsevision.factory import (
    create_model,
    list_models,
    load_model,
    preprocessing_of,
    summarise_models,
    task_of,
)
from sparsevision.models.registry import FAMILIES, Family

TOY = Family(
    name="toy",
    task="classification",
    module="toy_family",
    class_name="ToyNet",
    variants="toy_family",
    state_dict="toy_family",
    pipeline_tag="image-classification",
    tags=("toys",),
)


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "toy", TOY)


@pytest.mark.parametrize("check", EACH_CHECK)
def test_a_new_family_is_put_through_every_check(check: str) -> None:
    CHECKS[check](make(smallest("toy")), smallest("toy"))


def test_its_variants_are_listed_and_made() -> None:
    assert list_models("toy*") == ["toy_small", "toy_wide"]
    assert [one.parameters for one in summarise_models("toy*")] == [260, 516]
    assert (task_of("toy_wide"), preprocessing_of("toy_wide").size) == ("classification", (48, 48))
    assert create_model("toy_small", num_classes=2, in_chans=1)(torch.rand(1, 1, 9, 9)).shape == (1, 2)


def test_files_in_our_format_and_in_its_own_layout_are_read(tmp_path: Path) -> None:
    model = create_model("toy_small").eval()
    labels = ("ant", "bee", "cat", "dog")
    save_checkpoint(
        tmp_path / "toy", model, name="toy_small", preprocessing=preprocessing_of("toy_small"), labels=labels
    )
    assert load_model(tmp_path / "toy").identity.labels == labels
    (found,) = Predictor(tmp_path / "toy", "cpu")([Image.new("RGB", (40, 30))])
    assert set(found.labels) <= set(labels)
    theirs = {name.replace("conv.", "theirs."): tensor for name, tensor in model.state_dict().items()}
    again = create_model("toy_small", checkpoint=theirs)
    assert again.identity.report.layout == "toys"
    assert torch.equal(again.conv.weight, model.conv.weight)


def test_its_model_card_has_its_own_tags(tmp_path: Path) -> None:
    create_model("toy_small").save_pretrained(tmp_path / "toy")
    card = (tmp_path / "toy" / "README.md").read_text()
    assert "toys" in card
    assert "sparseformer" not in card


def test_without_its_entry_it_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(FAMILIES, "toy")
    assert list_models("toy*") == []
    with pytest.raises(UnknownNameError, match="toy_small"):
        create_model("toy_small")
