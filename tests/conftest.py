"""What every test stands on: no network, nothing written outside the test's own folders, shapes checked if asked."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
        help="check every shape annotation of models and packed forms at run time; tests that compile are skipped",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--check-shapes"):
        import torch
        from jaxtyping import install_import_hook

        install_import_hook(["sparsevision.packing", "sparsevision.models"], "beartype.beartype")
        torch.compile = lambda *given, **options: pytest.skip("checking shapes at run time breaks the graph")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root: README.md, docs, examples and the recipes are read from there."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def package(repository: Path) -> Path:
    """The package's source folder."""
    return repository / "src" / "sparsevision"


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the README's reader has it: `cat.jpg`, and `my_images` with class folders in train and val."""
    from PIL import Image, ImageDraw

    folder = tmp_path_factory.mktemp("reader")

    def draw(path: Path, shape: str, number: int) -> None:
        image = Image.new("RGB", (72, 56), (20 * number, 90, 120))
        box = (10 + 3 * number, 8, 40 + 3 * number, 44)
        getattr(ImageDraw.Draw(image), shape)(box, fill=(240, 200, 40))
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)

    draw(folder / "cat.jpg", "ellipse", 4)
    for split, count in (("train", 6), ("val", 3)):
        for name, shape in (("round", "ellipse"), ("square", "rectangle")):
            for number in range(count):
                draw(folder / "my_images" / split / name / f"{number}.jpg", shape, number)
    return folder


@pytest.fixture
def usual_handlers() -> Iterator[None]:
    """A shell's background jobs ignore Ctrl-C, and what nohup started a closed terminal: tests may be such."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on this machine: install Debian's package chromium to run this test")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=FLAGS, timeout=120_000)
        yield started
        started.close()
