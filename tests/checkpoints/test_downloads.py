"""Published weights: fetched once, checked before they are kept, and a plain sentence where they cannot be had."""

from __future__ import annotations

import hashlib
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from sparsevision.checkpoints import downloads
from sparsevision.checkpoints.downloads import released_weights, weights_status
from sparsevision.errors import CheckpointError
from sparsevision.factory import create_model
from sparsevision.models.registry import NamedVariant, Weights, variants


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class _Cut(BaseHTTPRequestHandler):
    """Announces more than it sends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"PK\x03\x04 and no more")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve(tmp_path: Path) -> Iterator:
    """Serves a folder, or answers as a handler does; returns the address."""
    servers = []

    def start(handler: type | None = None) -> str:
        (tmp_path / "served").mkdir(exist_ok=True)
        answer = handler or partial(_Quiet, directory=str(tmp_path / "served"))
        server = ThreadingHTTPServer(("127.0.0.1", 0), answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/weights.pth"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPARSEVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "_SECONDS_WITHOUT_AN_ANSWER", 5)
    return tmp_path / "cache"


def _variant(address: str) -> NamedVariant:
    config = replace(
        variants()["sparseformer_nano"].config, num_tokens=4, num_points=4, feature_channels=8, focusing_width=64,
        cortex_width=64, cortex_depth=1, cortex_orders=(), num_classes=3,
    )  # fmt: skip
    return replace(variants()["sparseformer_nano"], config=config, weights=Weights(location=address, source="test"))


@pytest.fixture
def published(serve, monkeypatch: pytest.MonkeyPatch) -> NamedVariant:
    variant = _variant(serve())
    monkeypatch.setattr("sparsevision.models.registry.variants", lambda: {variant.name: variant})
    return variant


def test_weights_are_fetched_once_and_found_again(published: NamedVariant, cache: Path, tmp_path: Path, capsys) -> None:
    served = tmp_path / "served" / "weights.pth"
    model = create_model(published.name)
    torch.save({"model": model.state_dict()}, served)
    assert weights_status(published) == "download"
    again = create_model(published.name, pretrained=True)
    served.unlink()
    once_more = create_model(published.name, pretrained=True)
    assert torch.equal(model.head.fc.weight, again.head.fc.weight)
    assert torch.equal(model.head.fc.weight, once_more.head.fc.weight)
    assert [path.name for path in cache.iterdir()] == ["weights.pth"]
    assert weights_status(published) == "cached"
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")  # a bar is for a terminal


def test_what_is_not_the_weights_never_enters_the_cache(published: NamedVariant, cache: Path, tmp_path: Path) -> None:
    torch.save(create_model(published.name, num_tokens=5).state_dict(), tmp_path / "served" / "weights.pth")
    with pytest.raises(CheckpointError, match=r"is not the weights of 'sparseformer_nano'.*num_tokens is 5, not 4"):
        released_weights(published)
    (tmp_path / "served" / "weights.pth").write_bytes(b"<html>sign in</html>")
    with pytest.raises(CheckpointError, match="is a web page"):
        released_weights(published)
    assert list(cache.iterdir()) == []


def test_a_cut_off_transfer_leaves_nothing(serve, cache: Path) -> None:
    with pytest.raises(CheckpointError, match="could not be fetched"):
        released_weights(_variant(serve(_Cut)))
    assert list(cache.iterdir()) == []


def test_a_file_of_another_checksum_never_enters_the_cache(
    serve: Callable[..., str], cache: Path, tmp_path: Path
) -> None:
    address = serve()
    (tmp_path / "served" / "weights.pth").write_bytes(b"other bytes")
    variant = _variant(address)
    assert variant.weights is not None
    digest = hashlib.sha256(b"other bytes").hexdigest()
    with pytest.raises(CheckpointError, match=f"is not the published one: its SHA-256 is {digest}, not 00") as caught:
        released_weights(replace(variant, weights=replace(variant.weights, sha256="00" * 32)))
    assert address in str(caught.value)
    assert list(cache.iterdir()) == []


class _Endless(BaseHTTPRequestHandler):
    """Sends without an end, and without saying how much."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(bytes(1 << 20))

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("bound", "value", "said"),
    [("_MOST_BYTES", 5 << 20, "sends more than 5 MiB"), ("_SECONDS_IN_ALL", 0.2, "after 0 minutes only")],
)
def test_a_server_that_never_ends_is_left(
    serve: Callable[..., str], cache: Path, monkeypatch: pytest.MonkeyPatch, bound: str, value: float, said: str
) -> None:
    monkeypatch.setattr(downloads, bound, value)
    address = serve(_Endless)
    with pytest.raises(CheckpointError, match=said) as caught:
        released_weights(_variant(address))
    assert address in str(caught.value)
    assert list(cache.iterdir()) == []


class _Slow(BaseHTTPRequestHandler):
    """Announces much, and sends a byte now and then."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 30))
        self.end_headers()
        with suppress(OSError):
            for _ in range(400):
                self.wfile.write(b"x")
                time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        pass


def test_a_slow_server_is_left_in_time(serve: Callable[..., str], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_SECONDS_IN_ALL", 0.3)
    with pytest.raises(CheckpointError, match="after 0 minutes only 0 MiB were there"):
        released_weights(_variant(serve(_Slow)))
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("elsewhere", ["ftp://127.0.0.1:9/weights.pth", "file:///etc/passwd", "data:,weights"])
def test_a_server_sends_on_to_the_web_alone(
    serve: Callable[..., str], cache: Path, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Redirecting(_Slow):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", elsewhere)
            self.end_headers()

    def opened(*_: object) -> None:
        raise AssertionError("an address was opened that is not of the web")

    monkeypatch.setattr(urllib.request.FTPHandler, "ftp_open", opened)
    with pytest.raises(CheckpointError, match="could not be fetched"):
        released_weights(_variant(serve(Redirecting)))
    with pytest.raises(CheckpointError, match="could not be fetched"):
        released_weights(_variant(elsewhere if "://" in elsewhere else "ftp://x/y"))
    assert list(cache.iterdir()) == []


def test_a_server_sends_on_to_another_one(serve: Callable[..., str], tmp_path: Path) -> None:
    address = serve()
    (tmp_path / "served" / "weights.pth").write_bytes(b"<html>sign in</html>")

    class Redirecting(_Slow):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", address)
            self.end_headers()

    with pytest.raises(CheckpointError, match="is a web page"):
        released_weights(_variant(serve(Redirecting)))


def test_too_large_a_file_is_not_begun(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_MOST_BYTES", 100)
    with pytest.raises(CheckpointError, match="announces 0 MiB, more than any weights have"):
        released_weights(_variant(serve(_Cut)))


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/w.pth", "http://weights.invalid/w.pth", "https://[/w.pth"])
def test_without_a_network_it_says_which_file_to_put_where(address: str, cache: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        released_weights(_variant(address))
    assert address in str(caught.value)
    assert str(cache / "w.pth") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_file_on_the_server_is_one_sentence(serve) -> None:
    with pytest.raises(CheckpointError, match=r"File not found|Not Found"):
        released_weights(_variant(serve()))


def test_a_cache_that_cannot_be_written_is_one_sentence(serve, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(CheckpointError, match="could not be fetched"):
        released_weights(_variant(serve()))


def test_a_model_without_published_weights_says_so() -> None:
    variant = replace(variants()["sparseformer_nano"], weights=None)
    with pytest.raises(CheckpointError, match="No weights are published for 'sparseformer_nano'"):
        released_weights(variant)
    assert weights_status(variant) == "none"
