"""`sparsevision benchmark`: speed, memory, multiply-adds and parameters, beside other models."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sparsevision.cli.sizes import parse_size
from sparsevision.cli.tables import print_table, show_status
from sparsevision.errors import ConfigError, naming
from sparsevision.files import check_different, check_new
from sparsevision.types import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparsevision.measure.cases import Candidate, Size
    from sparsevision.measure.report import BenchmarkRow
    from sparsevision.measure.speed import Settings

_DEFAULT_MODELS = ("sparseformer_tiny", "timm/swin_tiny_patch4_window7_224")
_Several = Parameter(consume_multiple=True, negative="")
_Flag = Parameter(negative="")


def benchmark(
    *, models: Annotated[list[str] | None, _Several] = None, sizes: Annotated[list[str] | None, _Several] = None,
    batches: Annotated[list[int] | None, _Several] = None,
    dtype: Annotated[list[Literal["fp32", "bf16", "fp16"]] | None, _Several] = None, compile: bool = False,
    compile_mode: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = "default",
    plain: Annotated[bool, _Flag] = False, train_step: Annotated[bool, _Flag] = False,
    memory: Annotated[bool, _Flag] = False, peer: str | None = None, rounds: int = 15, threads: int | None = None,
    device: str = "cpu", loader: str | None = None, workers: int = 0, macs: Annotated[bool, _Flag] = False,
    out: Annotated[list[Path] | None, _Several] = None, overwrite: Annotated[bool, _Flag] = False,
) -> int:  # fmt: skip
    """Measure speed, memory, multiply-adds and parameters, beside other models.

    All models of one size, batch and precision take turns in one run, so that ratios hold although machines drift.
    With --macs alone, the published rows of all families are counted and compared; status 1 if any is off.

    Args:
        models: Names of models; timm/NAME is timm's model NAME. Default: sparseformer_tiny and timm's swin_tiny.
        sizes: Sizes of the images in pixels: 224 is a square, 800x1066 height and width. Default: 224.
        batches: Images at once. Default: 1 and 8.
        dtype: Precisions; bf16 and fp16 by autocast. Default: fp32.
        compile: Also measure every candidate under torch.compile.
        compile_mode: The mode of torch.compile, for all alike.
        plain: Also measure our models on their plain path, the reference of the fast one.
        train_step: Measure training steps (forward, backward, AdamW) instead of inference.
        memory: Also measure peak memory above the model, each in a process of its own.
        peer: The model that the others are compared with. Default: the first of timm's.
        rounds: Turns of each candidate; medians are taken over them.
        threads: Threads to compute with. Default: as torch chooses.
        device: cpu, or cuda.
        loader: A data set: measure how fast its training images are loaded; without --models, nothing else.
        workers: Processes that load images for --loader.
        macs: Count multiply-adds instead of measuring time.
        out: Files to write: .json, .md, or one of each.
        overwrite: Replace files that exist already.
    """
    paths, shapes = out or [], [parse_size(text, "--sizes") for text in sizes or ["224"]]
    _check_outputs(paths, overwrite)
    if macs:
        if sizes and models is None:
            raise ConfigError("--macs alone counts the published models at their own sizes: name --models for --sizes.")
        return _count_published(paths) if models is None else _count(models, shapes, paths)
    if loader is not None:
        _measure_loader(loader, shapes[0], (batches or [32])[0], workers)
        if models is None:
            return 0

    from sparsevision.measure.benchmark import choose_peer, make_candidates
    from sparsevision.measure.speed import Settings, use_threads

    chosen = list(models or _DEFAULT_MODELS)
    peer = peer or choose_peer(chosen)
    candidates = make_candidates(
        chosen if peer in chosen else [*chosen, peer], sizes=shapes, batches=batches or [1, 8],
        dtypes=dtype or ["fp32"], work="training" if train_step else "inference", device=device, plain=plain,
        compiled=compile,
    )  # fmt: skip
    _check(candidates, device)
    with use_threads(threads):
        _time(candidates, Settings(rounds=rounds, compile_mode=compile_mode), peer, memory, paths)
    return 0


def _time(candidates: Sequence[Candidate], settings: Settings, peer: str, memory: bool, paths: Sequence[Path]) -> None:
    from sparsevision.measure.benchmark import run_benchmark
    from sparsevision.measure.machine import describe_machine
    from sparsevision.measure.report import COLUMNS, as_json, as_markdown, cells

    results: list[BenchmarkRow] = []
    machine = describe_machine(candidates[0].workload.device)
    with show_status("starting") as status:
        status.console.print(str(machine), highlight=False, soft_wrap=True)
        for group in run_benchmark(candidates, settings, peer=peer, memory=memory, progress=status.update):
            results += group
            heading = f"{group[0].timing.candidate.workload} (peer: {peer.removeprefix('timm/')})"
            print_table(_numbers(COLUMNS, [cells(result) for result in group], heading=heading))
            # Written after each workload, so that a run that is broken off leaves what it has.
            _write(paths, as_json(results, machine, settings), as_markdown(results, machine, settings))


def _check(candidates: Sequence[Candidate], device: str) -> None:
    """Refuses what would otherwise fail in the middle of a long run."""
    import torch

    from sparsevision.factory import usable_device
    from sparsevision.measure.benchmark import check_candidates

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"--device {device}: torch finds no CUDA device here; use --device cpu.")
    usable_device(device)
    check_candidates(candidates)


def _check_outputs(paths: Sequence[Path], overwrite: bool) -> None:
    for path in paths:
        if path.suffix not in (".json", ".md"):
            raise ConfigError(f"--out {path}: the name must end in .json or .md.")
        if not path.absolute().parent.is_dir():
            raise ConfigError(f"--out {path}: the folder {path.absolute().parent} does not exist; make it first.")
        check_new(path, overwrite=overwrite)
    check_different(paths)


def _write(paths: Sequence[Path], json_text: str, markdown: str) -> None:
    for path in paths:
        with naming(path):
            path.write_text((json_text if path.suffix == ".json" else markdown) + "\n", encoding="utf-8")


def _count_published(paths: Sequence[Path]) -> int:
    """Counts the multiply-adds of all published rows; returns 1 if a count differs from the paper's."""
    from sparsevision.measure.cost_table import cost_tables
    from sparsevision.measure.report import markdown_table

    tables = []
    with show_status("counting"):
        for table in cost_tables():
            tables.append(table)
            print_table(_numbers(table.columns, table.cells(), heading=table.title, note=table.summary()))
    rows = {table.family: [row.to_dict() for row in table.counted] for table in tables}
    parts = ["\n".join([*markdown_table(one.columns, one.cells()), "", one.summary()]) for one in tables]
    _write(paths, json.dumps(rows, indent=1), "\n\n".join(parts))
    return 0 if all(table.agrees for table in tables) else 1


