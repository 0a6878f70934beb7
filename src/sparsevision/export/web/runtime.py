"""ONNX Runtime for browsers: two files of a pinned package of npm, fetched once and checked."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sparsevision.checkpoints.downloads import cache_folder, download, fetching
from sparsevision.errors import ConfigError

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
ADDRESS = f"https://registry.npmjs.org/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz"
# For one thread or several, without a GPU.
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")

_SECONDS = 600


def runtime_files() -> Mapping[str, bytes]:
    """Returns the files that a page loads, by name.

    Raises ConfigError where the package cannot be fetched, or is not the pinned one.
    """
    with tarfile.open(_package()) as archive:
        found = {name: archive.extractfile(f"package/dist/{name}") for name in FILES}
        return {name: file.read() for name, file in found.items() if file is not None}


def _package() -> Path:
    """Returns the package in the cache; npm fetches it where it is installed, since it knows its user's registry."""
    path = cache_folder() / f"{PACKAGE}-{VERSION}.tgz"
    if path.is_file():
        return path
    with fetching(path, ADDRESS, f"{PACKAGE} {VERSION}", ConfigError) as part:
        if not _packed_by_npm(part):
            download(ADDRESS, part)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != SHA256:
            raise ConfigError(f"What came as {PACKAGE} {VERSION} is something else: its SHA-256 is {digest}.")
    return path


def _packed_by_npm(path: Path) -> bool:
    """Returns whether npm, where it is installed, wrote the package to a path."""
    npm = shutil.which("npm")
    if npm is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", folder]
        try:
            subprocess.run(command, capture_output=True, check=True, timeout=_SECONDS, cwd=folder)
        except (OSError, subprocess.SubprocessError):
            return False
        made = next(Path(folder).glob("*.tgz"), None)
        if made is None:
            return False
        shutil.copyfile(made, path)
    return True
