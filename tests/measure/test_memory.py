"""The memory probe sees what is allocated at the peak, in this process and in one of its own."""

from __future__ import annotations

import sys

import pytest
import torch

from sparsevision.errors import SparseVisionError
from sparsevision.measure import memory
from sparsevision.measure.cases import Candidate, Workload
from sparsevision.measure.memory import MemoryUse, measure_memory, peak_growth

linux = pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark can be reset on Linux only")


def _allocate(megabytes: int) -> None:
    torch.ones(megabytes * 1_000_000 // 4)


@linux
def test_an_allocation_of_100_mb_is_seen_though_it_is_freed_at_once():
    use = peak_growth(lambda: _allocate(100))
    assert use.exact
    assert use.megabytes == pytest.approx(100, abs=8)


@linux
def test_an_earlier_higher_peak_is_forgotten():
    _allocate(300)
    assert peak_growth(lambda: _allocate(50)).megabytes == pytest.approx(50, abs=8)


def test_without_a_mark_that_can_be_reset_the_figure_is_called_a_bound(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "absent" / "clear_refs")
    use = peak_growth(lambda: None)
    assert not use.exact
    assert use.peak >= 0


@pytest.mark.slow
@linux
def test_a_candidate_is_measured_in_a_process_of_its_own():
    use = measure_memory(Candidate("sparseformer_nano", Workload(size=512), path="plain"), "contiguous", threads=1)
    assert use.exact
    # The first convolution alone makes 64 channels at 256 x 256; the weights of 12 MB are not counted.
    assert 64 * 256 * 256 * 4 < use.peak < 12 * 64 * 256 * 256 * 4


@pytest.mark.slow
def test_a_process_that_fails_is_told_in_one_sentence():
    with pytest.raises(SparseVisionError, match=r"resnet1 at 64 px.*failed: .*Unknown timm model: 'resnet1'"):
        measure_memory(Candidate("timm/resnet1", Workload(size=64)), "contiguous", threads=1)


def test_megabytes_are_millions_of_bytes():
    assert MemoryUse(2_500_000, True).megabytes == 2.5
