"""A place to work for one row: fresh copies of good things, and short ways to spoil them."""

from __future__ import annotations

import ctypes
import io
import json
import os
import pickle
import resource
import shutil
import socket
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from coco_folder import draw_coco_folder
from mask_folder import save_tiny_segmenter
from tiny_detector import save_tiny_detector
from video_folder import moving_square, save_tiny_teller, write_video

SMALL = {"num_tokens": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 64, "cortex_width": 64}
NARROW = {"width": 8, "feature_width": 64, "token_width": 64, "num_heads": 4, "group_width": 16}
CLASSES = ("ant", "bee", "cat")
RECIPE = """
[model]
config.num_tokens = 4
config.num_points = 4
config.feature_channels = 8
config.focusing_width = 64
config.cortex_width = 64
config.cortex_depth = 1
[data]
batch = 3
[transforms]
size = 32
[schedule]
epochs = 2
[ema]
decay = 0.0
[run]
workers = 0
"""


def photograph(width: int = 48, height: int = 32) -> Image.Image:
    """Six blocks of colour: another image when it is turned or loses a channel, and the same as JPEG."""
    blocks = np.array(
        [[(230, 20, 20), (20, 200, 40), (30, 30, 220)], [(240, 230, 30), (250, 250, 250), (10, 120, 130)]], np.uint8
    )
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as a file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def make_good_things(folder: Path) -> Path:
    """Makes data/ (train and val of three classes), model/ (a checkpoint), recipe.toml and run/ (a finished run).

    For detection, boxes/ (in COCO's layout) and detector/ (a checkpoint); for segmentation, segmenter/; for videos,
    teller/ and film.mp4.
    """
    from sparsevision.checkpoints import save_checkpoint
    from sparsevision.cli import main
    from sparsevision.factory import create_model
    from sparsevision.types import Preprocessing

    draws = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 1)):
        for name in CLASSES:
            (folder / "data" / split / name).mkdir(parents=True)
            for number in range(count):
                coarse = Image.fromarray(draws.integers(0, 256, (4, 5, 3), dtype=np.uint8))
                coarse.resize((40, 36)).save(folder / "data" / split / name / f"{number}.jpg")
    (folder / "recipe.toml").write_text(RECIPE)
    torch.manual_seed(0)
    model = create_model("sparseformer_nano", num_classes=3, cortex_depth=1, **SMALL)
    with torch.no_grad():
        model.head.fc.weight *= 20  # another image gives other scores, not only other digits of them
    options = {"preprocessing": Preprocessing(size=(32, 32), crop_fraction=1.0), "labels": CLASSES}
    save_checkpoint(folder / "model", model, name="sparseformer_nano", **options)
    words = ["--data", folder / "data", "--recipe", folder / "recipe.toml", "--out", folder / "run"]
    assert main(["train", *map(str, words)]) == 0
    draw_coco_folder(folder / "boxes")
    save_tiny_detector(folder / "detector")
    save_tiny_segmenter(folder / "segmenter")
    save_tiny_teller(folder / "teller")
    write_video(folder / "film.mp4", moving_square(0, right=True))
    return folder


