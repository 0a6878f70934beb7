"""The table of speeds: SparseFormer beside its peers over sizes and batches, piece by piece, resumable.

    python benchmarks/speed_table.py --threads 2                 # as many pieces as end within 8 minutes; call again
    python benchmarks/speed_table.py --minutes 0                 # only write the table of what is there
    python benchmarks/speed_table.py --device cuda --dtype fp16 --compile --batches 1 32 256

A piece is one interleaved run of all models at one size and batch (the costliest one is cut in two, both with the
peer). Finished pieces are kept in `results/speed_DEVICE.json` and not run again; `results/speed_DEVICE.md` is written
at the end of every call.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from rich.console import Console

from sparsevision.measure.benchmark import run_benchmark
from sparsevision.measure.cases import Candidate, Workload
from sparsevision.measure.machine import describe_machine
from sparsevision.measure.report import COLUMNS, as_record, cells, how_measured, markdown_table
from sparsevision.measure.speed import Settings, use_threads

PEER = "timm/swin_tiny_patch4_window7_224"
LIGHT = (
    "sparseformer_tiny",
    "sparseformer_small",
    "sparseformer_base",
    "timm/mobilenetv4_conv_medium",
    "timm/repvit_m1_1",
)
HEAVY = ("timm/deit_small_patch16_224", "timm/resnet50", "timm/convnext_tiny")
# Top-1 on ImageNet-1K at 224 px, as published.
PUBLISHED = {
    "sparseformer_tiny": 81.0,
    "sparseformer_small": 82.0,
    "sparseformer_base": 82.6,
    "swin_tiny_patch4_window7_224": 81.4,
    "deit_small_patch16_224": 79.9,
    "resnet50": 80.4,
    "convnext_tiny": 82.1,
    "mobilenetv4_conv_medium": 79.1,
    "repvit_m1_1": 80.8,
}
_Several = cyclopts.Parameter(consume_multiple=True, negative="")


@dataclass(frozen=True)
class Piece:
    name: str
    models: tuple[str, ...]
    load: Workload
    rounds: int
    compiled: bool

    @property
    def candidates(self) -> list[Candidate]:
        return [Candidate(model, self.load, compiled=self.compiled) for model in self.models]


def pieces(sizes: Sequence[int], batches: Sequence[int], dtype: Any, device: str, *, compiled: bool) -> list[Piece]:
    found = []
    for batch in batches:
        for size in sizes:
            load = Workload(size, batch, dtype=dtype, device=device)
            megapixels = size * size * batch / 1e6
            name = f"{device} {dtype}{' compiled' if compiled else ''} {size}px batch{batch}"
            if device == "cpu" and megapixels > 4:
                found.append(Piece(f"{name} light", (PEER, *LIGHT), load, 3, compiled))
                found.append(Piece(f"{name} heavy", (PEER, *HEAVY), load, 3, compiled))
            else:
                rounds = 15 if device != "cpu" or megapixels < 0.5 else 9 if megapixels < 1.1 else 5
                found.append(Piece(name, (PEER, *LIGHT, *HEAVY), load, rounds, compiled))
    return found


def main(
    *,
    sizes: Annotated[tuple[int, ...], _Several] = (224, 384, 512, 1024),
    batches: Annotated[tuple[int, ...], _Several] = (1, 8),
    dtype: Literal["fp32", "bf16", "fp16"] = "fp32",
    compile: bool = False,
    device: str = "cpu",
    threads: int = 2,
    minutes: float = 8.0,
    rounds: int | None = None,
    out: Path = Path("benchmarks/results"),
) -> None:
    """Run the pieces that are missing, until `minutes` are nearly over, and write the table.

    A new piece is begun only while the longest one so far would still fit.
    """
    store_path = out / f"speed_{device.partition(':')[0]}.json"
    out.mkdir(parents=True, exist_ok=True)
    start, longest = time.monotonic(), 0.0
    wanted = pieces(sizes, batches, dtype, device, compiled=compile)
    with use_threads(threads), Console(stderr=True).status("starting") as status:
        store = read_store(store_path, asdict(describe_machine(device)), str(describe_machine(device)))
        for piece in wanted:
            begun = time.monotonic()
            if piece.name in store["pieces"] or begun - start + longest > minutes * 60:
                continue
            settings = Settings(rounds=rounds or piece.rounds, warmup=1)
            store["pieces"][piece.name] = run(
                piece, settings, lambda text, at=piece.name: status.update(f"{at}: {text}")
            )
            longest = max(longest, time.monotonic() - begun)
            store_path.write_text(json.dumps(store, indent=1) + "\n", encoding="utf-8")
    store_path.with_suffix(".md").write_text(table(store), encoding="utf-8")
    missing = [piece.name for piece in wanted if piece.name not in store["pieces"]]
    print(f"{len(wanted) - len(missing)} of {len(wanted)} pieces done" + (f"; next: {missing[0]}" if missing else ""))


def run(piece: Piece, settings: Settings, progress: Callable[[str], None]) -> dict[str, Any]:
    """Measures one piece; memory beside speed at batch 1."""
    found = run_benchmark(
        piece.candidates,
        settings,
        peer=PEER,
        peer_compiled=piece.compiled,
        memory=piece.load.batch == 1,
        progress=progress,
    )
    results = [result for group in found for result in group]
    return {
        "load": asdict(piece.load),
        "compiled": piece.compiled,
        "rounds": settings.rounds,
        "results": [{**as_record(result), "cells": cells(result)} for result in results],
    }


def read_store(path: Path, machine: dict[str, Any], described: str) -> dict[str, Any]:
    """Returns what was measured before, on this very machine; another machine's figures must not be mixed in."""
    if not path.exists():
        return {"machine": machine, "described": described, "pieces": {}}
    store: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if store["machine"] != machine:
        raise SystemExit(f"{path} holds figures of another machine ({store['described']}): move it away or use --out.")
    return store


