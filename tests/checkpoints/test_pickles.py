"""Files of torch.save of strangers: what costs more than the file holds is refused before torch reads it."""

from __future__ import annotations

import random
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sparsevision.checkpoints import read_checkpoint
from sparsevision.errors import CheckpointError


def pickled(function: str, arguments: bytes) -> bytes:
    """A pickle that calls a function."""
    module, name = function.rsplit(".", 1)
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + arguments + b"R."


def zipped(path: Path, content: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in (("data.pkl", content), ("version", b"3\n"), ("byteorder", b"little")):
            archive.writestr(f"archive/{name}", data)
    return path


THREE_BILLION = b"\x8a\x05" + (3 * 10**9).to_bytes(5, "little") + b"\x85"
# A tuple that holds the one before twice, 45 times over, as a key.
DOUBLED = b"\x80\x02}K\x01\x85" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(45)) + b"K\x01s."
PICKLES = {
    "bytes": pickled("builtins.bytearray", THREE_BILLION),
    "bytes of Python 2": pickled("__builtin__.bytearray", THREE_BILLION),
    "tensor": pickled("torch.FloatTensor", THREE_BILLION),
    "storage": pickled("torch.storage.UntypedStorage", THREE_BILLION),
    "through a subclass": pickled("torch._tensor._rebuild_from_type_v2",
                                  b"(cbuiltins\nbytearray\ncbuiltins\nbytearray\n" + THREE_BILLION + b"}t"),
    "slow text": pickled("_codecs.encode", b"X\x01\0\0\0aX\x08\0\0\0punycode\x86"),
    "doubled key": DOUBLED,
    "deep key": b"\x80\x02}" + b"K\x01" + b"\x85" * 100_000 + b"K\x01s.",
    "repeated set": b"\x80\x02](" + b"K\x01" * 5000 + b"e\x85q\x01cbuiltins\nset\nq\x02h\x01R"
                    + b"h\x02h\x01R" * 5000 + b".",
}  # fmt: skip


@pytest.mark.parametrize("kind", PICKLES)
def test_a_pickle_that_costs_more_than_it_holds_is_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / "bare.pkl").write_bytes(PICKLES[kind])
    for path in (tmp_path / "bare.pkl", zipped(tmp_path / "zip.pth", PICKLES[kind])):
        with pytest.raises(CheckpointError, match="was refused: ") as caught:
            read_checkpoint(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (torch.zeros(1).expand(1 << 20, 256), "larger than what is stored of it"),
        (torch.zeros(3, 1).expand(3, 1 << 20), "larger than what is stored of it"),
        (torch.zeros(3, 3).to_sparse(), "is sparse, quantised or without data"),
        (torch.zeros(3, 3, device="meta"), "is sparse, quantised or without data"),
        (torch.quantize_per_tensor(torch.zeros(3, 3), 0.1, 0, torch.qint8), "is sparse, quantised or without data"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("newer", [True, False])
def test_a_tensor_that_is_not_stored_whole_is_refused(
    tensor: torch.Tensor, said: str, newer: bool, tmp_path: Path
) -> None:
    content = {"model": {"head.weight": tensor}}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=newer)
    with pytest.raises(CheckpointError, match=said):
        read_checkpoint(tmp_path / "x.pth")


def test_a_declared_size_that_is_not_stored_is_refused(tmp_path: Path) -> None:
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuJ\x00\x00\x00\x40tQ"
    sized = pickled("torch._utils._rebuild_tensor", b"(" + storage + b"K\x00J\x00\x00\x00\x40\x85K\x01\x85t")
    with pytest.raises(CheckpointError, match="larger than what is stored of it"):
        read_checkpoint(zipped(tmp_path / "x.pth", sized))
    path = tmp_path / "y.pth"
    torch.save({"x": torch.zeros(4)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"K\x04N", b"J\xff\xff\xff\x7fN").replace(b"K\x04\x85", b"K\x03\x85"))
    with pytest.raises(CheckpointError, match="its tensors are larger than the file"):
        read_checkpoint(path)


def test_compressed_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="its records are compressed"):
        read_checkpoint(zipped(tmp_path / "x.pth", b"\x80\x02}.", zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("newer", [True, False])
def test_what_torch_saves_is_read(newer: bool, tmp_path: Path) -> None:
    whole = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "view": whole[1:, ::2], "turned": whole.t(), "same": whole, "empty": torch.zeros(0, 3),
        "scalar": torch.ones(()), "positions": torch.arange(7.0).expand(1, -1), "half": torch.ones(3).half(),
        "unsigned": torch.ones(3).byte(), "parameter": nn.Parameter(torch.ones(2, 2)), "brain": whole.bfloat16(),
        "tied": whole.view(-1),
    }  # fmt: skip
    optimiser = torch.optim.AdamW([nn.Parameter(torch.ones(2))])
    content = {"model": OrderedDict(tensors), "optimizer": optimiser.state_dict(), "rng": random.getstate(),
               "bytes": b"\x00\xff", "more": bytearray(b"\x01\x80"), "seen": {1, 2}, "best": 0.5}  # fmt: skip
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=newer)
    state = read_checkpoint(tmp_path / "x.pth").state
    assert {name: torch.equal(state[name], tensor) for name, tensor in tensors.items()} == dict.fromkeys(tensors, True)


@pytest.mark.parametrize("in_memory", [True, False])
def test_dictionaries_around_weights_are_bounded(in_memory: bool, tmp_path: Path) -> None:
    content: Any = {"x": torch.zeros(1)}
    for _ in range(400):
        content = {"model": content}
    torch.save(content if not in_memory else {}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="nests dictionaries more than 16 deep"):
        read_checkpoint(content if in_memory else tmp_path / "x.pth")


def test_a_sparse_tensor_in_memory_is_one_sentence() -> None:
    with pytest.raises(CheckpointError, match=r"'head\.weight' in The state dict is sparse, quantised or nested"):
        read_checkpoint({"head.weight": torch.zeros(3, 3).to_sparse()})