class Trap:
    """Pickled, an order to make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@contextmanager
def without_the_power_to_read_everything() -> Iterator[None]:
    """Takes from root, for a while, what lets it pass over permissions; does nothing to others."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("Ii", 0x20080522, 0)  # version 3 of the interface, this thread
    before = ctypes.create_string_buffer(24)  # twice (effective, permitted, inheritable), 32 bits each
    if libc.capget(header, before):
        yield
        return
    words = list(struct.unpack("6I", before.raw))
    words[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    libc.capset(header, struct.pack("6I", *words))
    try:
        yield
    finally:
        libc.capset(header, before)


def _copied(name: str) -> cached_property[Path]:
    """A good folder of the bench's own, copied when it is first asked for."""
    return cached_property(lambda bench: Path(shutil.copytree(bench.good / name, bench.place / name)))


class Bench:
    """Good things to spoil, and the tools for it; every path that a method returns is what a row calls {bad}."""

    def __init__(self, place: Path, good: Path) -> None:
        self.place, self.good = place, good
        self.left = ExitStack()  # what is to be undone when the row is over

    # ------------------------------------------------------------------------------------------------ good things

    data, model, run = _copied("data"), _copied("model"), _copied("run")
    boxes, detector = _copied("boxes"), _copied("detector")
    segmenter, teller = _copied("segmenter"), _copied("teller")

    @cached_property
    def image(self) -> Path:
        return self.file("good.png", encoded(photograph(), "PNG"))

    @cached_property
    def film(self) -> Path:
        return Path(shutil.copyfile(self.good / "film.mp4", self.place / "film.mp4"))

    @cached_property
    def recipe(self) -> Path:
        return self.file("recipe.toml", RECIPE)

    @cached_property
    def out(self) -> Path:
        return self.place / "out"

    # ------------------------------------------------------------------------------------------------ files

    def file(self, name: str, content: bytes | str) -> Path:
        """Writes a file, and the folders above it."""
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def folder(self, name: str, *, within: Path | None = None) -> Path:
        """Makes a folder; where it lies in something good, that is returned."""
        path = self.place / name
        path.mkdir(parents=True)
        return within or path

    def link(self, name: str, target: str, *, within: Path | None = None) -> Path:
        """Makes a link; where it lies in something good, that is returned."""
        path = self.place / name
        path.symlink_to(target)
        return within or path

    def pipe(self, name: str) -> Path:
        os.mkfifo(self.place / name)
        return self.place / name

    def of_size(self, name: str, size: int) -> Path:
        """A file of so many bytes that takes no room."""
        with (self.place / name).open("wb") as file:
            file.truncate(size)
        return self.place / name

    def emptied(self, name: str, content: bytes | str = b"", *, delete: bool = False) -> Path:
        """A good thing one of whose files has other content, or is gone; `name` begins with the thing's."""
        good: Path = getattr(self, name.split("/")[0])
        if delete:
            (self.place / name).unlink()
        else:
            self.file(name, content)
        return good

    # ------------------------------------------------------------------------------------------------ images

    def encoded(self, name: str, image: Image.Image | None = None, kind: str = "PNG", **options: object) -> Path:
        """Writes the photograph, or another image, in some format."""
        return self.file(name, encoded(image or photograph(), kind, **options))

    def cut(self, path: Path, keep: int) -> Path:
        path.write_bytes(path.read_bytes()[:keep])
        return path

    def png_that_declares(self, width: int, height: int) -> Path:
        """A PNG of a hundred bytes that says it is as large as this."""

        def chunk(kind: bytes, data: bytes) -> bytes:
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        body = chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
        return self.file("bad.png", b"\x89PNG\r\n\x1a\n" + header + body)

    def sixteen_bits(self) -> Path:
        """A slope of grey in 16 bits; the good image is the same in 8."""
        slope = np.linspace(0, 255, 48).astype(np.uint8)[None].repeat(32, 0)
        self.image.write_bytes(encoded(Image.fromarray(slope), "PNG"))
        return self.encoded("bad.png", Image.fromarray(slope.astype(np.uint16) * 257))

    def see_through(self) -> Path:
        """The photograph with a clear block, where the good image is white."""
        clear, white = photograph().convert("RGBA"), photograph()
        clear.paste((0, 0, 0, 0), (16, 0, 32, 16))
        white.paste((255, 255, 255), (16, 0, 32, 16))
        self.image.write_bytes(encoded(white, "PNG"))
        return self.encoded("bad.png", clear)

    def turned(self) -> Path:
        """The photograph as a camera that was held upright stores it: lying, with a note in the metadata."""
        note = Image.Exif()
        note[0x0112] = 6
        lying = photograph().transpose(Image.Transpose.ROTATE_90)
        return self.encoded("bad.jpg", lying, "JPEG", exif=note, quality=95)

    def animated(self) -> Path:
        """An animation whose first frame is the photograph."""
        more = [Image.new("RGB", (48, 32), "blue")]
        return self.encoded("bad.png", save_all=True, append_images=more)

    # ------------------------------------------------------------------------------------------------ data sets

    def with_image(self, name: str, content: bytes = b"no image") -> Path:
        """The good data with one file more."""
        self.file(f"{self.data.name}/{name}", content)
        return self.data

    def with_class(self, name: str) -> Path:
        """The good data with one class more."""
        for split in ("train", "val"):
            self.with_image(f"{split}/{name}/a.png", encoded(photograph(), "PNG"))
        return self.data

    def damaged(self, split: str) -> Path:
        """The good data with all images of a split damaged."""
        for path in self.data.glob(f"{split}/*/*"):
            path.write_bytes(b"no image")
        return self.data

    def without(self, *names: str) -> Path:
        """The good data without some of its folders."""
        for name in names:
            shutil.rmtree(self.data / name)
        return self.data

    def shard(self, name: str = "bad.tar", **changes: bytes | None) -> Path:
        """A tar of two samples of each class; `changes` replace members (m3_cls is 3.cls); None leaves one out."""
        members: dict[str, bytes | None] = {}
        for number, label in enumerate((0, 0, 1, 1, 2, 2)):
            members[f"{number}.jpg"] = encoded(photograph(30 + number), "JPEG")
            members[f"{number}.cls"] = str(label).encode()
        members |= {key[1:].replace("_", "."): value for key, value in changes.items()}
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            for member, content in members.items():
                if content is not None:
                    info = tarfile.TarInfo(member)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        return self.file(name, file.getvalue())

    # ------------------------------------------------------------------------------------------------ recipes

    def recipe_with(self, text: str) -> Path:
        """A recipe of these lines alone."""
        return self.file("bad.toml", text)

    # ------------------------------------------------------------------------------------------------ checkpoints

    def described(self, **changes: Any) -> Path:
        """The good checkpoint with another config.json."""
        path = self.model / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        return self.model

    def configured(self, **changes: Any) -> Path:
        """The good checkpoint whose config.json describes another model."""
        before = json.loads((self.model / "config.json").read_text())["config"]
        return self.described(config={**before, **changes})

    def weights(self, **changes: torch.Tensor | None) -> Path:
        """The good checkpoint with other tensors ("__" for each dot in a name); None leaves one out."""
        path = self.model / "model.safetensors"
        state = {**load_file(path), **{name.replace("__", "."): value for name, value in changes.items()}}
        save_file({name: tensor for name, tensor in state.items() if tensor is not None}, path)
        return self.model

    def peer(self, outputs: int = 3) -> Path:
        """A checkpoint of a small network of timm's, which keeps no trace."""
        from sparsevision.checkpoints import save_checkpoint
        from sparsevision.factory import create_model, preprocessing_of

        name = "timm/test_resnet"
        labels = CLASSES[:outputs]
        model = create_model(name, num_classes=outputs)
        return save_checkpoint(
            self.place / "peer", model, name=name, preprocessing=preprocessing_of(name), labels=labels
        )

    @cached_property
    def plain(self) -> Path:
        """A checkpoint of a classifier that keeps no trace."""
        return self.peer(len(CLASSES))

    @cached_property
    def visual(self) -> Path:
        """A checkpoint of a narrow Visual Transformer."""
        from sparsevision.checkpoints import save_checkpoint
        from sparsevision.factory import create_model
        from sparsevision.types import Preprocessing

        name, model = "vt_resnet18", create_model("vt_resnet18", num_classes=len(CLASSES), **NARROW)
        return save_checkpoint(
            self.place / "visual", model, name=name, preprocessing=Preprocessing(size=(32, 32)), labels=CLASSES
        )

    @cached_property
    def dense(self) -> Path:
        """A checkpoint of a small detector that updates all tokens, and so has nothing to choose."""
        return save_tiny_detector(self.place / "dense", selection="all")

    def pickled(self, content: Any, *, plainly: bool = False) -> Path:
        path = self.place / "bad.pth"
        if plainly:
            path.write_bytes(pickle.dumps(content, protocol=2))
        else:
            torch.save(content, path)
        return path

    @property
    def trap(self) -> Trap:
        """Pickled, an order to make the folder `sprung`."""
        return Trap(self.place / "sprung")

    # ------------------------------------------------------------------------------------------------ runs

    def state(self, change: Any) -> Path:
        """The finished run with another last/state.safetensors: `change` takes its tensors and its facts."""
        from sparsevision.training.state import read_state

        found = read_state(self.run / "last")
        assert found is not None
        tensors, facts = found
        change(tensors, facts)
        save_file(tensors, self.run / "last" / "state.safetensors", metadata={"state": json.dumps(facts)})
        return self.run

    def trained(self) -> Path:
        """A model of the classes that the data have now."""
        from sparsevision.checkpoints import save_checkpoint
        from sparsevision.factory import create_model
        from sparsevision.types import Preprocessing

        labels = sorted(path.name for path in (self.data / "train").iterdir())
        model = create_model("sparseformer_nano", num_classes=len(labels), cortex_depth=1, **SMALL)
        options = {"preprocessing": Preprocessing(size=(32, 32)), "labels": labels}
        return save_checkpoint(self.place / "trained", model, name="sparseformer_nano", **options)

    # ------------------------------------------------------------------------------------------------ the machine

    def needs(self, path: str) -> None:
        if not os.path.exists(path):
            pytest.skip(f"this system has no {path}")

    def without_gpu(self) -> None:
        if torch.cuda.is_available():
            pytest.skip("this machine has a GPU")

    def without_network(self) -> None:
        """Lets no address be found."""

        def unknown(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        patch = pytest.MonkeyPatch()
        patch.setattr(socket, "getaddrinfo", unknown)
        self.left.callback(patch.undo)

    def disk(self, options: str) -> Path | None:
        """Mounts a disk in memory; None where this user may not."""
        place = self.folder("disk")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        self.left.callback(subprocess.run, ["umount", "--lazy", str(place)], check=True)
        return place

    def full_disk(self, kibibytes: int) -> Path:
        """A disk with so many KiB left."""
        return self.disk(f"size={kibibytes}k") or pytest.skip("mounting a disk is not permitted here")

    def filled_disk(self) -> Path:
        """A disk with nothing left, but for the names of empty files."""
        place = self.full_disk(8)
        (place / "filling").write_bytes(bytes(8 << 10))
        return place

    def read_only_disk(self) -> Path:
        """A folder on a disk that is mounted read-only: one of our own, or one that is there."""
        if own := self.disk("ro"):
            return own
        for line in Path("/proc/self/mounts").read_text().splitlines():
            place, kind, options = line.split()[1:4]
            if "ro" in options.split(",") and kind in ("sysfs", "tmpfs", "overlay") and os.path.isdir(place):
                return Path(place)
        pytest.skip("mounting a disk is not permitted here, and none is read-only")

    def largest_file(self, size: int) -> None:
        """Limits the size of files as `ulimit -f` does."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        self.left.callback(resource.setrlimit, resource.RLIMIT_FSIZE, before)

    def forbidden(self, path: Path) -> Path:
        """Takes all permissions from a path, and from this user the power to pass over them."""
        before = path.stat().st_mode
        path.chmod(0)
        self.left.callback(path.chmod, before)
        self.left.enter_context(without_the_power_to_read_everything())
        if os.access(path, os.R_OK, effective_ids=True):
            pytest.skip("this user may read everything")
        return path
