"""What a stranger installs: the built wheel, in an environment that has never seen the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(repository)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel alone; the heavy packages are borrowed from the tests' own."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    packages = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    # A path file inside a borrowed folder is not read, so the checkout's editable installation stays out.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "bin"


def _run(*command: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_wheel_holds_what_runs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert all(name.startswith(("sparsevision/", "sparsevision-")) for name in names)
    assert any(name.endswith("/recipes/caltech101_nano.toml") for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    shown = ("digit.jpg", "blood-cells.jpg", "nuclei.jpg", "README.md")
    assert {f"sparsevision/demo_images/{name}" for name in shown} <= {*names}
    assert "sparsevision/explain/panels/overview.css" in names
    assert sum(info.file_size for info in zipfile.ZipFile(wheel).infolist()) < 45_000_000


def test_installed_from_the_wheel_it_predicts(clean: Path, reader: Path, tmp_path: Path) -> None:
    where = _run(clean / "python", "-c", "import sparsevision; print(sparsevision.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(clean.parent)
    weights = reader / "runs" / "mine" / "best"
    said = _run(clean / "sparsevision", "predict", reader / "cat.jpg", "--model", weights, "--json", cwd=tmp_path)
    assert {choice["label"] for choice in json.loads(said)["classes"]} == {"round", "square"}


def test_installed_from_the_wheel_it_brings_weights(clean: Path, reader: Path, tmp_path: Path) -> None:
    said = _run(clean / "sparsevision", "predict", reader / "cat.jpg", "--json", "--top-k", "101", cwd=tmp_path)
    assert len(json.loads(said)["classes"]) == 101
