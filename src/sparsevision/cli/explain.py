"""`sparsevision explain`: where a model looked, drawn; or measured, whether that is what it decided by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from sparsevision.errors import ConfigError

if TYPE_CHECKING:
    from sparsevision.inference import Predictor

_Flag = Parameter(negative="")
_DEFAULT_MODEL = "sparseformer_nano"


def explain(
    pictures: list[Path] | None = None,
    /,
    *,
    model: str | None = None,
    checkpoint: Path | None = None,
    out: Path = Path("explained"),
    figure: Literal["stages", "tokens", "disturbed", "all", "none"] = "stages",
    gif: Annotated[bool, _Flag] = False,
    page: Annotated[bool, _Flag] = False,
    label: str | None = None,
    top_tokens: int = 5,
    radius: float = 0.05,
    device: str | None = None,
    faithfulness: Annotated[bool, _Flag] = False,
    data: str | None = None,
    peer: str | None = None,
    limit: int | None = None,
    baseline: Literal["blur", "mean"] = "blur",
) -> int:
    """Draw where a model looked, stage by stage; or measure whether that is true.

    The measure deletes and inserts pixels in the order in which maps rank them (the model's own sampling density, a
    random map, the picture's centre, Grad-CAM of a peer) and reads how the model's probability follows.

    Parameters
    ----------
    pictures
        Files, and folders of pictures.
    model
        The model's name, as `sparsevision models` lists it. Default: sparseformer_nano with its shipped weights.
    checkpoint
        Trained weights, in any layout that is known.
    out
        The folder that is written.
    figure
        stages: points, RoIs and density (the paper's Figures 3 and 4); tokens: those that respond most to a class
        (Figure 6); disturbed: the picture erased and padded (Figure 7).
    gif
        Also an animation of the stages for each picture.
    page
        Also one page on which to step through the stages and follow tokens; it works offline.
    label
        The class of --figure tokens. Default: the predicted one.
    top_tokens
        How many tokens --figure tokens follows.
    radius
        Of the density's top-hat kernel, as a fraction of the picture's shorter side.
    device
        Where to run: cpu, cuda, ...
    faithfulness
        Measure deletion and insertion curves on the val split of --data instead of drawing pictures.
    data
        The data set of --faithfulness.
    peer
        A checkpoint or timm/NAME whose Grad-CAM is measured as well.
    limit
        Measure on so many pictures, drawn at random. Default: all.
    baseline
        What stands where pixels are deleted: the blurred picture, or the mean colour.
    """
    if faithfulness:
        if data is None or pictures:
            raise ConfigError("--faithfulness measures a data set: give --data and no pictures.")
        from sparsevision.cli.faithfulness import measure

        return measure(
            _predictor(model, checkpoint, device), data, out=out, peer=peer, limit=limit, baseline=baseline
        )
    if not pictures:
        raise ConfigError("There is nothing to explain: give pictures, or --faithfulness with --data.")
    if top_tokens < 1:
        raise ConfigError(f"--top-tokens is {top_tokens}; it must be at least 1.")
    from sparsevision.cli.looking import Drawer, look_at, pictures_in

    files = pictures_in(pictures)
    predictor = _predictor(model, checkpoint, device)
    drawer = Drawer(predictor, out, radius=radius)
    looks = look_at(predictor, files)
    for look in looks:
        print(look.result)
        name = drawer.name_for(look)
        if figure in ("stages", "all"):
            drawer.stages(look, name)
        if figure in ("tokens", "all"):
            drawer.tokens(look, name, label=label, count=top_tokens)
        if figure in ("disturbed", "all"):
            drawer.disturbed(look, name)
        if gif:
            drawer.gif(look, name)
    if page:
        drawer.page(looks, model or (checkpoint.name if checkpoint else _DEFAULT_MODEL))
    for path in drawer.written:
        print(path)
    return 0


def _predictor(model: str | None, checkpoint: Path | None, device: str | None) -> Predictor:
    from sparsevision.factory import create_model
    from sparsevision.inference import Predictor

    if model is not None and checkpoint is not None:
        return Predictor(create_model(model, checkpoint=checkpoint), device)
    return Predictor(checkpoint or model or _DEFAULT_MODEL, device)