def _count(models: Sequence[str], sizes: Sequence[Size], paths: Sequence[Path]) -> int:
    """Counts the multiply-adds of models at sizes."""
    from sparsevision.measure.benchmark import cost_of
    from sparsevision.measure.cases import size_text
    from sparsevision.measure.report import markdown_table

    counted = [(model, size_text(size), *cost_of(model, size)) for model, size in product(models, sizes)]
    columns = ("model", "size", "parameters", "multiply-adds G", "without mixing G")
    rows = [
        (model, size, f"{parameters:,}", *(f"{value / 1e9:.3f}" for value in (count.total, count.without_mixing)))
        for model, size, parameters, count in counted
    ]
    print_table(_numbers(columns, rows))
    records = [
        {**dict(zip(columns, row, strict=True)), "parts": dict(count.by_part)}
        for row, (*_, count) in zip(rows, counted, strict=True)
    ]
    parts = [
        (model, size, part, f"{macs / 1e9:.3f}")
        for model, size, _, count in counted
        for part, macs in count.by_part.items()
    ]
    tables = (markdown_table(columns, rows), markdown_table(("model", "size", "part", "multiply-adds G"), parts))
    _write(paths, json.dumps(records, indent=1), "\n\n".join("\n".join(table) for table in tables))
    return 0


def _measure_loader(spec: str, size: Size, batch: int, workers: int) -> None:
    from sparsevision.measure.loader import measure_loader

    if not isinstance(size, int):
        raise ConfigError("--loader makes square images: give --sizes one number.")
    with show_status("loading images"):
        speed = measure_loader(spec, size=size, batch=batch, workers=workers)
    columns = ("loader", "images/s", "size", "batch", "workers", "images", "skipped")
    counts = (size, batch, workers, speed.images, speed.skipped)
    print_table(_numbers(columns, [(spec, f"{speed.images_per_second:.1f}", *map(str, counts))]))


def _numbers(columns: Sequence[str], rows: Sequence[Sequence[str]], *, heading: str = "", note: str = "") -> Table:
    """Returns a table whose first column is text and whose others are numbers; empty columns are omitted."""
    kept = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    chosen, *cells = (tuple(row[index] for index in kept) for row in (columns, *rows))
    right = frozenset(range(1, len(kept)))
    return Table(columns=chosen, rows=tuple(cells), heading=heading, note=note, numbers=right)
