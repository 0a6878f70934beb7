"""Mutated images, checkpoints, data sets, masks and videos by the thousand: `python benchmarks/mutations.py`.

Each is read as a command would read it, and must give a result or one sentence: no other exception, no code executed,
no process started, no address reached, at most `--seconds` for each, and at most `--mebibytes` of memory in all.
Whatever does not is kept in `--keep`, and the status is 1. Cases depend on the seed and their number alone.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cyclopts

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
KINDS = ("images", "checkpoints", "datasets", "masks", "videos")
CHUNK = 100
# Events of Python's audit that no reading of a file may cause.
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen", "socket.connect")
WEIRD = (None, True, 0, -1, 1e308, -1e308, 10**9, 10**30, "", "x", "\ud800", "../../x", [], {}, [[]], "9" * 5000, 0.5)


def main(
    *, images: int = 5000, checkpoints: int = 2000, datasets: int = 1000, masks: int = 1000, videos: int = 300,
    seed: int = 0, seconds: float = 20, mebibytes: int = 1500, keep: Path = Path("mutations"),
) -> int:  # fmt: skip
    """Read mutated files of five kinds and report what went wrong."""
    failures = 0
    for kind, count in zip(KINDS, (images, checkpoints, datasets, masks, videos), strict=True):
        outcomes: Counter[str] = Counter()
        peak = 0
        for first in range(0, count, CHUNK):
            chunk = [str(first), str(min(CHUNK, count - first))]
            command = [sys.executable, __file__, "worker", kind, *chunk, str(seed), str(seconds), str(keep)]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
            if ran.returncode or not lines:
                outcomes["a process that ended"] += 1
                print(f"{kind} {first}: status {ran.returncode}\n{ran.stderr[-2000:]}", file=sys.stderr)
                continue
            chunk_told = json.loads(lines[-1])
            outcomes.update(chunk_told["outcomes"])
            peak = max(peak, chunk_told["peak"])
        wrong = {name: number for name, number in outcomes.items() if name not in ("read", "refused")}
        failures += sum(wrong.values()) + (peak > mebibytes)
        told = f"{outcomes['read']} read, {outcomes['refused']} refused, {wrong or 'nothing wrong'}"
        print(f"{kind}: {told}, peak {peak} MiB", flush=True)
    return 1 if failures else 0


def work(kind: str, first: int, count: int, seed: int, seconds: float, keep: Path) -> None:
    """Reads `count` cases in this process; prints what came of them, and the peak of memory."""
    happened: list[str] = []
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        prepared = PREPARE[kind](Path(folder) / "sound")
        sys.addaudithook(lambda event, _: happened.append(event) if event.startswith(FORBIDDEN) else None)
        signal.signal(signal.SIGALRM, _too_slow)
        # What the first reading imports is not its own time.
        with suppress(Exception):
            prepared(Path(folder) / "first", random.Random(0))[1]()
        for number in range(first, first + count):
            place = Path(folder) / "case"
            shutil.rmtree(place, ignore_errors=True)
            happened.clear()
            dice = random.Random(f"{seed}-{kind}-{number}")
            case, read = prepared(place, dice)
            outcome, told = _outcome(read, seconds)
            if happened:
                outcome, told = "code executed", ", ".join(happened)
            outcomes[outcome] += 1
            if outcome not in ("read", "refused"):
                kept = keep / f"{kind}-{number}"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(case, kept)
                (kept / "what.txt").write_text(told, errors="backslashreplace")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps({"outcomes": outcomes, "peak": peak}))


def _outcome(read: Callable[[], object], seconds: float) -> tuple[str, str]:
    from sparsevision.errors import SparseVisionError

    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        read()
    except SparseVisionError as error:
        sound = "\n" not in str(error) and len(str(error)) < 5000
        return ("refused", "") if sound else ("a sentence that is none", str(error))
    except TimeoutError:
        return "too slow", traceback.format_exc()
    except BaseException:
        return "exception", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "read", ""


def _too_slow(number: int, frame: object) -> None:
    raise TimeoutError


# ---------------------------------------------------------------------------------------------------------- mutations


def mutated(content: bytes, dice: random.Random) -> bytes:
    """Changes, removes, inserts and repeats bytes, most of them near the beginning, where headers are."""
    data = bytearray(content)
    reach = max(min(len(data), dice.choice([16, 64, 400, 4000, len(data)])), 1)
    for _ in range(dice.choice([1, 1, 2, 3, 8, 40])):
        at, kind = dice.randrange(reach), dice.randrange(6)
        if kind <= 1:
            data[at : at + 1] = bytes([dice.choice([0, 1, 127, 128, 255, dice.randrange(256)])])
        elif kind == 2:
            del data[at : at + dice.choice([1, 2, 50])]
        elif kind == 3:
            data[at:at] = bytes(dice.choice(b'0123456789{}[]",:eE-.<>/ \x00\xff\n') for _ in range(dice.choice([1, 3])))
        elif kind == 4:
            data = data[: max(len(data) - dice.choice([1, 30, len(data) // 2]), 0)]
        else:
            data[at:at] = data[: dice.choice([4, 100])]
    return bytes(data)


def mutated_json(text: str, dice: random.Random) -> bytes:
    """Replaces, removes or repeats values anywhere in a JSON."""
    content = json.loads(text)
    for _ in range(dice.choice([1, 1, 2, 4])):
        places = list(_places(content))
        if not places:
            break
        home, key = dice.choice(places)
        kind = dice.randrange(4)
        if kind == 0 and isinstance(home, dict):
            home.pop(key)
        elif kind == 1 and isinstance(home, list):
            home.append(home[key])
        else:
            home[key] = dice.choice(WEIRD)
    return json.dumps(content).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def mutate_one(folder: Path, dice: random.Random) -> Path:
    """Mutates one file of a folder, in its structure where that is JSON; images are left as they are."""
    plain = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in (".png", ".jpg")]
    victim = dice.choice(plain)
    if victim.suffix == ".json" and dice.random() < 0.7:
        victim.write_bytes(mutated_json(victim.read_text(), dice))
    else:
        victim.write_bytes(mutated(victim.read_bytes(), dice))
    return victim


# ------------------------------------------------------------------------------------------------------------ kinds

Prepared = Callable[[Path, random.Random], tuple[Path, Callable[[], object]]]


def prepare_images(home: Path) -> Prepared:
    """Images of every format and mode, mutated and given to the model's view."""
    import io

    import numpy as np
    from PIL import Image

    from sparsevision.data.preprocessing import view
    from sparsevision.data.reading import read_image
    from sparsevision.types import Preprocessing

    photograph = Image.effect_noise((160, 120), 90).convert("RGB")
    deep = Image.fromarray(np.linspace(0, 65535, 160 * 120).reshape(120, 160).astype(np.uint16))
    clear = photograph.copy()
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    numbers = np.linspace(-3, 9, 160 * 120).reshape(120, 160)
    floats, integers = Image.fromarray(numbers.astype(np.float32)), Image.fromarray(numbers.astype(np.int32))
    made: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (photograph, "JPEG", {}), (photograph, "JPEG", {"progressive": True}), (photograph.convert("CMYK"), "JPEG", {}),
        (photograph, "PNG", {}), (clear, "PNG", {}), (deep, "PNG", {}), (photograph.quantize(9), "PNG", {}),
        (photograph.quantize(20), "GIF", {}), (clear, "WEBP", {"lossless": True}), (photograph, "WEBP", {}),
        (photograph, "TIFF", {}), (photograph, "TIFF", {"compression": "tiff_lzw"}), (deep, "TIFF", {}),
        (floats, "TIFF", {}), (integers, "TIFF", {}),
        (photograph, "BMP", {}), (photograph, "PPM", {}), (photograph, "JPEG2000", {}), (clear, "AVIF", {}),
    ]  # fmt: skip
    originals = []
    for image, form, options in made:
        if form in Image.SAVE:
            file = io.BytesIO()
            image.save(file, form, **options)
            originals.append(file.getvalue())
    views = [Preprocessing((64, 64)), Preprocessing((64, 107), fit="short"), Preprocessing((64, 64), fit="whole")]

    def prepared(place: Path, dice: random.Random) -> tuple[Path, Callable[[], object]]:
        place.mkdir()
        data = mutated(dice.choice(originals), dice)
        (place / "image").write_bytes(data)
        side = dice.choice([None, 32, 64])
        return place, lambda: view(dice.choice(views), read_image(data, "image", side=side))

    return prepared


