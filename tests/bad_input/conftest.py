"""What the rows of the table start from: good things, made once, of which every row spoils copies of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bench import Bench, make_good_things


@pytest.fixture(scope="session")
def good_things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_good_things(tmp_path_factory.mktemp("good"))


@pytest.fixture
def bench(good_things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    # Relative names in a row mean nothing, and nothing may be written where the tests were started.
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    made = Bench(tmp_path, good_things)
    with made.left:
        yield made
