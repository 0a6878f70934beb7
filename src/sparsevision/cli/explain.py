"""`sparsevision explain`: where a model looked, drawn; or measured, whether that is what it decided by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sparsevision.cli.looking import Drawer, FigureKind, look_at
from sparsevision.cli.names import printable, refuse_options
from sparsevision.errors import ConfigError

_Flag = Parameter(negative="")


def explain(
    *pictures: Annotated[str, Parameter(allow_leading_hyphen=True)],
    model: Annotated[str, Parameter(name=("--model", "--checkpoint"))] = "sparseformer_nano",
    out: Path = Path("explained"),
    figure: FigureKind = "stages",
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
        Files, folders, glob patterns, or - for a list of paths on standard input.
    model
        A checkpoint (folder or file), a run's best/ folder, or a model's name for its published weights.
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
        from sparsevision.inference import Predictor

        return measure(Predictor(model, device), data, out=out, peer=peer, limit=limit, baseline=baseline)
    if not pictures:
        raise ConfigError("There is nothing to explain: give pictures, or --faithfulness with --data.")
    refuse_options(
        pictures, ("--model", "--out", "--figure", "--gif", "--page", "--label", "--top-tokens", "--radius", "--device")
    )
    if top_tokens < 1:
        raise ConfigError(f"--top-tokens is {top_tokens}; it must be at least 1.")
    from sparsevision.inference import Predictor

    predictor = Predictor(model, device)
    drawer = Drawer(predictor, out, radius=radius)
    looks = look_at(predictor, pictures)
    for look in looks:
        print(printable(str(look.result)))
        drawer.draw(look, figure=figure, gif=gif, label=label, top_tokens=top_tokens)
    if page:
        drawer.page(looks, Path(model).name)
    for path in drawer.written:
        print(printable(str(path)))
    return 0
