"""The small dataclasses that the rooms of the library hand to each other.

Nothing here computes anything of a model's; everybody may import this module, and importing it does not load torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

    from PIL.Image import Image
    from torch import Tensor

# ------------------------------------------------------------------------------------------------------------ traces


@dataclass(frozen=True)
class Points:
    """Sampled points of tokens: `xy` (B, N, P, 2), or (B, N, P, 3) with the time last; fractions of the valid image."""

    kind: ClassVar[str] = "points"
    xy: Tensor
    weight: Tensor | None = None  # (B, N, P), where points do not count alike
    level: Tensor | None = None  # (B, N, P), the feature level each point reads

    @property
    def label(self) -> str:
        """ "points", or "timed_points" of clips."""
        return self.kind if self.xy.shape[-1] == 2 else f"timed_{self.kind}"


@dataclass(frozen=True)
class Regions:
    """Regions of interest: `xyxy` (B, N, 4) corners as fractions of the valid image; tubes are (B, N, 6)."""

    kind: ClassVar[str] = "regions"
    xyxy: Tensor

    @property
    def label(self) -> str:
        """ "regions", or "timed_regions" of clips."""
        return self.kind if self.xyxy.shape[-1] == 4 else f"timed_{self.kind}"


@dataclass(frozen=True)
class TokenMaps:
    """Maps of tokens, one a token, on one grid over the image; each is None where the model has nothing like it.

    `read` (B, L, H, W) are the cells of which each token is a mean, and `interaction` (B, L, H, W) weights, for each
    token, the maps of the tokens that it attends to; these sum to one over the cells. `given` (B, L, H, W) is how much
    each cell takes from each token; it sums to one over the tokens.
    """

    kind: ClassVar[str] = "token_maps"
    read: Tensor | None = None
    interaction: Tensor | None = None
    given: Tensor | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """The maps that there are."""
        return tuple(name for name in ("read", "interaction", "given") if getattr(self, name) is not None)


@dataclass(frozen=True)
class LevelMaps:
    """One map a feature level: `values` (B, H, W) for each, over the image.

    `role` is "read" for how much of every cell a later stage read, and "expected" for a model's prediction of that.
    `ratios` (B, L, 2) are the shares (x, y) of each level's grid that the valid image covers, from its upper left
    corner; None: all of it.
    """

    kind: ClassVar[str] = "level_maps"
    values: tuple[Tensor, ...]
    role: Literal["read", "expected"] = "read"
    ratios: Tensor | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """The role."""
        return (self.role,)


@dataclass(frozen=True)
class Kept:
    """Tokens that a sparse encoder updates: per level, `indices` (B, K) into the level's row-major grid (-1 pads).

    `ratios` are those of `LevelMaps`.
    """

    kind: ClassVar[str] = "kept"
    indices: tuple[Tensor, ...]
    grids: tuple[tuple[int, int], ...]
    ratios: Tensor | None = None


@dataclass(frozen=True)
class Response:
    """The answer of each token alone to each class: `logits` (B, N, K)."""

    kind: ClassVar[str] = "response"
    logits: Tensor


Observation = Points | Regions | TokenMaps | LevelMaps | Kept | Response
TraceKind = Literal["points", "regions", "token_maps", "level_maps", "kept", "response"]
TRACE_KINDS: tuple[TraceKind, ...] = ("points", "regions", "token_maps", "level_maps", "kept", "response")


class Trace:
    """Record of what a model sampled and read in one forward pass, filled by the model itself.

    `Trace("points", "regions")` asks for kinds; `Trace()` asks for all of them. Each kind is a mapping from stage
    names, in the order in which the model runs them, to observations whose first axis is the batch. Recording a stage
    again overwrites it, so that a recomputed forward (gradient checkpointing) leaves the same trace.
    """

    def __init__(self, *kinds: TraceKind) -> None:
        self.kinds: tuple[TraceKind, ...] = kinds or TRACE_KINDS
        self.points: dict[str, Points] = {}
        self.regions: dict[str, Regions] = {}
        self.token_maps: dict[str, TokenMaps] = {}
        self.level_maps: dict[str, LevelMaps] = {}
        self.kept: dict[str, Kept] = {}
        self.response: dict[str, Response] = {}

    def wants(self, kind: TraceKind) -> bool:
        """Returns whether a kind was asked for, so that a model computes nothing that nobody reads."""
        return kind in self.kinds

    def record(self, stage: str, observation: Observation) -> None:
        """Keeps an observation under the stage's name, if its kind was asked for; tensors are detached."""
        if observation.kind in self.kinds:
            self.of(observation.kind)[stage] = _map_tensors(observation, lambda tensor: tensor.detach())

    def of(self, kind: str) -> dict[str, Any]:
        """Returns {stage: observation} of one kind."""
        found: dict[str, Any] = getattr(self, kind)
        return found

    @property
    def has(self) -> frozenset[str]:
        """The kinds that were recorded; those with roles also as "kind.role", as in "level_maps.read".

        Points and regions of clips are "timed_points" and "timed_regions".
        """
        recorded = [observation for kind in self.kinds for observation in self.of(kind).values()]
        roles = {f"{each.kind}.{role}" for each in recorded for role in getattr(each, "roles", ())}
        return frozenset({getattr(each, "label", each.kind) for each in recorded} | roles)

    def __getitem__(self, index: int) -> Trace:
        """Returns one image's trace: the same stages, every tensor without its batch axis, on the CPU."""
        one = Trace(*self.kinds)
        for kind in self.kinds:
            for stage, observation in self.of(kind).items():
                one.of(kind)[stage] = _map_tensors(observation, lambda tensor: tensor[index].cpu())
        return one


