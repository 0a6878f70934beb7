"""A run that is asked to stop finishes its step, writes its state and says how to go on."""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from stand_ins import TinyLoaders, final_weights, parts, recipe
from test_loop import lines, run, same

from sparsevision.cli.failures import report
from sparsevision.errors import ConfigError, RunStoppedError
from sparsevision.training import fit
from sparsevision.training.state import read_state
from sparsevision.types import Batch

pytestmark = pytest.mark.usefixtures("usual_handlers")
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class Signalled(TinyLoaders):
    """Sends a signal to this process while the given batch of the given epoch, or of a scoring, is read."""

    def __init__(self, number: int, epoch: int | None, batch: int) -> None:
        super().__init__()
        self.number, self.epoch, self.at = number, epoch, batch

    def train(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        yield from self._watched(super().train(epoch, start_batch), epoch)

    def scored(self) -> Iterator[Batch]:
        yield from self._watched(super().scored(), None)

    def _watched(self, batches: Iterator[Batch], epoch: int | None) -> Iterator[Batch]:
        for number, batch in enumerate(batches):
            if (epoch, number) == (self.epoch, self.at):
                os.kill(os.getpid(), self.number)
            yield batch


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(("epoch", "batch", "step"), [(0, 2, 3), (1, 5, 12), (None, 1, 6)])
def test_nothing_is_lost_but_the_time(number: int, epoch: int | None, batch: int, step: int, tmp_path: Path) -> None:
    handlers = [signal.getsignal(each) for each in SIGNALS]
    run(recipe(), tmp_path / "unbroken")
    with pytest.raises(RunStoppedError) as stopped:
        run(recipe(), tmp_path / "a run", Signalled(number, epoch, batch))
    found = read_state(tmp_path / "a run" / "last")
    assert found is not None
    assert found[1]["progress"]["step"] == step
    told = str(stopped.value)
    assert f"{signal.Signals(number).name} after step {step}," in told
    assert f"sparsevision train --resume --out {shlex.quote(str(tmp_path / 'a run'))}`" in told
    assert report(stopped.value, []) == 128 + number
    assert [signal.getsignal(each) for each in SIGNALS] == handlers
    run(recipe(), tmp_path / "a run", resume=True)
    assert same(final_weights(tmp_path / "a run"), final_weights(tmp_path / "unbroken"))
    scored = [[line for line in lines(tmp_path / out) if line["kind"] == "val"] for out in ("a run", "unbroken")]
    assert scored[0] == scored[1]


def test_a_second_interrupt_ends_the_run_at_once(tmp_path: Path) -> None:
    class Twice(Signalled):
        def _watched(self, batches: Iterator[Batch], epoch: int | None) -> Iterator[Batch]:
            for batch in super()._watched(batches, epoch):
                os.kill(os.getpid(), self.number)
                yield batch

    with pytest.raises(KeyboardInterrupt):
        run(recipe(), tmp_path / "run", Twice(signal.SIGINT, 0, 0))


def test_a_resumed_run_says_where_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(recipe(), tmp_path / "new", resume=True)
    assert "has no state to resume from: starting anew." in capsys.readouterr().err
    with pytest.raises(RunStoppedError):
        run(recipe(), tmp_path / "run", Signalled(signal.SIGTERM, 1, 1))
    run(recipe(), tmp_path / "run", resume=True)
    assert f"Resuming {tmp_path / 'run'} after step 8, in epoch 2 of 2." in capsys.readouterr().err


def test_a_closed_stderr_does_not_end_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1, encoding="utf-8") as closed:
        monkeypatch.setattr(sys, "stderr", closed)
        assert run(recipe(), tmp_path / "run").finished
        monkeypatch.undo()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # what is still buffered must go somewhere


WAITING = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from stand_ins import TinyLoaders, parts, recipe
from sparsevision.training import fit

class Waiting(TinyLoaders):
    def train(self, epoch, start_batch=0):
        for batch in super().train(epoch, start_batch):
            Path(sys.argv[2]).with_suffix(".began" + os.environ.get("RANK", "")).touch()
            time.sleep(float(sys.argv[3]))
            yield batch

