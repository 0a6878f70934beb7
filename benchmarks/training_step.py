"""What has become faster in training since an earlier version: steps of each, in turns, each in its own process.

    git worktree add ../before ecc48e9^
    python benchmarks/training_step.py ../before BCCD

A step is forward, loss, backward, clipping and AdamW in bfloat16, on batches of the training split that were read
before, of a short side of 256 px (before, 256 x 341; with sides at multiples of 32, 256 x 352). The former network is
timed under both versions, so that what the code gained and what the smaller network gained are told apart; and the
present one with its denoising queries, which make a step slower and the model better, and without. Writes
`results/training_step.md` and `.json`.
"""

from __future__ import annotations

import json
from pathlib import Path

import cyclopts

from claims import milliseconds
from publishing import publish
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.report import markdown_table
from sparsevision.measure.speed import Settings, ratio_of_medians, time_interleaved
from versions import Child

# Runs in a child: makes a detector as a recipe would, and answers each line with the seconds of a step.
CHILD = """
import dataclasses, json, sys, time
import torch
settings = json.loads(sys.argv[1])
torch.set_num_threads(int(sys.argv[2]))
torch.manual_seed(0)
from sparsevision.data.loading import make_loader
from sparsevision.factory import create_model, preprocessing_of
from sparsevision.tasks.detection.task import DetectionTask
dataset = DetectionTask.open(settings["data"], "train")
task = DetectionTask(dataset.classes)
view = dataclasses.replace(preprocessing_of("sparse_detr_nano"), size=(256, 427))
model = create_model("sparse_detr_nano", num_classes=len(dataset.classes), **settings["config"]).train()
loader = make_loader(dataset, task.evaluation_transform(view), task.collate, batch_size=settings["batch"])
batches = [batch for batch, _ in zip(loader, range(4))]
optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)
print("ready", flush=True)
for number, _ in enumerate(sys.stdin):
    batch = batches[number % len(batches)]
    began = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        given = {} if batch.sizes is None else {"sizes": batch.sizes}
        if getattr(model, "reads_targets", False):
            given["targets"] = batch.targets
        output = model(batch.images, **given)
        loss = torch.stack([*task.loss(output, batch, task.count(batch)).values()]).sum()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
    optimiser.step()
    optimiser.zero_grad()
    print(time.perf_counter() - began, flush=True)
"""
# Fields of the former network.
FORMER = {"width": 256, "num_heads": 8, "ffn_width": 512, "dropout": 0.1}


def main(
    before: Path, data: Path, *, batch: int = 8, threads: int = 1, rounds: int = 15,
    out: Path = Path("benchmarks/results"),
) -> None:  # fmt: skip
    """Time the earlier version, and this one with the former and with its own network."""
    here = Path(__file__).parents[1]

    def child(version: Path, config: dict[str, float]) -> Child:
        settings = {"data": str(data.resolve()), "batch": batch, "config": config}
        return Child(version / "src", CHILD, json.dumps(settings), threads=threads)

    children = {
        "before": child(before, FORMER),
        "now, the former network": child(here, FORMER | {"denoising": 0}),
        "now, without denoising queries": child(here, {"denoising": 0}),
        "now": child(here, {}),
    }
    turns = time_interleaved(children, Settings(rounds=rounds, turn_seconds=0))
    rows = [
        (name, milliseconds(seconds), str(ratio_of_medians(turns["before"], seconds)))
        for name, seconds in turns.items()
    ]
    how = (
        f"{describe_machine()}.\n\n`sparse_detr_nano`, steps of {batch} images on {threads} threads, bfloat16; "
        f"{rounds} rounds, medians with quartiles, ratios of medians with a 90 % bootstrap interval."
    )
    table = markdown_table(("version", "ms a step", "times as fast as before"), rows)
    record = [{"version": name, "seconds": seconds} for name, seconds in turns.items()]
    publish(out, "training_step", "\n".join(("# Steps of training, before and now", "", how, "", *table)), record)


if __name__ == "__main__":
    app = cyclopts.App(help=__doc__)
    app.default(main)
    app()
