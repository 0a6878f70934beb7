"""Scores Visual Transformers and the ResNet that they are made from, trained alike, and the parts of their modules.

    for seed in 0 1; do
        sparsevision train --recipe caltech101_vt_resnet18 --data CALTECH101 --out runs/vt-$seed --set run.seed=$seed
        sparsevision train --recipe caltech101_resnet18 --data CALTECH101 --out runs/resnet-$seed --set run.seed=$seed
    done
    sparsevision train --recipe caltech101_vt_resnet18 --data CALTECH101 --out runs/vt-filter \\
        --set model.config.recurrence=none
    python benchmarks/visual_tokens.py CALTECH101 runs/vt-0 runs/vt-1 runs/resnet-0 runs/resnet-1 runs/vt-filter

Reads the val split once per run, with the averaged weights of the last epoch: nothing is chosen by what is read here.
Writes `results/visual_tokens.md` and `.json`; rows of other runs stay in them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import cyclopts

from caltech101 import Row, measure
from publishing import publish, published, trained_on
from sparsevision.measure.report import markdown_table
from sparsevision.training import read_recipe

WHOLE = "recurrent tokenizer, transformer, projector"
HEADS = ("top-1", "mean over classes", "minutes", "trained on", "GMACs", "parameters M")
# What the second table calls a changed field; the paper's table of it.
CHANGES = {
    "recurrence=none": "filter tokenizers in both modules (Table 4)",
    "projector=none": "no projector (Table 7)",
    "relation=none": "no transformer, a map of each token by itself (Table 5)",
}


@dataclass(frozen=True)
class Trained:
    """A finished run: what its recipe changed, its seed, whether norms decayed, what it ran on, what it came to."""

    changed: tuple[str, ...]
    seed: int
    decay_norms: bool
    trained_on: str
    row: Row

    @property
    def key(self) -> tuple[Any, ...]:
        return self.row.model, self.changed, self.decay_norms, self.seed, self.row.epochs, self.row.size


def read_run(run: Path, data: str) -> Trained:
    recipe = read_recipe(run / "recipe.toml")
    if recipe.distillation.teacher is not None:
        raise SystemExit(f"{run} had a teacher: it is no peer of runs without one.")
    changed = tuple(sorted(f"{name}={value}" for name, value in recipe.model.config.items()))
    return Trained(changed, recipe.run.seed, recipe.optimiser.decay_norms, trained_on(run), measure(run, data))


def main(data: str, *runs: Path, out: Path = Path("benchmarks/results")) -> None:
    """Score the last weights of every run folder on the val split of `data`."""
    known = [
        Trained(**{**one, "changed": tuple(one["changed"]), "row": Row(**one["row"])})
        for one in published(out, "visual_tokens")
    ]
    found = [*known, *(read_run(run, data) for run in runs)]
    trained = sorted({one.key: one for one in found}.values(), key=lambda one: one.key)
    lines = [
        f"# Visual tokens on Caltech-101, {trained[0].row.images} images of val", "",
        "Trained from scratch by the same recipe at the same size, without a teacher.", "",
        *markdown_table(("model", "norms decay", "size", "epochs", "seeds", *HEADS), networks(trained)), "",
        "VT-ResNet-18, seed 0, with one part changed:", "",
        *markdown_table(("module", "norms decay", "size", "epochs", *HEADS), modules(trained)), "",
    ]  # fmt: skip
    publish(out, "visual_tokens", "\n".join(lines), [asdict(one) for one in trained])


def networks(trained: Sequence[Trained]) -> list[tuple[str, ...]]:
    """Rows of the networks as they are: means over seeds, with each seed's top-1."""
    groups: dict[tuple[str, ...], list[Trained]] = defaultdict(list)
    for one in trained:
        if not one.changed:
            named = one.row.model.removeprefix("timm/"), "yes" if one.decay_norms else "no"
            groups[*named, f"{one.row.size} px", str(one.row.epochs)].append(one)
    return [(*named, " ".join(str(one.seed) for one in group), *figures(group)) for named, group in groups.items()]


def modules(trained: Sequence[Trained]) -> list[tuple[str, ...]]:
    """Rows of seed 0's networks that differ in a part of their modules."""
    ours = [one for one in trained if one.seed == 0 and one.row.model == "vt_resnet18"]
    return [
        (
            ", ".join(CHANGES.get(text, text) for text in one.changed) or WHOLE,
            "yes" if one.decay_norms else "no",
            f"{one.row.size} px",
            str(one.row.epochs),
            *figures([one]),
        )
        for one in ours
    ]


def figures(group: Sequence[Trained]) -> tuple[str, ...]:
    """Writes what `HEADS` names: means, and of several seeds each one's top-1 in brackets."""
    rows = [one.row for one in group]
    each = f" ({', '.join(f'{row.top1:.1%}' for row in rows)})" if len(rows) > 1 else ""
    return (
        f"{mean(row.top1 for row in rows):.1%}{each}",
        f"{mean(row.mean_class for row in rows):.1%}",
        f"{mean(row.hours for row in rows) * 60:.1f}",
        ", ".join(sorted({one.trained_on for one in group})),
        f"{rows[0].macs / 1e9:.2f}",
        f"{rows[0].parameters / 1e6:.2f}",
    )


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    app()