def prepare_checkpoints(home: Path) -> Prepared:
    """Checkpoints of several forms and models, mutated in bytes and in their description."""
    import torch

    from sparsevision.checkpoints import save_checkpoint
    from sparsevision.factory import create_model, load_model
    from sparsevision.types import Preprocessing
    from tiny_detector import save_tiny_detector

    small = {"num_tokens": 4, "num_points": 4, "feature_channels": 8, "focusing_width": 64, "cortex_width": 64}
    options: dict[str, Any] = {"preprocessing": Preprocessing((32, 32)), "labels": ("ant", "bee", "cat")}
    model = create_model("sparseformer_nano", num_classes=3, cortex_depth=1, **small)
    home.mkdir(parents=True)
    save_checkpoint(home / "folder", model, name="sparseformer_nano", **options)
    save_checkpoint(home / "single" / "x.safetensors", model, name="sparseformer_nano", **options)
    save_tiny_detector(home / "detector")
    timms = create_model("timm/test_efficientnet", num_classes=3, drop_rate=0.1)
    save_checkpoint(home / "timm", timms, name="timm/test_efficientnet", **options)
    for name, form in (("new", True), ("old", False)):
        (home / name).mkdir()
        content = {"model": model.state_dict(), "epoch": 3}
        torch.save(content, home / name / "x.pth", _use_new_zipfile_serialization=form)
    names = sorted(path.name for path in home.iterdir())

    def prepared(place: Path, dice: random.Random) -> tuple[Path, Callable[[], object]]:
        name = dice.choice(names)
        shutil.copytree(home / name, place)
        mutate_one(place, dice)
        alone = [path for path in place.iterdir() if path.stem == "x"]
        return place, lambda: load_model(alone[0] if alone else place)

    return prepared