def _map_tensors(observation: Observation, function: Any) -> Observation:
    """Applies a function to every tensor that an observation holds."""

    def mapped(value: Any) -> Any:
        if hasattr(value, "detach"):
            return function(value)
        if isinstance(value, tuple) and value and hasattr(value[0], "detach"):
            return tuple(function(item) for item in value)
        return value

    return replace(observation, **{f.name: mapped(getattr(observation, f.name)) for f in fields(observation)})


# ---------------------------------------------------------------------------------------------------- preprocessing


@dataclass(frozen=True)
class Preprocessing:
    """The view of an image that a model gets; saved with the weights and used wherever an image is read.

    `fit` says how the image meets `size` (height, width):
    "crop" resizes the short side to `size / crop_fraction` and takes the centre; "stretch" resizes to exactly
    `size`; "whole" keeps the aspect ratio and the whole image, the *area* being that of `size`; "short", too, but
    with a short side of `size[0]`, or a long side of `size[1]` where it would become longer (detection). Sides of
    whole images are rounded to a `multiple` of pixels, and are at least three times as long.

    Of a video, `frames` frames at even distances are read: every `frame_stride`-th one, or as far apart as to cover
    `clip_seconds`; with neither, the whole video. None: the model takes images. Where a video is scored, `clips` of it
    at even distances are seen, each in `crops` parts, and the answers are averaged.
    """

    size: tuple[int, int] = (224, 224)
    fit: Literal["crop", "stretch", "whole", "short"] = "crop"
    crop_fraction: float = 0.875
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    frames: int | None = None
    frame_stride: int | None = None
    clip_seconds: float | None = None
    clips: int = 1
    crops: int = 1
    multiple: int = 1

    def __post_init__(self) -> None:
        # JSON and TOML hand lists over; equality and hashing want tuples.
        for name in ("size", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def input_shape(self, channels: int = 3) -> tuple[int, ...]:
        """Returns the shape of one input: (C, H, W) of an image, (C, T, H, W) of a clip."""
        return (channels, *self.size) if self.frames is None else (channels, self.frames, *self.size)

    def of_images(self, images: Preprocessing) -> Preprocessing:
        """Returns the same frames of a video, each seen as `images` has them."""
        names = ("frames", "frame_stride", "clip_seconds", "clips", "crops")
        return replace(images, **{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class Geometry:
    """The part of the original (upright) image that a view shows: `box` (x0, y0, x1, y1) in pixels of it.

    `original_size` is (height, width). A point at fractions (x, y) of the view lies at
    (x0 + x (x1 - x0), y0 + y (y1 - y0)) in the original.
    """

    original_size: tuple[int, int]
    box: tuple[float, float, float, float]

    def to_original(self, xy: Tensor) -> Tensor:
        """Maps (..., 2) fractions of the view to pixels of the original image."""
        x0, y0, x1, y1 = self.box
        origin, extent = xy.new_tensor([x0, y0]), xy.new_tensor([x1 - x0, y1 - y0])
        return origin + xy * extent


# ----------------------------------------------------------------------------------------------- samples and results


@dataclass(frozen=True)
class Skipped:
    """An image that could not be used: its name and one sentence why."""

    name: str
    reason: str


@dataclass
class Sample:
    """One input as a task's `collate` takes it: a normalised tensor (C, H, W), its target and where it came from.

    `time` is a video's at this frame, in seconds.
    """

    image: Tensor
    target: Any
    name: str
    index: int
    geometry: Geometry | None = None
    time: float | None = None


@dataclass
class Batch:
    """Samples put together by a task.

    `images` (B, C, H, W); `sizes` (B, 2) the valid height and width of each image, None where all are whole;
    `targets` as the task has them; `names` and `indices` say which samples these are; `skipped` the ones that could
    not be read. A batch may be empty (B = 0) when nothing in it could be read. Of each sample `images` has `views`, one
    after the other (B V, ...).
    """

    images: Tensor
    targets: Any
    names: list[str]
    indices: list[int]
    sizes: Tensor | None = None
    geometries: list[Geometry | None] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    views: int = 1

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: Any, **options: Any) -> Batch:
        """Moves the tensors to a device, those inside of `targets` too, where these are lists or dictionaries."""

        def moved(value: Any) -> Any:
            if isinstance(value, list):
                return [moved(item) for item in value]
            if isinstance(value, dict):
                return {key: moved(item) for key, item in value.items()}
            return value.to(device, **options) if hasattr(value, "to") else value

        return replace(self, images=moved(self.images), targets=moved(self.targets), sizes=moved(self.sizes))


@dataclass(frozen=True, kw_only=True)
class Result(ABC):
    """The answer for one image as a user gets it; every task has a kind of its own.

    `name` is the image's, `classes` are all classes of the model in its order, `geometry` leads back to the original
    image, `trace` and `features` are there if they were asked for, and `time` is the position in a video, in seconds.
    `offers` names what figures and writers may read of this kind: "scores" (`labels` and `scores`, best first) or
    "objects" (these and `boxes`, corners in pixels of the original).
    """

    offers: ClassVar[frozenset[str]] = frozenset()
    name: str
    classes: tuple[str, ...] = ()
    geometry: Geometry | None = None
    trace: Trace | None = None
    features: Tensor | None = None
    time: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of a JSON line: the name, the time in a video, and `content()`."""
        named = {"name": self.name} if self.time is None else {"name": self.name, "time": round(self.time, 4)}
        return {**named, **self.content()}

    @abstractmethod
    def content(self) -> dict[str, Any]:
        """Returns the answer as JSON takes it."""

    # What a table of results says beneath it about its cells.
    cells_note: ClassVar[str] = ""

    @abstractmethod
    def cells(self) -> dict[str, str]:
        """Returns the row of a table: {column: text}, with the same columns for all results of a model."""

    @abstractmethod
    def summary(self) -> str:
        """Returns the answer in a few words."""

    @abstractmethod
    def agreement(self, other: Self) -> float:
        """Returns the share of the answer that is the same in another result of the image, from 0 to 1."""

    @abstractmethod
    def annotate(self, image: Image, *, least_side: int = 480) -> Image:
        """Returns the image (upright RGB; it may be a reduced one) with the answer drawn over it.

        An image whose short side is shorter than `least_side` pixels is enlarged to it; 0 leaves its size as it is.
        """

    def __str__(self) -> str:
        return f"{self.name}: {self.summary()}"


@dataclass(frozen=True, kw_only=True)
class UnreadResult(Result):
    """What stands in a list of results for an image that could not be read; `reason` says why, in a sentence."""

    reason: str

    def content(self) -> dict[str, Any]:
        """Returns {"error": the reason}."""
        return {"error": self.reason}

    def cells(self) -> dict[str, str]:
        """Returns the reason alone."""
        return {"error": self.reason}

    def summary(self) -> str:
        """Returns the reason."""
        return self.reason

    def agreement(self, other: Self) -> float:
        """Returns whether the other could not be read for the same reason."""
        return float(self.reason == other.reason)

    def annotate(self, image: Image, *, least_side: int = 480) -> Image:
        """Returns the image as it is."""
        return image


# ---------------------------------------------------------------------------------------------------------- classes


@dataclass(frozen=True)
class ClassMetadata:
    """Values of each class besides its name, which weights carry.

    `category_ids` are the numbers that the data set itself uses; `thresholds` are the minimum scores of a detection,
    chosen where precision and recall balance best, and `f1` is that balance: the F1 score there, from 0 to 1,
    None for a class that was not shown.
    """

    category_ids: tuple[int, ...] | None = None
    thresholds: tuple[float, ...] | None = None
    f1: tuple[float | None, ...] | None = None


# ------------------------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text for a person: `rows` under `columns`, a `heading` above and a `note` below.

    `numbers` are the columns that are aligned to the right.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    heading: str = ""
    note: str = ""
    numbers: frozenset[int] = frozenset()


# ---------------------------------------------------------------------------------------------------------- controls


@dataclass(frozen=True)
class Control:
    """A number that may change per call on a trained model: offered by name wherever models are run.

    `whole` accepts whole numbers alone.
    """

    name: str
    default: float
    minimum: float
    maximum: float
    description: str
    whole: bool = False

    def values_at(self, shares: Iterable[float]) -> list[float]:
        """Returns shares of the largest value, as far as they are within the range."""
        return [value for share in shares if (value := round(share * self.maximum, 6)) >= self.minimum]


@dataclass(frozen=True)
class Choice:
    """A value that may be chosen per call on a trained model, among named ones."""

    name: str
    default: str
    values: tuple[str, ...]
    description: str


@dataclass(frozen=True)
class TextOption:
    """A text that may be given per call, as the name of a class."""

    name: str
    default: str | None
    description: str


Option = Control | Choice | TextOption
