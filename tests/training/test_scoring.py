"""What weights are scored on: never what they were learned from, whatever the classes are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sparsevision.checkpoints.labels import imagenet_labels, imagenet_synsets
from sparsevision.data import Dataset
from sparsevision.data.subset import labelled_as
from sparsevision.errors import ConfigError
from sparsevision.evaluation.evaluate import evaluate
from sparsevision.tasks.classification.task import ClassificationTask
from sparsevision.training import read_recipe, train

SMALL = {
    "transforms.size": 32, "data.decode_side": None, "data.batch": 4, "schedule.epochs": 1, "schedule.warmup_epochs": 0,
    "run.workers": 0, "model.config.cortex_depth": 1,
}  # fmt: skip


def test_an_undivided_folder_is_divided_for_scoring_as_it_was_for_training(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, read, own = str(photographs / "my_images" / "train"), [], ClassificationTask.open

    def noting(*given: Any, **named: Any) -> Dataset:
        read.append(own(*given, **named))
        return read[-1]

    monkeypatch.setattr(ClassificationTask, "open", noting)
    scored = set()
    for seed in range(4):
        out = tmp_path / str(seed)
        train(read_recipe("folder_nano").with_values({**SMALL, "data.split_seed": seed}), data=data, out=out)
        names = [json.loads(line) for line in (out / "scored.txt").read_text().splitlines()]
        for weights in (out, out / "best"):
            evaluate(weights, data)
            assert list(read[-1].names) == names
        scored.add(tuple(names))
    assert len(scored) > 1


class Folders:
    """A data set as far as its classes."""

    def __init__(self, *classes: str) -> None:
        self.classes, self.labels, self.names = classes, list(range(len(classes))), list(classes)
        self.origin = self.fingerprint = "made up"

    def __len__(self) -> int:
        return len(self.classes)


def as_imagenet(*folders: str) -> Dataset:
    return labelled_as(Folders(*folders), imagenet_labels(), ClassificationTask.relabel, [imagenet_synsets()])


def test_imagenets_folders_are_known_by_their_synsets() -> None:
    assert len(set(imagenet_labels())) == 1000
    found = as_imagenet("n01440764", "n02012849", "n03126707")
    named = [imagenet_labels()[label] for label in found.labels]
    assert named == ["tench, Tinca tinca", "crane (n02012849)", "crane (n03126707)"]
    assert [imagenet_synsets()[label] for label in found.labels] == found.names
    with pytest.raises(ConfigError, match="2 classes that the model does not know"):
        as_imagenet("n01440764", "unicorn")


def test_images_may_not_be_decoded_smaller_than_they_are_used() -> None:
    with pytest.raises(ConfigError, match=r"data\.decode_side \(160\) must be at least transforms\.size \(224\)"):
        read_recipe("caltech101_nano", ["transforms.size=224"])