def prepare_datasets(home: Path) -> Prepared:
    """Data sets of every layout on disk, one of their files mutated; opened, read and examined."""
    import io
    import tarfile

    from PIL import Image

    from coco_folder import as_voc_folder, as_yolo_folder, draw_coco_folder
    from sparsevision.errors import UnreadableImageError
    from sparsevision.tasks import inspect_dataset, open_dataset

    home.mkdir(parents=True)
    draw_coco_folder(home / "coco")
    as_yolo_folder(home / "coco", home / "yolo")
    as_voc_folder(home / "coco", home / "voc")
    (home / "shards").mkdir()
    with tarfile.open(home / "shards" / "all.tar", "w") as tar:
        for number in range(8):
            file = io.BytesIO()
            Image.effect_noise((32, 24), 50 + number).save(file, "PNG")
            label = json.dumps({"label": "ab"[number % 2]}).encode() if number % 3 else b"ab"[number % 2 :][:1]
            members = {"png": file.getvalue(), "json" if number % 3 else "cls": label}
            for suffix, data in members.items():
                info = tarfile.TarInfo(f"{number}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    (home / "shards" / "classes.txt").write_text("a\nb\n")
    shutil.copytree(home / "coco" / "train", home / "folders" / "a")
    shutil.copytree(home / "coco" / "val", home / "folders" / "b")
    (home / "folders" / "classes.txt").write_text("a\tant\nb\tbee\n")
    names = sorted(path.name for path in home.iterdir())

    def prepared(place: Path, dice: random.Random) -> tuple[Path, Callable[[], object]]:
        name = dice.choice(names)
        shutil.copytree(home / name, place)
        mutate_one(place, dice)
        kind = "classification" if name in ("shards", "folders") else "detection"

        def read() -> None:
            inspect_dataset(str(place), task=kind)
            for split in ("train", "val"):
                data = open_dataset(place, split, task=kind)
                for index in range(min(len(data), 3)):
                    try:
                        data.read(index)
                    except UnreadableImageError:
                        continue

        return place, read

    return prepared


def prepare_masks(home: Path) -> Prepared:
    """Data sets for segmentation, a mask of any form or the table of classes or the outlines mutated; read whole."""
    import numpy as np
    from PIL import Image

    from mask_folder import draw_mask_folder
    from sparsevision.errors import UnreadableImageError
    from sparsevision.tasks import inspect_dataset, open_dataset

    draw_mask_folder(home / "folders", train=2, val=1)
    draw_mask_folder(home / "outlines", train=2, val=1)
    indices = np.asarray(Image.open(home / "folders" / "train" / "labels" / "train000.png")) % 3
    palette = Image.fromarray(indices)
    palette.putpalette([0, 0, 0, 250, 0, 0, 0, 250, 0])
    table = "index\tname\tr\tg\tb\n0\tground\t0\t0\t0\n1\tsquare\t250\t0\t0\n2\tdisc\t0\t250\t0\n"
    (home / "folders" / "classes.txt").write_text(table)
    forms = [
        (palette, "PNG"), (Image.fromarray(indices), "PNG"), (palette.convert("RGB"), "PNG"), (palette, "GIF"),
        (Image.fromarray(indices.astype(np.uint16)), "PNG"), (Image.fromarray(indices), "TIFF"), (palette, "BMP"),
    ]  # fmt: skip
    for split, count in (("train", 2), ("val", 1)):
        images = [{"id": n, "file_name": f"{split}{n:03d}.png", "width": 96, "height": 72} for n in range(count)]
        outlines: list[Any] = [[[1, 1, 50, 1, 50, 60]], {"size": [72, 96], "counts": [10, 400, 6502]},
                               {"size": [72, 96], "counts": "d3X1P1mNd3"}]  # fmt: skip
        rows = [
            {"id": n, "image_id": 0, "category_id": 1 + n % 2, "bbox": [1, 1, 40, 40], "area": 9, "iscrowd": n % 2,
             "segmentation": outline} for n, outline in enumerate(outlines)
        ]  # fmt: skip
        content = {
            "images": images,
            "annotations": rows,
            "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        }
        (home / "outlines" / "annotations").mkdir(exist_ok=True)
        (home / "outlines" / "annotations" / f"{split}.json").write_text(json.dumps(content))
        shutil.rmtree(home / "outlines" / split / "labels")
    (home / "outlines" / "classes.txt").unlink()

    def prepared(place: Path, dice: random.Random) -> tuple[Path, Callable[[], object]]:
        name = dice.choice(["folders", "folders", "outlines"])
        shutil.copytree(home / name, place)
        if name == "outlines" or dice.random() < 0.2:
            mutate_one(place, dice)
        else:
            image, form = dice.choice(forms)
            path = place / "train" / "labels" / "train000.png"
            image.save(path, form)
            path.write_bytes(mutated(path.read_bytes(), dice))

        def read() -> None:
            inspect_dataset(str(place), task="segmentation")
            data = open_dataset(place, "train", task="segmentation")
            for index in range(len(data)):
                try:
                    data.read(index)
                except UnreadableImageError:
                    continue

        return place, read

    return prepared


def prepare_videos(home: Path) -> Prepared:
    """Videos of several containers and codecs, mutated; probed, read at some times, and played from the beginning."""
    from itertools import islice

    import av

    from sparsevision.data.videos import probe_video, read_clip
    from sparsevision.errors import UnreadableImageError
    from sparsevision.inference.video import read_video
    from video_folder import moving_square, write_video

    av.logging.set_level(None)
    frames = moving_square(0, right=True, count=40)
    forms: list[tuple[str, dict[str, Any]]] = [
        ("a.mp4", {}), ("b.mkv", {}), ("c.avi", {}), ("d.mp4", {"codec": "libx264"}), ("e.ts", {"codec": "mpeg2video"}),
        ("f.mkv", {"codec": "ffv1"}), ("g.webm", {"codec": "libvpx"}), ("h.m1v", {"codec": "mpeg1video", "rate": 25}),
        ("i.mov", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
    ]  # fmt: skip
    made = [
        write_video(home / name, frames, gop_size=8, **options)
        for name, options in forms
        if options.get("codec", "mpeg4") in av.codecs_available
    ]

    def prepared(place: Path, dice: random.Random) -> tuple[Path, Callable[[], object]]:
        place.mkdir()
        sound = dice.choice(made)
        path = place / sound.name
        path.write_bytes(mutated(sound.read_bytes(), dice))

        def read() -> None:
            missing: list[Any] = []
            for _ in islice(read_video(str(path), missing), 100):
                pass
            info = probe_video(path)
            times = sorted(dice.uniform(0, min(info.duration, 1e6)) for _ in range(4))
            read_clip(dice.choice([path, path.read_bytes()]), times, path.name, side=dice.choice([None, 16]))
            if missing:
                raise UnreadableImageError(missing[0].reason)

        return place, read

    return prepared


PREPARE: dict[str, Callable[[Path], Prepared]] = {
    "images": prepare_images, "checkpoints": prepare_checkpoints, "datasets": prepare_datasets,
    "masks": prepare_masks, "videos": prepare_videos,
}  # fmt: skip

if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if sys.argv[1:2] == ["worker"]:
        kind, first, count, seed, seconds, keep = sys.argv[2:]
        work(kind, int(first), int(count), int(seed), float(seconds), Path(keep))
    else:
        app = cyclopts.App(default_command=main)
        sys.exit(app(result_action="return_value"))
