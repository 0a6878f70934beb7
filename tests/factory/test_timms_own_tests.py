"""timm's own tests of models on ours, as far as they apply to networks that end in tokens.

They are taken from the source distribution of the timm that is installed, which a package index has.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tarfile
from importlib.metadata import version
from types import ModuleType
from typing import Any

import pytest

import sparsevision.timm

pytestmark = pytest.mark.slow

SPARSE, VISUAL = "sparseformer_nano", "vt_resnet18"
# What does not apply, and why.
NOT_FOR_TOKENS = {
    "test_model_default_cfgs": "features are tokens and lie on no grid: the test for such models is run",
    "test_model_forward_fx": "torch.fx cannot trace choices by sizes: torch.export does",
    "test_model_forward_torchscript": "TorchScript is deprecated: torch.export does",
}
MAPS = (
    "test_model_forward_features", "test_model_forward_intermediates", "test_model_forward_intermediates_features",
    "test_prune_intermediate_layers_contract",
)  # fmt: skip


@pytest.fixture(scope="module")
def timms(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> ModuleType:
    folder, wanted = tmp_path_factory.mktemp("timm"), f"timm=={version('timm')}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", "timm", "-d", str(folder)]
    ran = subprocess.run([*command, wanted], capture_output=True, text=True, check=False)
    [*found] = folder.glob("*.tar.gz")
    if not found:
        pytest.skip(f"no package index has the source of {wanted}: {ran.stderr.strip()[-200:]}")
    with tarfile.open(found[0]) as archive:
        name = next(name for name in archive.getnames() if name.endswith("/tests/test_models.py"))
        archive.extract(name, folder, filter="data")
    spec = importlib.util.spec_from_file_location("timms_test_models", folder / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    for marker in set(re.findall(r"\bmark\.(\w+)", (folder / name).read_text())) - {"parametrize", "skipif", "xfail"}:
        pytestconfig.addinivalue_line("markers", f"{marker}: of timm's tests")
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [SPARSE, VISUAL])
@pytest.mark.parametrize(("test", "more"), [("forward", {"batch_size": 1}), ("backward", {"batch_size": 2})])
def test_passes_forwards_and_backwards(timms: ModuleType, name: str, test: str, more: dict[str, Any]) -> None:
    assert name in sparsevision.timm.__all__
    getattr(timms, f"test_model_{test}")(name, **more)


@pytest.mark.parametrize("name", [SPARSE, VISUAL])
def test_configurations_heads_and_pooling(timms: ModuleType, name: str) -> None:
    timms.test_model_default_cfgs_non_std(name, 1, "meta")


@pytest.mark.parametrize("test", MAPS)
def test_feature_maps(timms: ModuleType, test: str) -> None:
    more = {} if test.startswith("test_prune") else {"batch_size": 1}
    getattr(timms, test)(VISUAL, **more)


def test_what_is_left_out_is_there(timms: ModuleType) -> None:
    assert "test_model_default_cfgs" in NOT_FOR_TOKENS
    assert hasattr(timms, "test_model_default_cfgs")
