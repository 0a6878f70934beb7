"""What trained models of videos reach: on digits that move over photographs, and on clips of surveillance cameras.

    python benchmarks/video_accuracy.py digits --photographs CALTECH101 --runs runs/moving runs/frames \
        --inflations runs/moving_1 runs/moving_4 runs/moving_8
    python benchmarks/video_accuracy.py fights --data FIGHT --runs runs/fight runs/frames runs/mc3

Runs of `video_sparseformer_nano` are those of the recipes `moving_digits_nano` and `fight_nano`; `frames_peer.py` and
`mc3_peer.py` make those that they are compared with. Digits are scored on val, which has other digits and photographs
than train; fights once on test, in 12 views (4 clips, 3 crops of each). Weights are those that training chose on val.
Rows of other runs stay in the results.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from scipy.stats import binomtest

import frames_peer
import mc3_peer
from claims import milliseconds
from publishing import minutes_of, publish, published, trained_on
from sparsevision.evaluation.evaluate import Evaluation
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.operations import count_macs
from sparsevision.measure.report import markdown_table
from sparsevision.models.published import count_parameters
from turns import times_in_turns

_Runs = Annotated[tuple[Path, ...], cyclopts.Parameter(consume_multiple=True, negative="")]
DIGITS = "moving-digits:"
app = cyclopts.App(help=__doc__)
COLUMNS = ("network", "copies of tokens", "top-1", "95 % interval", "M parameters", "G multiply-adds", "ms a clip",
           "minutes of training")  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """A run: its network, how many videos of how many it told right, and what it costs."""

    run: str
    name: str
    inflation: int | None
    right: int
    videos: int
    parameters: int
    macs: int
    minutes: str
    trained: str
    shorter: bool
    seconds: Sequence[float] = ()

    def row(self) -> tuple[str, ...]:
        """The run in the table."""
        low, high = binomtest(self.right, self.videos).proportion_ci(method="wilson")
        return (
            self.name, "" if self.inflation is None else str(self.inflation), f"{self.right / self.videos:.1%}",
            f"{low:.1%} to {high:.1%}", f"{self.parameters / 1e6:.2f}", f"{self.macs / 1e9:.2f}",
            milliseconds(self.seconds), self.minutes,
        )  # fmt: skip


def score(run: Path, data: str, split: str, *, shorter: bool = False, **views: int) -> Scored:
    """Scores a run's best weights; `shorter` is whether its schedule was a shorter one than that of the table."""
    evaluation = Evaluation(run, data, split=split, device="cpu")
    report, skipped = evaluation.report(workers=2, **views)
    assert not skipped, skipped
    model: Any = evaluation.model
    shape = evaluation.preprocessing.input_shape()
    right = round(report.scalars()["top1"] * report.images)
    return Scored(
        run.name, model.identity.name, getattr(model.config, "inflation", None), right, report.images,
        count_parameters(model), count_macs(model, (1, *shape)).total, minutes_of(run), trained_on(run), shorter,
    )  # fmt: skip


def table(scored: Sequence[Scored]) -> list[str]:
    """Lists runs."""
    return markdown_table(COLUMNS, [each.row() for each in scored])


def with_known(scored: Sequence[Scored], runs: Sequence[Path], threads: int, out: Path, name: str) -> list[Scored]:
    """Times the networks of the runs that were just scored, and puts them among those of earlier calls."""
    times = {run.name: seconds for run, seconds in times_in_turns(runs, threads).items()}
    rows = {row["run"]: Scored(**row) for row in published(out, name)}
    return list((rows | {each.run: replace(each, seconds=times[each.run]) for each in scored}).values())


@app.command
def digits(
    *, photographs: str, runs: _Runs = (), inflations: _Runs = (), threads: int = 2,
    out: Path = Path("benchmarks/results"),
) -> None:  # fmt: skip
    """Score runs on digits that move in one of eight directions."""
    data, name = f"{DIGITS}{photographs}", "moving_digits"
    scored = [score(run, data, "val") for run in runs] + [score(run, data, "val", shorter=True) for run in inflations]
    rows = with_known(scored, [*runs, *inflations], threads, out, name)
    main, shorter = ([row for row in rows if row.shorter is wanted] for wanted in (False, True))
    how = (
        f"{rows[0].videos:,} clips of val (chance: 12.5 %); its digits and photographs are in no clip of train. "
        "`frames_nano` is the network of images on each frame, its logits averaged. Times: one clip on two threads, "
        "medians with quartiles, those of one call in turns. Trained on: "
        + "; ".join(dict.fromkeys(each.trained for each in rows)) + "."
    )  # fmt: skip
    text = ["# Digits that move", "", f"{describe_machine()}.", "", how, "", *table(main), ""]
    if shorter:
        text += [
            "Copies of the tokens over time, at a shorter schedule (Table 6 of the paper):",
            "",
            *table(shorter),
            "",
        ]
    publish(out, name, "\n".join(text), list(map(asdict, rows)))


@app.command
def fights(
    *, data: str, runs: _Runs, split: str = "test", threads: int = 2, out: Path = Path("benchmarks/results")
) -> None:
    """Score runs on clips with and without a fight."""
    scored = [score(run, data, split, clips=4, crops=3) for run in runs]
    rows = with_known(scored, runs, threads, out, "fights")
    how = (
        f"{rows[0].videos} clips of {split}, read once, in 12 views (4 clips x 3 crops); so few that the intervals "
        "are wide. The networks were trained on the same clips for about as long; the first two start from the image "
        "weights that the package brings, `mc3_18` from nothing. Weights that were trained on these clips are not "
        "shipped. Times: one view on two threads, medians with quartiles. Trained on: "
        + "; ".join(dict.fromkeys(each.trained for each in rows)) + "."
    )  # fmt: skip
    text = ["# Fights in front of cameras", "", f"{describe_machine()}.", "", how, "", *table(rows), ""]
    publish(out, "fights", "\n".join(text), list(map(asdict, rows)))


if __name__ == "__main__":
    frames_peer.register()
    mc3_peer.register()
    sys.exit(app(result_action="return_value"))
