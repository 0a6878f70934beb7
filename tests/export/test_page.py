"""The page of an exported model gives native numbers in a browser, from a plain server, and asks nobody else."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mask_folder import save_tiny_segmenter
from small_images import jpeg
from sparsevision import Predictor, create_model
from sparsevision.checkpoints import save_checkpoint
from sparsevision.errors import ConfigError
from sparsevision.export import ExportOptions, export_model
from sparsevision.export.web import runtime
from sparsevision.types import Preprocessing
from tiny_detector import save_tiny_detector

TOKENS = {
    "num_tokens": 6, "num_points": 4, "feature_channels": 8, "focusing_width": 16, "focusing_repeats": 2,
    "cortex_width": 32, "cortex_depth": 2, "head_width": 8,
}  # fmt: skip


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """What `python -m http.server` in a folder does."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def waited(page: Any, expression: str, seconds: float = 120) -> Any:
    """Asks a page until it has an answer; its policy forbids scripts that would wait inside."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := page.evaluate(expression):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{expression}: {page.inner_text('#time')}")


def save_classifier(folder: Path) -> Path:
    torch.manual_seed(0)
    model = create_model("sparseformer_nano", num_classes=3, **TOKENS)
    shown = Preprocessing(size=(48, 64))
    return save_checkpoint(folder, model, name="sparseformer_nano", preprocessing=shown, labels=("<b>", "bee", "cat"))


def save_detector(folder: Path) -> Path:
    return save_tiny_detector(folder, shown=Preprocessing(size=(128, 224), fit="short"), decoder_depth=1)


MODELS = {
    "classes": save_classifier,
    "objects": save_detector,
    "masks": partial(save_tiny_segmenter, name="vt_fpn_nano"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_numbers_in_the_page_are_the_native_ones(kind: str, browser: Any, tmp_path: Path) -> None:
    try:
        runtime.runtime_files()
    except ConfigError as error:
        pytest.skip(str(error))
    photograph = tmp_path / "photograph.png"
    Image.open(io.BytesIO(jpeg(3, 230, 170))).save(photograph)
    weights, folder = MODELS[kind](tmp_path / "weights"), tmp_path / "page"
    made = export_model(weights, folder, ExportOptions(format="web"))
    assert {path for path in folder.rglob("*") if path.is_file()} == {*made.files}
    predictor = Predictor(weights, "cpu", preprocessing=made.preprocessing)
    batch = predictor.batch([predictor.reader(photograph, 0)])
    with torch.no_grad():
        output = predictor.model(batch.images)
    wanted = output if isinstance(output, torch.Tensor) else output.heads[0].logits
    failed: list[str] = []
    with served(folder) as address:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        own = (address, "blob:", "data:")
        page.on("request", lambda request: request.url.startswith(own) or failed.append(request.url))
        page.on("requestfailed", lambda request: failed.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(address)
        waited(page, "document.documentElement.dataset.state === 'ready'")
        page.set_input_files("#file", str(photograph))
        waited(page, "Boolean(window.sparsevision.state.run?.result)")
        logits = page.evaluate("Array.from(window.sparsevision.state.run.tensors.logits.data)")
        np.testing.assert_allclose(np.array(logits), wanted.numpy().ravel(), atol=1e-3)
        result = predictor(photograph)
        shown = page.inner_text("#result")
        if kind == "classes":
            assert result.labels[0] in shown  # as text, whatever it holds
        if kind == "objects":
            for name, count in result.counts().items():
                assert f"{name}\t{count}" in shown
        if kind == "masks":
            name, share = next(iter(result.shares.items()))
            assert f"{name}\t{100 * share:.1f} %" in shown
        assert "ms in the model" in page.inner_text("#time")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for stage in page.locator("#stages button").all():
            stage.click()
        page.close()
    assert not failed


def test_what_has_no_page_is_refused(tmp_path: Path) -> None:
    from video_folder import save_tiny_teller

    with pytest.raises(ConfigError, match="has no page"):
        export_model(save_tiny_teller(tmp_path / "weights"), tmp_path / "page", ExportOptions(format="web"))
    assert not (tmp_path / "page").exists()


def test_another_package_than_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "package.tgz").write_bytes(b"something else")
    monkeypatch.setenv("SPARSEVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime.shutil, "which", lambda name: None)
    with served(tmp_path / "files") as address:
        monkeypatch.setattr(runtime, "ADDRESS", f"{address}package.tgz")
        with pytest.raises(ConfigError, match="something else"):
            runtime.runtime_files()
        monkeypatch.setattr(runtime, "ADDRESS", f"{address}missing.tgz")
        with pytest.raises(ConfigError, match="put it at"):
            runtime.runtime_files()
    assert not list((tmp_path / "cache").iterdir())