def table(store: dict[str, Any]) -> str:
    """Writes an overview per batch (images a second, the fastest bold), then every piece with all its figures."""
    done = store["pieces"]
    rounds = sorted({piece["rounds"] for piece in done.values()})
    how = how_measured(Settings(rounds=rounds[-1] if rounds else 1))
    lines = ["# Speed", "", f"{store['described']}.", "", f"{how} Rounds by piece: {', '.join(map(str, rounds))}.", ""]
    kinds = dict.fromkeys((p["load"]["dtype"], p["compiled"], p["load"]["batch"]) for p in done.values())
    for dtype, compiled, batch in kinds:
        chosen = [
            p
            for p in done.values()
            if (p["load"]["dtype"], p["compiled"], p["load"]["batch"]) == (dtype, compiled, batch)
        ]
        mode = "compiled" if compiled else "eager"
        lines += [f"## Images a second, batch {batch}, {dtype}, {mode}", "", *overview(chosen), ""]
    for name, piece in done.items():
        lines += [
            f"### {name}, {piece['rounds']} rounds",
            "",
            *markdown_table(COLUMNS, [r["cells"] for r in piece["results"]]),
            "",
        ]
    return "\n".join(lines)


def overview(chosen: Sequence[dict[str, Any]]) -> list[str]:
    speeds: dict[str, dict[int, float]] = {}
    for piece in chosen:
        for result in piece["results"]:
            speeds.setdefault(result["model"].removeprefix("timm/"), {})[piece["load"]["size"]] = result[
                "images_per_second"
            ]
    sizes = sorted({size for found in speeds.values() for size in found})
    best = {size: max(found.get(size, 0.0) for found in speeds.values()) for size in sizes}

    def text(found: dict[int, float], size: int) -> str:
        value = found.get(size)
        if value is None:
            return "-"
        return f"**{value:.2f}**" if value == best[size] else f"{value:.2f}"

    rows = [(name, str(PUBLISHED[name]), *(text(found, size) for size in sizes)) for name, found in speeds.items()]
    return markdown_table(("model", "published top-1", *(f"{size} px" for size in sizes)), rows)


if __name__ == "__main__":
    cyclopts.run(main)
