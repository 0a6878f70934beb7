"""Who may import whom, how long files and functions may be, and what importing the package may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from names import folders, mentions

# The rooms from the ground up: each may import those below it on its own chain, as docs/design.md draws them.
GROUND = {"errors", "types", "wording", "files", "limits", "stopping"}
NETWORKS = [*GROUND, "outputs", "kernels", "packing", "models", "checkpoints", "runtimes", "factory"]
INPUTS = [*GROUND, "outputs", "drawing", "data", "tasks"]
USES = ["inference", "cluster", "measure", "export", "evaluation", "training"]


def _below(chain: list[str], room: str) -> set[str]:
    return set(chain[: chain.index(room)])


# What a room may import besides itself.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "types": set(),
    "wording": set(),
    "files": {"errors"},
    "limits": {"errors"},
    "stopping": {"errors"},
    "outputs": GROUND,
    "drawing": GROUND,
    **{room: _below(NETWORKS, room) for room in ("kernels", "packing", "models", "checkpoints", "runtimes", "factory")},
    "timm": set(NETWORKS),
    "data": GROUND,
    "tasks": _below(INPUTS, "tasks"),
    "explain": GROUND | {"drawing"},
    **{room: {*NETWORKS, *INPUTS, "explain", *_below(USES, room)} for room in USES},
    "cli": {*NETWORKS, *INPUTS, *USES, "explain", "timm"},
    "__main__": {"cli"},
    "__init__": {*GROUND, "factory", "inference"},
}
HEAVY = {"torch", "torchvision", "timm", "matplotlib", "accelerate", "sklearn", "pydantic", "numpy"}
LATE = {
    "accelerate",
    "torchmetrics",
    "sklearn",
    "skimage",
    "webdataset",
    "pyarrow",
    "tensorboard",
    "av",
    "supervision",
    "yaml",
    "defusedxml",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "openvino",
    "ray",
}


@pytest.fixture(scope="module")
def files(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def _room(path: Path, package: Path) -> str:
    return path.relative_to(package).parts[0].removesuffix(".py")


def _imports(tree: ast.AST, module: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """Yields (dotted name, line) of every import below a node; relative ones are made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = [*module[: len(module) - node.level]] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((f"{source}.{alias.name}", node.lineno) for alias in node.names)


def _module(path: Path, package: Path) -> tuple[str, ...]:
    return path.relative_to(package.parent).with_suffix("").parts


def _outside_functions(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yields the statements that run when the file is imported."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            continue
        inner = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.stmt)]
        waiting += inner
        if not inner:
            yield statement


def test_rooms_import_only_whom_they_may(package: Path, files: list[Path]) -> None:
    wrong = []
    for path in files:
        room = _room(path, package)
        assert room in ALLOWED, f"{path.name} opens a room that this test does not know: {room}"
        for name, line in _imports(ast.parse(path.read_text()), _module(path, package)):
            parts = name.split(".")
            if parts[0] != "sparsevision" or len(parts) < 2 or parts[1].startswith("_"):
                continue
            if parts[1] != room and parts[1] not in ALLOWED[room]:
                wrong.append(f"{path.relative_to(package)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_cycles(package: Path, files: list[Path]) -> None:
    known = {".".join(_module(path, package)).removesuffix(".__init__"): path for path in files}
    graph: dict[str, set[str]] = {}
    for name, path in known.items():
        needed = set()
        for statement in _outside_functions(ast.parse(path.read_text())):
            for imported, _ in _imports(statement, _module(path, package)):
                target = imported if imported in known else imported.rpartition(".")[0]
                # A package's own __init__ collects its files, and they name it only as the way to each other.
                if target in known and not name.startswith(target + ".") and target != name:
                    needed.add(target)
        graph[name] = needed
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        pytest.fail(f"these import each other: {' -> '.join(cycle.args[1])}")


def test_packages_that_few_features_need_are_imported_late(package: Path, files: list[Path]) -> None:
    wrong = [
        f"{path.relative_to(package)}:{line} imports {name} at the top"
        for path in files
        for statement in _outside_functions(ast.parse(path.read_text()))
        for name, line in _imports(statement, _module(path, package))
        if name.split(".")[0] in LATE
    ]
    assert not wrong, "\n".join(wrong)


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Counts a function's lines without its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_files_and_functions_stay_short(package: Path, files: list[Path]) -> None:
    wrong = []
    for path in files:
        text, name = path.read_text(), path.relative_to(package).as_posix()
        if (length := text.count("\n")) >= 500:
            wrong.append(f"{name} has {length} lines")
        functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        wrong += [f"{name}:{f.lineno} {f.name} has {_body_lines(f)} lines" for f in functions if _body_lines(f) >= 60]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(folders()))
def test_no_file_outside_of_its_folder_names_a_task_or_a_family(name: str) -> None:
    wrong = [f"{each.file}:{each.line}: {each.what}" for each in mentions(name) if not each.allowed]
    assert not wrong, "\n".join(wrong)


def test_no_two_classes_of_the_package_share_a_name(files: list[Path], package: Path) -> None:
    homes: dict[str, list[str]] = {}
    for path in files:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(path.relative_to(package).as_posix())
    assert not {name: where for name, where in homes.items() if len(where) > 1}


def test_every_training_transform_takes_the_one_road(files: list[Path], package: Path) -> None:
    """Images and targets are changed together, by torchvision's transforms alone."""
    wrong = []
    for path in files:
        text, name = path.read_text(), path.relative_to(package).as_posix()
        if name.startswith("tasks/") and "def train_transform(settings" in text and "TrainTransform(" not in text:
            wrong.append(f"{name} makes no TrainTransform")
        if name.startswith(("tasks/", "data/transforms")) and "Transpose.FLIP" in text:
            wrong.append(f"{name} flips by hand")
    assert not wrong, wrong


def test_names_of_files_say_what_is_in_them(package: Path, files: list[Path]) -> None:
    vague = {"utils", "util", "helpers", "helper", "misc", "common"}
    wrong = [str(path.relative_to(package)) for path in files if vague & set(_module(path, package))]
    assert not wrong, wrong


@pytest.mark.parametrize(
    "statement",
    [
        "import sparsevision; dir(sparsevision)",
        "import sparsevision.errors, sparsevision.types",
        "from sparsevision.cli import main; assert main(['--help']) == 0",
        "from sparsevision.cli import main; assert main(['--version']) == 0",
        "from sparsevision.cli import main; assert main(['trian']) == 2",
    ],
)
def test_what_must_answer_at_once_loads_nothing_heavy(statement: str) -> None:
    asked = f"{statement}\nimport sys\nprint('loaded:', *({HEAVY!r} & sys.modules.keys()))"
    ended = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1].strip() == "loaded:"


def test_predicting_loads_little_besides_torch() -> None:
    """Each of these takes a second or more, in a command that a user waits for."""
    asked = (
        "from PIL import Image\nfrom sparsevision import Predictor\n"
        "Predictor('sparseformer_nano', 'cpu')(Image.new('RGB', (40, 30)))\n"
        "slow = {'timm', 'torchvision', 'matplotlib', 'accelerate', 'sympy', 'torch._dynamo'}\n"
        "import sys\nprint('loaded:', *(slow & sys.modules.keys()))"
    )
    ended = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1].strip() == "loaded:"
