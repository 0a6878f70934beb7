"""What every test stands on: no network, nothing written outside the test's own folders, shapes checked if asked."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

# Set before anything imports the libraries that read them, and inherited by the processes that tests start.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="sparsevision-tests-")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("SPARSEVISION_DEBUG", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--check-shapes",
        action="store_true",
        help="check every shape annotation of the layers and models at run time; tests that compile are left out",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--check-shapes"):
        from jaxtyping import install_import_hook

        install_import_hook(["sparsevision.layers", "sparsevision.models"], "beartype.beartype")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root: README.md, docs, examples and the recipes are read from there."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def package(repository: Path) -> Path:
    """The package's source folder."""
    return repository / "src" / "sparsevision"
