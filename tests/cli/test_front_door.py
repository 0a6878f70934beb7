"""What the command line promises whatever the command: one line on stderr, a status, and a quick answer."""

from __future__ import annotations

import errno
import inspect
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from sparsevision import __version__, cli, errors

Outcome = tuple[int, str, str]


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Runs a command that raises what is given, and returns (status, stdout, stderr)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPARSEVISION_DEBUG", raising=False)

    def run(failure: BaseException, *options: str) -> Outcome:
        def command(tokens: list[str], **settings: object) -> None:
            raise failure

        monkeypatch.setattr(cli, "app", command)
        status = cli.main(["predict", *options])
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (errors.DataError("The folder 'a' holds no images.\n  Give another."), "holds no images. Give"),
        (OSError(errno.ENOSPC, "No space", "/m/weights"), "full: /m/weights. Free"),
        (OSError(errno.EROFS, "Read-only file system", "/m/run"), "mounted read-only: /m/run. Choose a folder"),
        (PermissionError(errno.EACCES, "Permission denied", "/m/run"), "Permission was denied: /m/run."),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/m/cat.jpg"), "directory: /m/cat.jpg."),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "The disk is full. Free some space"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."), "Memory ran out"),
        (MemoryError("Unable to allocate 9.1 TiB"), "Memory ran out: lower the batch size"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error."), "use fewer workers"),
    ],
)
def test_a_mistake_the_user_can_mend_is_one_line_and_status_2(fails, failure: Exception, said: str) -> None:
    status, out, err = fails(failure)
    assert status == 2
    assert out == ""
    assert said in err
    assert err.startswith("sparsevision: ")
    assert err.count("\n") == 1


def test_torch_out_of_memory_says_how_much_was_asked_for(fails) -> None:
    kind = type("OutOfMemoryError", (RuntimeError,), {})  # torch's is found by its name, so that torch stays unloaded
    status, _, err = fails(kind("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 4 GiB"))
    assert status == 2
    assert "when 20.00 GiB more were asked for" in err


def test_a_bug_is_one_line_naming_a_log_file_with_the_traceback(fails, tmp_path: Path) -> None:
    status, _, err = fails(ZeroDivisionError("division by zero"), "cat.jpg")
    assert status == 1
    assert err.count("\n") == 1
    assert "This is a bug in sparsevision (ZeroDivisionError)" in err
    (log,) = (tmp_path / "cache" / "sparsevision").iterdir()
    assert str(log) in err
    text = log.read_text()
    assert "raise failure" in text
    assert "['predict', 'cat.jpg']" in text


def test_debug_shows_the_traceback(fails, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback (most recent call last)" in fails(errors.DataError("no"), "--debug")[2]
    monkeypatch.setenv("SPARSEVISION_DEBUG", "1")
    assert "Traceback (most recent call last)" in fails(errors.DataError("no"))[2]


def test_debug_after_the_double_dash_is_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(cli, "app", lambda tokens, **settings: seen.append(tokens))
    assert cli.main(["--debug", "predict", "--", "--debug"]) == 0
    assert seen == [["predict", "--", "--debug"]]


def test_interruption_and_a_commands_own_status(fails, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fails(KeyboardInterrupt()) == (130, "", "sparsevision: Interrupted.\n")
    monkeypatch.setattr(cli, "app", lambda tokens, **settings: 1)
    assert cli.main(["doctor"]) == 1


def _sparsevision(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "sparsevision", *arguments], text=True, check=False, **settings)


def test_version_and_the_list_of_commands() -> None:
    assert _sparsevision("--version", capture_output=True).stdout.strip() == __version__
    listed = _sparsevision("--help", capture_output=True).stdout
    assert all(name in listed for name in cli.COMMANDS)


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--data", "digits"]) == 2
    assert capsys.readouterr().err == "sparsevision: --out is missing. See `sparsevision train --help`.\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_commands_help_is_all_that_its_function_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    function = getattr(import_module(f"sparsevision.cli.{name}"), name)
    for paragraph in inspect.getdoc(function).partition("Args:")[0].strip().split("\n\n"):
        assert " ".join(paragraph.replace("`", "").split()) in said


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_under_stdout() -> None:
    with open("/dev/full", "w") as full:
        ended = _sparsevision("--version", stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 2
    assert ended.stderr == "sparsevision: The disk is full. Free some space or write elsewhere.\n"


@pytest.mark.skipif(os.name != "posix", reason="pipes end differently here")
def test_a_reader_who_leaves_early_hears_nothing() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        ended = _sparsevision("--help", stdout=gone, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.skipif(os.name != "posix", reason="streams are closed otherwise here")
@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("how", ["closed", "of the wrong direction"])
def test_streams_that_were_closed_before_the_start_are_no_failure(
    number: int, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = ("stdin", "stdout", "stderr")[number]
    kept = os.dup(number)
    os.close(number)
    if how == "closed":
        monkeypatch.setattr(sys, name, None)
    else:
        assert os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY) == number

    def command(tokens: list[str], **settings: object) -> int:
        if number:
            os.write(number, b"text of a library")
            print("text", file=getattr(sys, name), flush=True)
        else:
            assert os.read(0, 9) == b""
        with open(os.devnull) as other:
            assert other.fileno() > 2
        return 0

    monkeypatch.setattr(cli, "app", command)
    if how == "closed" and number:
        monkeypatch.setattr(sys, "stdin", sys.__stdin__)
    try:
        assert cli.main(["predict"]) == 0
    finally:
        os.dup2(kept, number)
        os.close(kept)
