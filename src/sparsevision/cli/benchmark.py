"""`sparsevision benchmark`: speed, memory, multiply-adds and parameters, beside other models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sparsevision.errors import ConfigError, naming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from sparsevision.measure.cases import Candidate, Size
    from sparsevision.measure.machine import Machine
    from sparsevision.measure.report import BenchmarkRow
    from sparsevision.measure.speed import Settings

_DEFAULT_MODELS = ("sparseformer_tiny", "timm/swin_tiny_patch4_window7_224")
_Several = Parameter(consume_multiple=True, negative="")
_Flag = Parameter(negative="")


def benchmark(
    *,
    models: Annotated[list[str] | None, _Several] = None,
    sizes: Annotated[list[str] | None, _Several] = None,
    batches: Annotated[list[int] | None, _Several] = None,
    dtype: Annotated[list[Literal["fp32", "bf16", "fp16"]] | None, _Several] = None,
    compile: bool = False,
    compile_mode: Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = "default",
    plain: Annotated[bool, _Flag] = False,
    train_step: Annotated[bool, _Flag] = False,
    memory: Annotated[bool, _Flag] = False,
    peer: str | None = None,
    rounds: int = 15,
    threads: int | None = None,
    device: str = "cpu",
    loader: str | None = None,
    workers: int = 0,
    macs: Annotated[bool, _Flag] = False,
    out: Annotated[list[Path] | None, _Several] = None,
) -> int:
    """Measure speed, memory, multiply-adds and parameters, beside other models.

    All models of one size, batch and precision take turns in one run, so that the ratios hold although machines
    drift. With --macs alone, the published rows of every family's tables are counted and compared; status 1 if any is
    off.

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
        loader: A data set: measure how fast its training images can be loaded. Without --models, nothing else is
            measured.
        workers: Processes that load images for --loader.
        macs: Count multiply-adds instead of measuring time.
        out: Files to write: .json, .md, or one of each.
    """
    from rich.console import Console

    notes = Console(stderr=True)
    paths = _checked_outputs(out or [])
    shapes = [_size(text) for text in sizes or ["224"]]
    if macs:
        if sizes and models is None:
            raise ConfigError("--macs alone counts the published models at their own sizes: name --models for --sizes.")
        return _count(models, shapes, paths)
    if loader is not None:
        _measure_loader(loader, shapes[0], (batches or [32])[0], workers)
        if models is None:
            return 0

    from sparsevision.measure.benchmark import choose_peer, make_candidates, run_benchmark
    from sparsevision.measure.machine import describe_machine
    from sparsevision.measure.speed import Settings, use_threads

    chosen = list(models or _DEFAULT_MODELS)
    peer = peer or choose_peer(chosen)
    candidates = make_candidates(
        chosen if peer in chosen else [*chosen, peer], sizes=shapes, batches=batches or [1, 8],
        dtypes=dtype or ["fp32"], work="training" if train_step else "inference", device=device, plain=plain,
        compiled=compile,
    )  # fmt: skip
    _check(candidates, device)
    settings = Settings(rounds=rounds, compile_mode=compile_mode)
    results: list[BenchmarkRow] = []
    with use_threads(threads), notes.status("starting") as status:
        machine = describe_machine(device)
        notes.print(str(machine), highlight=False, soft_wrap=True)
        for group in run_benchmark(candidates, settings, peer=peer, memory=memory, progress=status.update):
            results += group
            _show(group, peer)
            # Written after each workload, so that a run that is broken off leaves what it has.
            _write(paths, results, machine, settings)
    return 0


def _check(candidates: Sequence[Candidate], device: str) -> None:
    """Refuses what would otherwise fail in the middle of a long run."""
    import torch

    from sparsevision.factory import usable_device
    from sparsevision.measure.benchmark import check_candidates

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"--device {device}: torch finds no CUDA device here; use --device cpu.")
    usable_device(device)
    check_candidates(candidates)


def _checked_outputs(paths: Sequence[Path]) -> list[Path]:
    for path in paths:
        if path.suffix not in (".json", ".md"):
            raise ConfigError(f"--out {path}: the name must end in .json or .md.")
        if not path.absolute().parent.is_dir():
            raise ConfigError(f"--out {path}: there is no folder {path.absolute().parent}; make it first.")
    return list(paths)


def _show(results: Sequence[BenchmarkRow], peer: str) -> None:
    from sparsevision.measure.report import COLUMNS, cells

    load = results[0].timing.candidate.workload
    title = f"{load} (peer: {peer.removeprefix('timm/')})"
    _output().print(_table(COLUMNS, [cells(result) for result in results], title))


def _write(paths: Sequence[Path], results: Sequence[BenchmarkRow], machine: Machine, settings: Settings) -> None:
    from sparsevision.measure.report import as_json, as_markdown

    for path in paths:
        writer = as_json if path.suffix == ".json" else as_markdown
        with naming(path):
            path.write_text(writer(results, machine, settings) + "\n", encoding="utf-8")


def _size(text: str) -> Size:
    """Reads 224 or 800x1066."""
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise ConfigError(f"--sizes {text}: a size is one number, or height and width as in 800x1066.")
    first, last = int(numbers[0]), int(numbers[-1])
    return (first, last) if len(numbers) == 2 else first


def _count(models: Sequence[str] | None, sizes: Sequence[Size], paths: Sequence[Path]) -> int:
    """Counts multiply-adds: of the published rows, or of the models that are named."""
    from rich.console import Console

    from sparsevision.measure.cost_table import cost_tables
    from sparsevision.measure.report import markdown_table

    if models is not None:
        return _count_models(models, sizes, paths)
    console, tables = _output(), []
    with Console(stderr=True).status("counting"):
        for table in cost_tables():
            tables.append(table)
            console.print(table.title, highlight=False)
            console.print(_table(table.columns, table.cells()))
            console.print(table.summary(), highlight=False)
    for path in paths:
        if path.suffix == ".json":
            rows = {table.family: [row.to_dict() for row in table.counted] for table in tables}
            text = json.dumps(rows, indent=1)
        else:
            parts = [[*markdown_table(one.columns, one.cells()), "", one.summary(), ""] for one in tables]
            text = "\n".join(line for part in parts for line in part).rstrip()
        with naming(path):
            path.write_text(text + "\n", encoding="utf-8")
    return 0 if all(table.agrees for table in tables) else 1


def _count_models(models: Sequence[str], sizes: Sequence[Size], paths: Sequence[Path]) -> int:
    from sparsevision.measure.benchmark import cost_of
    from sparsevision.measure.cases import size_text
    from sparsevision.measure.report import markdown_table

    rows = []
    for model in models:
        for size in sizes:
            parameters, count = cost_of(model, size)
            macs = (f"{value / 1e9:.3f}" for value in (count.total, count.without_mixing))
            rows.append((model, size_text(size), f"{parameters:,}", *macs))
    columns = ("model", "size", "parameters", "multiply-adds G", "without mixing G")
    _output().print(_table(columns, rows))
    for path in paths:
        records = [dict(zip(columns, row, strict=True)) for row in rows]
        text = json.dumps(records, indent=1) if path.suffix == ".json" else "\n".join(markdown_table(columns, rows))
        with naming(path):
            path.write_text(text + "\n", encoding="utf-8")
    return 0


def _measure_loader(spec: str, size: Size, batch: int, workers: int) -> None:
    from rich.console import Console

    from sparsevision.measure.loader import measure_loader

    if not isinstance(size, int):
        raise ConfigError("--loader makes square images: give --sizes one number.")
    with Console(stderr=True).status("loading images"):
        speed = measure_loader(spec, size=size, batch=batch, workers=workers)
    columns = ("loader", "images/s", "size", "batch", "workers", "images", "skipped")
    counts = (size, batch, workers, speed.pictures, speed.skipped)
    _output().print(_table(columns, [(spec, f"{speed.images_per_second:.1f}", *map(str, counts))]))


def _output() -> Console:
    """Returns the console of results: as wide as the terminal, or wide enough for every column in a file or a pipe."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=160)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> Table:
    """Returns a table whose first column is text and whose others are figures; empty columns are left out."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    kept = [i for i, _ in enumerate(columns) if any(row[i] for row in rows)]
    for i in kept:
        table.add_column(columns[i], justify="right" if i else "left", no_wrap=not i)
    for row in rows:
        table.add_row(*(row[i] for i in kept))
    return table
