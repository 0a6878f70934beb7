"""Model cards for the Hub: what a model is for and how it is used, and what its owner says of its scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from sparsevision.checkpoints.identity import Identity
from sparsevision.errors import ConfigError
from sparsevision.models.registry import Family, variants

LIBRARY, REPOSITORY = "sparsevision", "https://github.com/sparsevision/sparsevision"
# Labels that a card names; of more it gives the number.
_NAMED = 40


def model_card(
    identity: Identity, family: Family, *, license: str | None = None, data: str | None = None,
    scores: Mapping[str, float] | None = None,
) -> ModelCard:  # fmt: skip
    """Returns the card of a model.

    Args:
        identity: of the model.
        family: of its network, which has the Hub's name of the task.
        license: of the weights, by the Hub's name (e.g. "cc0-1.0").
        data: name of the data set that it was trained on, and that `scores` are of.
        scores: by name, e.g. {"ap50": 0.9}.

    Raises:
        ConfigError: there are scores, and no data set that they are of.
    """
    if scores and not data:
        raise ConfigError("A card's scores are of a data set: give its name as data=..., too.")
    variant = variants().get(identity.name)
    values: dict[str, Any] = {
        "library_name": LIBRARY, "pipeline_tag": family.pipeline_tag, "tags": list(family.tags), "license": license,
    }  # fmt: skip
    if scores:
        results = [
            EvalResult(
                task_type=family.pipeline_tag or family.task, dataset_type="custom", dataset_name=str(data),
                metric_type=name, metric_value=value,
            )
            for name, value in scores.items()
        ]  # fmt: skip
        values |= {"model_name": identity.name, "eval_results": results}
    header = ModelCardData(**{name: value for name, value in values.items() if value})
    kind = family.task.replace("_", " ")
    lines = [f"# {identity.name}", "", f"A model for {kind}, saved by [{LIBRARY}]({REPOSITORY})."]
    if variant is not None:
        lines[-1] += f" The network: {variant.paper.replace('arXiv ', 'https://arxiv.org/abs/')}."
    lines += ["", "```console", f"$ pip install {LIBRARY}", f"$ {LIBRARY} predict --model FOLDER IMAGE", "```", ""]
    lines += ["```python", "from sparsevision import Predictor", "", 'results = Predictor("FOLDER")(["IMAGE"])', "```"]
    lines += ["", "`FOLDER` is a local copy of this repository.", "", "## What it sees and says", ""]
    view = identity.preprocessing
    lines.append(f"Images are seen with fit {view.fit!r} at {view.size[0]} x {view.size[1]} pixels.")
    if identity.labels is not None:
        count = len(identity.labels)
        lines.append(f"Classes: {', '.join(identity.labels)}." if count <= _NAMED else f"{count} classes.")
    if data:
        lines += ["", "## Data and scores", "", f"Trained on {data}."]
        lines += ["", *(f"- {name}: {value:.4g}" for name, value in (scores or {}).items())]
    return ModelCard(f"---\n{header.to_yaml()}\n---\n\n" + "\n".join(lines) + "\n")
