"""Who outside of a task's or a family's folder names it; also a command.

    python tests/house/names.py detection

lists the files outside the folder that import from it, or hold its registered name or one of its classes as an
identifier or a whole string. One entry in a table, the public names and recipes are all that there should be.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "sparsevision"
# The tables, and the names that users import.
TABLES = ("tasks/registry.py", "models/registry.py", "__init__.py")
# Words of other people's formats that happen to be a name here.
FORMATS = (
    ("data/layouts/coco.py", "segmentation"), ("data/layouts/shards.py", "segmentation"),
    ("data/layouts/mask_folders.py", "segmentation"), ("tasks/segmentation/result.py", "Detections"),
)  # fmt: skip


@dataclass(frozen=True)
class Mention:
    """One place outside a folder that names it."""

    file: str
    line: int
    what: str

    @property
    def allowed(self) -> bool:
        """Whether the place is one of the tables, or the word that of a format."""
        return self.file in TABLES or (self.file, self.what) in FORMATS


SHARED = {"labels"}  # what tasks have in common


def folders(package: Path = PACKAGE) -> dict[str, Path]:
    """Returns the folders of all tasks and families by their registered names."""
    found = (path for room in ("tasks", "models") for path in (package / room).iterdir() if _is_folder(path))
    return {path.name: path for path in found if path.name not in SHARED}


def _is_folder(path: Path) -> bool:
    return path.is_dir() and (path / "__init__.py").is_file()


def classes_of(folder: Path) -> set[str]:
    """Returns the names of the classes that a folder's files define."""
    trees = (ast.parse(path.read_text()) for path in folder.rglob("*.py"))
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}


def mentions(name: str, package: Path = PACKAGE) -> list[Mention]:
    """Returns every place outside the folder of a task or family that names it or one of its classes."""
    folder = folders(package)[name]
    words = {name, *classes_of(folder)}
    dotted = ".".join(folder.relative_to(package.parent).parts)
    found = []
    for path in sorted(package.rglob("*.py")):
        if path.is_relative_to(folder):
            continue
        file = path.relative_to(package).as_posix()
        for line, text in _texts(ast.parse(path.read_text())):
            if text in words or text == dotted or text.startswith((f"{dotted}.", f"{dotted}:")):
                found.append(Mention(file, line, text))
    return found


def _texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yields (line, text) of every identifier, imported name and string constant."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.value.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.Import | ast.ImportFrom):
            source = f"{node.module}." if isinstance(node, ast.ImportFrom) and node.module else ""
            for alias in node.names:
                yield node.lineno, alias.name
                yield node.lineno, source + alias.name


def main() -> int:
    """Prints what one task or family needs outside its folder; status 1 if that is more than tables."""
    known = folders()
    if len(sys.argv) != 2 or sys.argv[1] not in known:
        print(f"Give one of {', '.join(sorted(known))}.", file=sys.stderr)
        return 2
    found = mentions(sys.argv[1])
    for each in found:
        print(f"{each.file}:{each.line}: {each.what}{'' if each.allowed else '   <- not a table'}")
    return int(any(not each.allowed for each in found))


if __name__ == "__main__":
    sys.exit(main())
