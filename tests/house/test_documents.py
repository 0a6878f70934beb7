"""Documents keep their word: commands run, snippets run and print what is written below them, links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path
from typing import ClassVar

import pytest

from sparsevision import cli

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^```(?P<kind>python|console)\n(?P<body>.*?)^```(?:\s*^```text\n(?P<printed>.*?)^```)?", re.MULTILINE | re.DOTALL
)
PAGES_THAT_RUN = [page for page in PAGES if BLOCK.search(page.read_text())]
SHOWN = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
PAGES_THAT_SHOW = [page for page in PAGES if SHOWN.search(page.read_text())]
# What a test has no time for: a reader's run is the same, only longer.
SHORTER = {
    "train": "--set schedule.epochs=1 --set schedule.warmup_epochs=0 --set data.batch=6 --set model.backbone=none "
    "--set transforms.evaluation.size=64",
    "benchmark": "--rounds 1",
}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_says_can_be_typed(page: Path, reader: Path, tmp_path: Path) -> None:
    shutil.copytree(reader, tmp_path / "reader")
    text, scope = page.read_text(), {}
    if "--out runs/mine" in text:
        shutil.rmtree(tmp_path / "reader" / "runs")
    with contextlib.chdir(tmp_path / "reader"):
        for block in BLOCK.finditer(text):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                if block["kind"] == "python":
                    exec(compile(block["body"], str(page), "exec"), scope)
                else:
                    _type(block["body"])
            if block["printed"]:
                assert printed.getvalue().split() == block["printed"].split()


def _type(body: str) -> None:
    """Runs the lines behind a prompt that call this package; making an environment is what `make` was tested for."""
    for line in re.findall(r"^\$ (.*)$", body, re.MULTILINE):
        program, *arguments = shlex.split(line)
        # All published rows take minutes, and are tests of their own (tests/measure).
        if program == "sparsevision" and arguments != ["benchmark", "--macs"]:
            # What `doctor` finds on the machine of the test is not a mistake of the page.
            fine = (0, 1) if arguments[0] == "doctor" else (0,)
            shorter = SHORTER.get(arguments[0], "").split()
            if arguments[0] == "train" and "sparse_detr_nano" in arguments:
                shorter += ["--set", "transforms.canvas=[64,96]"]
            assert cli.main([*arguments, *shorter]) in fine, line


@pytest.mark.parametrize("page", PAGES_THAT_SHOW, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_trainings_that_a_page_only_shows_would_start(
    page: Path, reader: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Ended:
        skipped: ClassVar[dict[str, str]] = {}

    monkeypatch.setattr("sparsevision.training.train", lambda recipe, **_: Ended())
    with contextlib.chdir(reader):
        for block in SHOWN.findall(page.read_text()):
            for line in re.findall(r"^ *(?:torchrun .* -m )?sparsevision (.*)$", block, re.MULTILINE):
                command, *rest = shlex.split(line)
                assert command in cli.COMMANDS, line
                # What other commands take depends on the model.
                assert command != "train" or cli.main([command, *rest]) == 0, (line, capsys.readouterr().err)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_to_files_of_the_repository_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert not missing
    if page.parent != ROOT:  # the site is made of docs/ alone
        outside = [target for target in targets if not (page.parent / target).resolve().is_relative_to(ROOT / "docs")]
        assert not outside


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_its_page(name: str) -> None:
    assert f":commands: {name}\n" in (ROOT / "docs" / "commands" / f"{name}.md").read_text()


def test_no_page_is_forgotten_by_the_index() -> None:
    pages = {page.relative_to(ROOT / "docs").with_suffix("").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    listed = {"index"}
    for page in (ROOT / "docs").rglob("*.md"):
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
            names = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed |= {(page.parent / name).relative_to(ROOT / "docs").as_posix() for name in names}
    assert pages == listed
