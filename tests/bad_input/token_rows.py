"""Bad input of Visual Transformers: what their parts cannot be made of, and options of other kinds of model."""

from __future__ import annotations

from bench import NARROW, Bench
from rows import RECIPE, Row, nothing, refused

VISUAL = "explain {image} --model {visual} --out {out}"


def recipe(bench: Bench, model: str = "", *, size: int = 32, batch: int = 3) -> object:
    """Writes a recipe of a narrow Visual Transformer with more lines in its section [model]."""
    fields = [f"config.{name} = {value}" for name, value in NARROW.items()]
    lines = [
        "[model]",
        'name = "vt_resnet18"',
        *fields,
        model,
        f"[data]\nbatch = {batch}",
        f"[transforms]\nsize = {size}",
    ]
    return bench.file("vt.toml", "\n".join([*lines, "[schedule]", "epochs = 1", "[run]", "workers = 0", ""]))


TOKENS = [
    Row("relation", "a relation between tokens that there is not",
        RECIPE, lambda b: recipe(b, 'config.relation = "atention"'), refused("'atention'", "'attention', 'graph'")),
    Row("depth", "a ResNet that there is not",
        RECIPE, lambda b: recipe(b, "config.depth = 20"), refused("depth", "18, 34, 50 or 101")),
    Row("groups", "groups that a width does not divide into",
        RECIPE, lambda b: recipe(b, "config.token_groups = 7"), refused("token_width is 64", "token_groups, 7")),
    Row("half of one token", "one token, of which half is to be renewed",
        RECIPE, lambda b: recipe(b, 'config.recurrence = "half"\nconfig.num_tokens = 1'), refused("at least 2")),
    Row("too many tokens", "more tokens than memory holds",
        RECIPE, lambda b: recipe(b, "config.num_tokens = 100000000000"), refused("num_tokens is 100000000000;")),
    Row("one cell", "one image whose last map is one cell, which norms cannot learn from",
        RECIPE, lambda b: recipe(b, size=16, batch=1), refused("1 image of 16x16", "train on larger images")),
    Row("another's backbone", "a backbone's weights that are a classifier of another kind",
        RECIPE, lambda b: recipe(b, f'backbone = "{b.model}"'), refused("give the weights of the backbone")),
    Row("stages", "a figure of models that sample",
        VISUAL + " --figure stages", nothing, refused("nothing for the figure 'stages'", "attention, interaction")),
    Row("animation", "an animation of stages that there are not",
        VISUAL + " --gif", nothing, refused("--gif")),
    Row("keep ratio", "a share of tokens for a model that reads with all",
        "predict {image} --model {visual} --keep-ratio 0.5", nothing,
        refused("'--keep-ratio'", "for this model is --top-k")),
    Row("faithfulness of another's", "the measure for a model that does not say where it looked",
        "explain --faithfulness --data {data} --model {plain}", nothing, refused("neither points nor maps of tokens")),
]  # fmt: skip