from sparsevision.cli.failures import report
try:
    fit(recipe(), lambda _: parts(recipe(), Waiting()), out=sys.argv[2])
except Exception as failure:
    sys.exit(report(failure, []))
"""


def start_waiting(out: Path, seconds: float, **options: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WAITING, str(Path(__file__).parent), str(out), str(seconds)]
    process = subprocess.Popen(command, **options)
    while not out.with_suffix(".began").exists():
        assert process.poll() is None
        time.sleep(0.05)
    return process


@pytest.mark.slow
def test_two_trainings_do_not_share_a_folder_and_a_dead_one_holds_none(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with start_waiting(out, 60) as other:
        for resume in (False, True):
            with pytest.raises(ConfigError, match=r"Another training writes into .* at this moment"):
                run(recipe(), out, resume=resume)
        other.kill()
    assert run(recipe(), out, resume=True).finished


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_the_processes_that_load_images_too_ends_a_run_with_its_state(
    number: signal.Signals, tmp_path: Path
) -> None:
    for name, value in (("dark", 30), ("light", 200)):
        (tmp_path / "my" / name).mkdir(parents=True)
        for shade in range(30):
            Image.new("RGB", (40, 40), (value, shade, 60)).save(tmp_path / "my" / name / f"{shade}.png")
    options = (
        "transforms.size=32", "data.decode_side=none", "data.batch=4", "schedule.epochs=500", "run.workers=2",
        "run.log_every=1", "run.evaluate_every=100",
    )  # fmt: skip
    command = [sys.executable, "-m", "sparsevision", "train", "--data", str(tmp_path / "my")]
    command += ["--out", str(tmp_path / "r"), *(word for option in options for word in ("--set", option))]
    usual = {"start_new_session": True, "text": True, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **usual) as process:
        assert process.stderr is not None
        while "loss" not in process.stderr.readline():
            assert process.poll() is None
        os.killpg(process.pid, number)
        said = process.stderr.read()
        assert process.wait(timeout=60) == 128 + number, said
    assert f"Stopped by {number.name} after step" in said
    assert read_state(tmp_path / "r" / "last") is not None


@pytest.mark.slow
def test_a_closed_terminal_ends_a_run_with_its_state(tmp_path: Path) -> None:
    ours, terminal = pty.openpty()

    def own_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    with start_waiting(tmp_path / "run", 0.3, preexec_fn=own_terminal, **streams) as process:
        os.close(terminal)
        os.close(ours)
        assert process.wait(timeout=60) == 128 + signal.SIGHUP
    assert read_state(tmp_path / "run" / "last") is not None
    run(recipe(), tmp_path / "unbroken")
    run(recipe(), tmp_path / "run", resume=True)
    assert same(final_weights(tmp_path / "run"), final_weights(tmp_path / "unbroken"))


@pytest.mark.slow
def test_a_request_to_one_of_two_processes_stops_both(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    joined = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    command = [sys.executable, "-c", WAITING, str(Path(__file__).parent), str(tmp_path / "run"), "0.3"]
    both = [
        subprocess.Popen(command, env={**os.environ, **joined, "RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")
    ]
    while not all((tmp_path / f"run.began{rank}").exists() for rank in "01"):
        assert all(process.poll() is None for process in both)
        time.sleep(0.05)
    both[1].send_signal(signal.SIGTERM)
    assert [process.wait(timeout=60) for process in both] == [128 + signal.SIGTERM] * 2
    assert read_state(tmp_path / "run" / "last") is not None


def test_a_run_takes_no_folder_with_other_files(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    (tmp_path / "recipe.toml").write_text("mine")
    with pytest.raises(ConfigError, match=r"'recipe.toml', which no run wrote: give --out a new folder"):
        fit(recipe(), lambda _: parts(recipe()), out=tmp_path)
    with pytest.raises(ConfigError, match="which no run wrote"):
        fit(recipe(), lambda _: parts(recipe()), out=tmp_path, resume=True)
    assert (tmp_path / "recipe.toml").read_text() == "mine"
    with pytest.raises(ConfigError, match="is a file"):
        fit(recipe(), lambda _: parts(recipe()), out=tmp_path / "recipe.toml")
