"""Pickles of torch.save, checked operation by operation before torch reads them.

torch's reader of weights alone executes nothing, but it computes and allocates whatever a pickle asks for: bytes that
are made and not stored, keys whose hash never ends, tensors that are larger than what is stored of them. So the
operations are followed here first, on stand-ins that know how much each object would be.
"""

from __future__ import annotations

import pickletools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, Literal
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch

from sparsevision.checkpoints.checkpoint import WANTED
from sparsevision.errors import CheckpointError

_ZIP = b"PK\x03\x04"
# A legacy file begins with five pickles: a number, then a version, the system, the content, the keys of its storages.
_PICKLES_BEHIND = 4
# A tensor takes about 40 operations.
_MOST_OPERATIONS, _MOST_WORK = 2_000_000, 20_000_000
_LARGEST_TUPLE, _DEEPEST_TUPLE, _LARGEST_KEY = 1 << 20, 100, 1000
# Values of a tensor for each that is stored: expanded ones are views, which become whole when they are copied.
_MOST_REPEATED, _ALWAYS_ALLOWED = 4, 1024
_DENSE = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
_PARAMETERS = ("_rebuild_parameter", "_rebuild_parameter_with_state")
# What Python writes for bytes; other encodings take time that grows with the square of the text.
_ENCODINGS = ("latin1", "latin-1", "utf-8", "utf8", "ascii")
_BYTES_OF_STORAGE = {
    "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
    "ComplexDouble": 16, "ComplexFloat": 8, "QInt8": 1, "QInt32": 4, "QUInt8": 1, "QUInt4x2": 1, "QUInt2x4": 1,
    "Untyped": 1,
}  # fmt: skip


def check_pickles(path: Path) -> None:
    """Raises CheckpointError for a file of torch.save, of the zip or the legacy format, that costs more than it holds.

    What torch refuses itself is left to torch.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_ZIP)) == _ZIP:
                records = _stored_records(path)
                content = torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")
                _Follower(path.stat().st_size, records).follow(content)
                return
            file.seek(0)
            follower = _Follower(path.stat().st_size, None)
            # Without the number that comes first, torch reads no further.
            if follower.follow(file).content == torch.serialization.MAGIC_NUMBER:
                for _ in range(_PICKLES_BEHIND):
                    follower.follow(file)
    except _UnsupportedError:
        return  # torch stops at the same place
    except _RefusedError as error:
        raise CheckpointError(
            f"{str(path)!r} was refused: {error}. Save the weights alone again, torch.save(model.state_dict(), FILE)."
        ) from error
    # Damaged bytes make the parsers raise nearly anything.
    except Exception as error:
        raise CheckpointError(f"{str(path)!r} is not an intact file of weights: {WANTED}.") from error


def _stored_records(path: Path) -> Mapping[str, int]:
    """Returns the bytes of each record of a zip archive by its name, which torch.save neither packs nor repeats."""
    try:
        with ZipFile(path) as archive:
            records = archive.infolist()
    except (BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{str(path)!r} is not an intact file of weights: {WANTED}.") from error
    if any(record.compress_type != ZIP_STORED for record in records):
        raise _RefusedError("its records are compressed, so that a small file fills the memory")
    names = {record.filename.casefold() for record in records}
    if len(names) < len(records) or sum(record.file_size for record in records) > path.stat().st_size:
        raise _RefusedError("it declares more records than its bytes hold")
    return {record.filename.partition("/")[2]: record.file_size for record in records}


class _RefusedError(Exception):
    """What a file would cost, as a clause."""


class _UnsupportedError(Exception):
    """An operation that torch's reader does not have."""


Kind = Literal["global", "number", "text", "tuple", "container", "storage", "tensor", "other"]


@dataclass(slots=True)
class _Object:
    """Stand-in for an object: `weight` counts what it holds, shared parts as often as they are reached."""

    kind: Kind = "other"
    content: Any = None
    weight: int = 1
    depth: int = 0


_OTHER = _Object()


