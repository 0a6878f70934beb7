"""The Hub's verbs on our models: a folder there and back, and what is sent when one is pushed."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import ModelCard
from torch import nn

from sparsevision import create_model
from sparsevision.checkpoints.hub import HubModel
from sparsevision.errors import CheckpointError, ConfigError
from sparsevision.models.sparseformer.network import SparseFormer

Make = Callable[..., nn.Module]


def test_a_model_goes_into_a_folder_and_comes_back(small: Make, tmp_path: Path) -> None:
    model = small(offset_scale=0.5)
    model.save_pretrained(tmp_path / "mine")
    images = torch.rand(1, 3, 40, 40)
    for door in (HubModel, type(model)):
        again = door.from_pretrained(tmp_path / "mine")
        assert isinstance(again, SparseFormer)
        assert again.config == model.config
        assert torch.equal(again(images), model(images))
    assert HubModel.from_pretrained(str(tmp_path / "mine"), drop_path_rate=0.1).config.drop_path_rate == 0.1
    assert "sparsevision" in (tmp_path / "mine" / "README.md").read_text()


def test_pushing_sends_one_folder_in_our_format(small: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, object] = {}

    class Hub:
        def __init__(self, token: str | None = None) -> None:
            pass

        def create_repo(self, repo_id: str, **_: object) -> SimpleNamespace:
            return SimpleNamespace(repo_id=f"me/{repo_id}")

        def upload_folder(self, *, repo_id: str, folder_path: Path, **_: object) -> str:
            sent["names"] = sorted(path.name for path in Path(folder_path).iterdir())
            sent["model"] = HubModel.from_pretrained(folder_path)
            return f"https://hub.invalid/{repo_id}"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Hub)
    model = small()
    assert model.push_to_hub("mine") == "https://hub.invalid/me/mine"
    assert sent["names"] == ["README.md", "config.json", "model.safetensors"]
    assert torch.equal(sent["model"].head.fc.weight, model.head.fc.weight)


@pytest.mark.parametrize("name", ["nobody/nothing", "not a name/at/all", ""])
def test_what_cannot_be_reached_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        HubModel.from_pretrained(name or "./nix")
    assert "\n" not in str(caught.value)


def test_copies_and_pickles_keep_class_and_identity(small: Make) -> None:
    model = small()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(twin) is type(model)
        assert twin.identity == model.identity
        assert torch.equal(twin.head.fc.weight, model.head.fc.weight)


CARDS = {
    "sparse_detr_nano": ("object-detection", "arxiv.org/abs/2111.14330"),
    "vt_fpn_nano": ("image-segmentation", "arxiv.org/abs/2006.03677"),
    "sparseformer_nano": ("image-classification", "arxiv.org/abs/2304.03768"),
    "video_sparseformer_nano": ("video-classification", "arxiv.org/abs/2304.03768"),
}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_says_what_the_model_is_for_and_the_folder_gives_it_back(name: str, tmp_path: Path) -> None:
    model = create_model(name, num_classes=2)
    known = {"license": "cc0-1.0", "data": "Cells", "scores": {"ap50": 0.9012}}
    model.save_pretrained(tmp_path, model_card_kwargs=known)
    card = ModelCard.load(tmp_path / "README.md")
    tag, paper = CARDS[name]
    assert (card.data.pipeline_tag, card.data.license, card.data.library_name) == (tag, "cc0-1.0", "sparsevision")
    [result] = card.data.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("Cells", "ap50", 0.9012)
    assert paper in card.text
    again = HubModel.from_pretrained(tmp_path)
    assert type(again) is type(model)
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in model.state_dict().items())


def test_a_card_of_scores_without_data_is_refused(small: Make, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="data"):
        small().save_pretrained(tmp_path, model_card_kwargs={"scores": {"top1": 0.5}})
