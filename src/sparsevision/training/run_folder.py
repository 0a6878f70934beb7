"""The folder of a run: recipe, environment, metrics as JSON lines, TensorBoard, curves, skipped images, weights.

recipe.toml         as resolved; running it again repeats the run
data.json           where the images came from and how they were divided
files.npy           when each file of the data was last changed, in nanoseconds
scored.txt          the images that were scored and not learned from, one JSON string a line
environment.json    versions, machine, command; one entry for each start
metrics.jsonl       one line for each logging interval and each evaluation
tensorboard/        the same numbers for TensorBoard
curves.png          the same numbers drawn
skipped.jsonl       samples that could not be read, and why
last/               the training state that `--resume` goes on from
best/               the checkpoint folder of the best weights so far
.lock               held by the process that writes here; it may stay behind, the lock ends with the process
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from sparsevision.errors import ConfigError
from sparsevision.files import WHOLE, flush, record, recorded_in, replacing
from sparsevision.tasks import Measure
from sparsevision.training.recipe import Recipe, read_recipe
from sparsevision.training.state import state_exists, writing
from sparsevision.wording import count_of

PACKAGES = ("sparsevision", "torch", "torchvision", "timm", "accelerate", "torchmetrics", "numpy", "pillow")
# What a resumed run may have otherwise: it changes nothing but time, memory and rounding.
HARMLESS = (
    "data.spec", "data.cache_mebibytes", "run.workers", "run.device", "run.trackers", "run.checkpoint_every",
    "run.evaluate_every", "run.time_budget_minutes", "run.gradient_checkpointing", "run.compile", "run.channels_last",
)  # fmt: skip


class RunFolder:
    """Writes what a run leaves behind; on processes other than the first it writes nothing.

    Every refusal of the disk becomes a DataError of one sentence.
    """

    def __init__(self, path: str | Path, *, writes: bool = True) -> None:
        self.path = Path(path)
        self.writes = writes
        self._metrics: IO[bytes] | None = None
        self._tensorboard: Any = None
        self._lock: Any = None

    @property
    def last(self) -> Path:
        """The folder of the training state."""
        return self.path / "last"

    @property
    def best(self) -> Path:
        """The folder of the best weights."""
        return self.path / "best"

    # ------------------------------------------------------------------------------------------------- opening

    def open(self, recipe: Recipe, *, resume: bool) -> None:
        """Makes the folder, or checks that a resumed run has the same recipe; writes recipe and environment.

        Raises ConfigError where a run lies already and `resume` is not set, or lies there with another recipe; where
        another process writes into the folder; and where it holds files that no run wrote.
        """
        old = self.path / "recipe.toml"
        begun = self.best.exists() or state_exists(self.last)
        if begun and not resume:
            raise ConfigError(f"{str(self.path)!r} holds a run already: go on with --resume, or choose another --out.")
        if self.writes and not begun:
            self._check_own()
        if resume and old.exists():
            _check_same(read_recipe(old), recipe)
        if not self.writes:
            return
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            if WHOLE not in recorded_in(self.path):
                record(self.path, WHOLE, "train")
            self._write_whole(old, recipe.to_toml())
            self._write_environment()
            self._mend_best()

    def start_logging(self, position: int, step: int) -> None:
        """Opens the logs; lines after `position` bytes (written after the last state) are cut off."""
        if not self.writes:
            return
        with writing(self.path):
            self._metrics = (self.path / "metrics.jsonl").open("ab")
            self._metrics.truncate(position)
            self._tensorboard = self._open_tensorboard(step)

    def check_files(self, files: Sequence[str]) -> None:
        """Raises ConfigError where some of the data's files, but not all, were changed since the run wrote its state.

        All of them are of another time where the data set was copied.
        """
        path = self.path / "files.npy"
        if not path.exists() or not state_exists(self.last):
            return
        try:
            before = np.load(path, allow_pickle=False)
        except (OSError, ValueError):
            return
        now = _times(files)
        changed = np.flatnonzero(before != now) if before.shape == now.shape else np.arange(0)
        if 0 < len(changed) < len(now):
            names = ", ".join(files[index] for index in changed[:3])
            raise ConfigError(
                f"{count_of(len(changed), 'file')} of the data set changed since {str(self.path)!r} was trained on it "
                f"({names}): start anew in another --out, or put them back."
            )

    def write_data(self, origin: Mapping[str, Any], scored: Iterable[object], files: Sequence[str] = ()) -> None:
        """Writes where the data came from and how it was divided: the names of the images that are scored."""
        if self.writes:
            with writing(self.path):
                with replacing(self.path / "files.npy") as part:
                    np.save(part, _times(files))
                self._write_whole(self.path / "data.json", json.dumps(dict(origin), indent=2) + "\n")
                self._write_whole(self.path / "scored.txt", "".join(f"{json.dumps(str(name))}\n" for name in scored))

    def close(self) -> None:
        """Closes the logs, and releases the folder."""
        for log in (self._metrics, self._tensorboard):
            if log is not None:
                log.close()
        if self._lock is not None:
            self._lock.release()
        self._metrics = self._tensorboard = self._lock = None

    # ------------------------------------------------------------------------------------------------- writing

    def log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Appends one line to metrics.jsonl, and its numbers to TensorBoard under kind/."""
        if self._metrics is None:
            return
        line = json.dumps({"kind": kind, "step": step, **values})
        with writing(self.path):
            self._metrics.write(line.encode() + b"\n")
            self._metrics.flush()
            if self._tensorboard is not None:
                for name, value in scalars(kind, values).items():
                    self._tensorboard.add_scalar(name, value, step)

    def position(self) -> int:
        """Makes the metrics durable and returns how many bytes they have."""
        if self._metrics is None:
            return 0
        with writing(self.path):
            os.fsync(self._metrics.fileno())
        return self._metrics.tell()

    def write_skipped(self, skipped: Mapping[str, str]) -> None:
        """Writes the samples that could not be read, one JSON line each."""
        if self.writes and skipped:
            lines = [json.dumps({"name": name, "reason": reason}) for name, reason in sorted(skipped.items())]
            with writing(self.path):
                self._write_whole(self.path / "skipped.jsonl", "\n".join(lines) + "\n")

    def write_best(self, save: Callable[[Path], Any]) -> None:
        """Replaces best/ by what `save` writes into a new folder; the old one stays until the new is complete."""
        if not self.writes:
            return
        new, old = self.path / "best.new", self.path / "best.old"
        with writing(self.path):
            shutil.rmtree(new, ignore_errors=True)
            save(new)
            for file in new.rglob("*"):
                flush(file)
            if self.best.exists():
                self.best.rename(old)
            new.rename(self.best)
            flush(self.path)
            shutil.rmtree(old, ignore_errors=True)

    def draw(self, measures: Sequence[Measure]) -> None:
        """Draws curves.png from metrics.jsonl."""
        if self.writes:
            from sparsevision.training.curves import draw_curves

            with writing(self.path):
                draw_curves(read_metrics(self.path), measures, self.path / "curves.png")

    # ------------------------------------------------------------------------------------------------ internals

    def _check_own(self) -> None:
        """Raises ConfigError for a folder with files in it that no run wrote."""
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{str(self.path)!r} is a file: give --out a folder.")
        there = [entry.name for entry in self.path.glob("[!.]*")]
        if there and WHOLE not in recorded_in(self.path):
            raise ConfigError(
                f"The folder {str(self.path)!r} holds {min(there)!r}, which no run wrote: give --out a new folder."
            )

    def _take_lock(self) -> None:
        """Locks the folder for as long as this process lives; raises ConfigError where another one holds the lock."""
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ConfigError(
                f"Another training writes into {str(self.path)!r} at this moment: wait for its end, or choose another "
                "--out."
            ) from None
        except NotImplementedError:
            return  # a file system without locks
        self._lock = lock

    def _open_tensorboard(self, step: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None  # the numbers are in metrics.jsonl all the same
        return SummaryWriter(str(self.path / "tensorboard"), purge_step=step or None)

    def _mend_best(self) -> None:
        # A run killed between the two renames of write_best left the complete old folder under this name.
        old = self.path / "best.old"
        if old.exists() and not self.best.exists():
            old.rename(self.best)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(self.path / "best.new", ignore_errors=True)

    def _write_environment(self) -> None:
        path = self.path / "environment.json"
        try:
            starts = list(json.loads(path.read_text())["starts"])
        except (OSError, ValueError, KeyError, TypeError):
            starts = []
        self._write_whole(path, json.dumps({"starts": [*starts, environment()]}, indent=2) + "\n")

    @staticmethod
    def _write_whole(path: Path, text: str) -> None:
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")


def scalars(kind: str, values: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of a line under names for trackers: "train/loss", "val/ema/ap"."""
    prefix = "/".join([kind, *([values["weights"]] if "weights" in values else [])])
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float) and name != "epoch"}
    return {f"{prefix}/{name}": value for name, value in numbers.items()}


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Reads metrics.jsonl of a run folder; a last line that was being written is left out."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def _times(files: Sequence[str]) -> NDArray[np.int64]:
    """Returns when files were last changed, -1 for those that are missing."""
    return np.array([os.stat(path).st_mtime_ns if os.path.exists(path) else -1 for path in files], dtype=np.int64)


def environment() -> dict[str, Any]:
    """Returns versions, machine and command of this start of the run."""
    import torch

    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "command": sys.argv, "python": platform.python_version(),
        "packages": found, "machine": platform.platform(), "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(), "threads": torch.get_num_threads(), "devices": devices,
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
    }  # fmt: skip


def _check_same(old: Recipe, new: Recipe) -> None:
    changed = [
        (f"{section}.{field}", before, after)
        for section, fields in old.model_dump().items()
        if isinstance(fields, dict)
        for field, before in fields.items()
        if (after := new.model_dump()[section][field]) != before and f"{section}.{field}" not in HARMLESS
    ]
    if changed:
        field, before, after = changed[0]
        raise ConfigError(
            f"The run to resume was started with {field} = {before!r}, now it is {after!r}: "
            f"resume with the run's own recipe.toml, or start anew in another --out."
        )