class _Follower:
    """Follows the operations that torch's reader knows; `records` are those of a zip archive."""

    def __init__(self, file_bytes: int, records: Mapping[str, int] | None) -> None:
        self.file_bytes, self.records = file_bytes, records
        self.operations, self.work = 0, 0
        self.storages: dict[Any, int] = {}
        self.stack: list[_Object] = []
        self.marked: list[list[_Object]] = []
        self.memo: dict[int, _Object] = {}

    def follow(self, source: bytes | IO[bytes]) -> _Object:
        """Follows one pickle to its end; returns the object that it makes."""
        self.stack, self.marked, self.memo = [], [], {}
        for operation, argument, _ in pickletools.genops(source):
            self.operations += 1
            if self.operations > _MOST_OPERATIONS:
                raise _RefusedError("it holds more Python objects than any file of weights")
            step = getattr(self, f"_on_{operation.name.lower()}", None)
            if step is not None:
                step(argument)
            elif operation.name in _CONSTANTS:
                self.stack.append(_constant(operation.name, argument))
            elif operation.name not in ("PROTO", "STOP"):
                raise _UnsupportedError
        return self.stack[-1]

    def _spend(self, weight: int) -> None:
        self.work += weight
        if self.work > _MOST_WORK:
            raise _RefusedError("reading it would take very long")

    # ------------------------------------------------------------------------------------------ stack and memo

    def _on_mark(self, _: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list[_Object]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def _on_binput(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def _on_binget(self, index: int) -> None:
        self.stack.append(self.memo[index])

    _on_long_binput, _on_long_binget = _on_binput, _on_binget

    # --------------------------------------------------------------------------------------------- containers

    def _on_tuple(self, _: Any) -> None:
        self._push_tuple(self._since_mark())

    def _on_tuple1(self, _: Any, length: int = 1) -> None:
        items, self.stack = self.stack[-length:], self.stack[:-length]
        self._push_tuple(items)

    def _on_tuple2(self, _: Any) -> None:
        self._on_tuple1(_, 2)

    def _on_tuple3(self, _: Any) -> None:
        self._on_tuple1(_, 3)

    def _on_empty_tuple(self, _: Any) -> None:
        self._push_tuple([])

    def _push_tuple(self, items: Sequence[_Object]) -> None:
        weight, depth = 1 + sum(item.weight for item in items), 1 + max((item.depth for item in items), default=0)
        if weight > _LARGEST_TUPLE or depth > _DEEPEST_TUPLE:
            raise _RefusedError("it nests tuples in tuples until they are larger than any that weights need")
        self.stack.append(_Object("tuple", tuple(items), weight, depth))

    def _on_empty_dict(self, _: Any) -> None:
        self.stack.append(_Object("container"))

    _on_empty_list = _on_empty_set = _on_empty_dict

    def _on_append(self, _: Any) -> None:
        self._put([self.stack.pop()])

    def _on_appends(self, _: Any) -> None:
        self._put(self._since_mark())

    def _on_setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._put([key, value], keys=[key])

    def _on_setitems(self, _: Any) -> None:
        items = self._since_mark()
        self._put(items, keys=items[::2])

    def _put(self, items: Sequence[_Object], keys: Sequence[_Object] = ()) -> None:
        for key in keys:
            if key.weight > _LARGEST_KEY:
                raise _RefusedError("a name in it is a tuple of more parts than any has")
            self._spend(key.weight)
        into = self.stack[-1]
        # What holds itself would have no bound.
        into.weight = min(into.weight + sum(item.weight for item in items), _MOST_WORK + 1)

    # ------------------------------------------------------------------------------- functions and their results

    def _on_reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        name = function.content if function.kind == "global" else ""
        given: Sequence[_Object] = arguments.content if arguments.kind == "tuple" else ()
        self._spend(arguments.weight)
        module, _, last = name.rpartition(".")
        if last == "bytearray" and any(item.kind != "text" for item in given):
            raise _RefusedError("it asks for bytes that it does not hold")
        if last == "encode" and (len(given) != 2 or given[1].content not in _ENCODINGS):
            raise _RefusedError("it encodes text as no file of weights does")
        if last.endswith(("Tensor", "Storage")):
            raise _RefusedError("it asks for a tensor without values of its own")
        if last == "_rebuild_from_type_v2":
            inner = given[0].content if given and given[0].kind == "global" else ""
            module, _, last = str(inner).rpartition(".")
            given = given[2].content if len(given) > 2 and given[2].kind == "tuple" else ()
            if module != "torch._utils":
                raise _RefusedError("it makes tensors in an unknown way")
        if module == "torch._utils":
            self._check_tensor(last, given)
        made: Kind = "text" if last == "encode" else "tensor" if module == "torch._utils" else "container"
        self.stack.append(_Object("tensor" if last == "Parameter" else made, weight=arguments.weight))

    _on_newobj = _on_reduce

    def _on_build(self, _: Any) -> None:
        state = self.stack.pop()
        self._spend(state.weight)
        if self.stack[-1].kind == "tensor":
            raise _RefusedError("it changes a tensor after it was made")

    def _on_binpersid(self, _: Any) -> None:
        """Reads ("storage", type, key, device, number of values, view or None)."""
        _, kind, key, _, number, *view = self.stack.pop().content
        if view and view[0].kind == "tuple":
            number = view[0].content[2]
        each = _BYTES_OF_STORAGE[kind.content.rpartition(".")[2].removesuffix("Storage")]
        needed = _whole(number) * each
        if self.records is not None and needed > self.records.get(f"data/{key.content}", 0):
            raise _RefusedError("a tensor in it is larger than what is stored of it")
        self.storages[key.content] = max(needed, self.storages.get(key.content, 0))
        if needed and sum(self.storages.values()) > self.file_bytes:
            raise _RefusedError("its tensors are larger than the file")
        self.stack.append(_Object("storage", (needed, each)))

    def _check_tensor(self, function: str, given: Sequence[_Object]) -> None:
        """Raises _RefusedError for a tensor that is not dense, or larger than what is stored of it."""
        if function in _PARAMETERS:
            return
        if function not in _DENSE:
            raise _RefusedError("it holds a tensor that is sparse, quantised or without data, and weights are dense")
        storage, offset, size, stride = given[:4]
        if storage.kind != "storage":
            raise _RefusedError("it makes a tensor of what is not stored")
        stored, each = storage.content
        if function == "_rebuild_tensor_v3":
            each = getattr(torch, given[6].content.rpartition(".")[2]).itemsize
        sides, steps = [_whole(item) for item in size.content], [_whole(item) for item in stride.content]
        values = prod(sides)
        last = _whole(offset) + sum((side - 1) * step for side, step in zip(sides, steps, strict=True))
        if values and ((last + 1) * each > stored or values > max(_MOST_REPEATED * (stored // each), _ALWAYS_ALLOWED)):
            raise _RefusedError(f"a tensor of shape {tuple(sides)} in it is larger than what is stored of it")


_CONSTANTS: Mapping[str, Kind] = {
    "NONE": "other", "NEWTRUE": "other", "NEWFALSE": "other", "BINFLOAT": "other", "BININT": "number",
    "BININT1": "number", "BININT2": "number", "LONG1": "number", "BINUNICODE": "text", "SHORT_BINSTRING": "text",
    "GLOBAL": "global",
}  # fmt: skip


def _constant(operation: str, argument: Any) -> _Object:
    kind = _CONSTANTS[operation]
    if kind == "other":
        return _OTHER
    content = str(argument).replace(" ", ".") if kind == "global" else argument
    return _Object(kind, content if kind == "number" else content[:100])


def _whole(given: _Object) -> int:
    """Returns a whole number from 0 on, as sizes and steps are."""
    if given.kind != "number" or given.content < 0:
        raise _RefusedError("a tensor in it has no valid size")
    return int(given.content)
