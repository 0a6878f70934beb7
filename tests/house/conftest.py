"""What a reader of the documents has on disk."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from coco_folder import draw_coco_folder
from mask_folder import draw_mask_folder, save_tiny_segmenter
from tiny_detector import save_tiny_detector
from video_folder import draw_video_folder, save_tiny_teller

PHOTOGRAPHS = (
    ("skimage", "data/motorcycle_left.png"), ("skimage", "data/coffee.png"), ("skimage", "data/chelsea.png"),
    ("sklearn", "datasets/images/china.jpg"),
)  # fmt: skip


@pytest.fixture(scope="session")
def reader(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's folder: images, recipe, models; boxes, masks and videos. Copy it before writing there."""
    from sparsevision import create_model
    from sparsevision.checkpoints import save_checkpoint
    from sparsevision.factory import preprocessing_of
    from sparsevision.training import read_recipe

    folder = tmp_path_factory.mktemp("reader") / "files"
    shutil.copytree(photographs, folder)
    (folder / "my_recipe.toml").write_text(read_recipe("folder_nano").to_toml())
    name = "sparseformer_nano"
    model, preprocessing = create_model(name, num_classes=2), preprocessing_of(name)
    save_checkpoint(
        folder / "runs" / "mine" / "best", model, name=name, preprocessing=preprocessing, labels=("round", "square")
    )
    narrow = {"width": 8, "feature_width": 64, "token_width": 64, "num_heads": 4, "group_width": 16}
    model = create_model("vt_resnet18", num_classes=2, **narrow)
    preprocessing = preprocessing_of("vt_resnet18")
    save_checkpoint(
        folder / "runs" / "vt" / "best",
        model,
        name="vt_resnet18",
        preprocessing=preprocessing,
        labels=("round", "square"),
    )
    shutil.copy(folder / "cat.jpg", folder / "bird.jpg")
    (folder / "photographs").mkdir()
    for package, inside in PHOTOGRAPHS:
        [place] = find_spec(package).submodule_search_locations
        shutil.copy(Path(place) / inside, folder / "photographs")
    _add_boxes(folder)
    draw_mask_folder(folder / "cells")
    for name in ("fpn_nano", "vt_fpn_nano"):
        save_tiny_segmenter(folder / "runs" / ("cells" if name == "fpn_nano" else "cells-tokens") / "best", name=name)
    shutil.copy(folder / "cat.jpg", folder / "cells.jpg")
    draw_video_folder(folder / "moves")
    save_tiny_teller(folder / "runs" / "moves" / "best")
    return folder


def _add_boxes(folder: Path) -> None:
    """Adds what is for detectors: a data set in COCO's layout with three splits, a model, a video."""
    import av

    from sparsevision.types import ClassMetadata

    data = draw_coco_folder(folder / "blood")
    shutil.copytree(data / "val", data / "test")
    shutil.copy(data / "annotations" / "val.json", data / "annotations" / "test.json")
    # It finds objects in anything, so that there is one to follow.
    save_tiny_detector(folder / "runs" / "blood" / "best", class_metadata=ClassMetadata(thresholds=(0.0, 0.0)))
    with av.open(str(folder / "slide.mp4"), "w") as video:
        stream = video.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 72, "yuv420p"
        for path in sorted((data / "train").iterdir()):
            video.mux(stream.encode(av.VideoFrame.from_image(Image.open(path))))
        video.mux(stream.encode())
