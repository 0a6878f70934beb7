"""Bad input of `explain`: options and figures of the other kind of model, objects that there are not, controls."""

from __future__ import annotations

from rows import EXPLAIN, Row, nothing, read, refused

DETECTOR = "explain {picture} --model {detector} --out {out}"

LOOKS = [
    Row("object of a classifier", "an object of a model that finds none",
        EXPLAIN + " --object 1", nothing, refused("--object belongs to the figures query", "stages, tokens")),
    Row("threshold of a classifier", "a threshold for a model that names classes",
        EXPLAIN + " --threshold 0.5", nothing, refused("'--threshold'", "for this model is", "--radius", "--top-k")),
    Row("keep ratio of a classifier", "a share of tokens for a model that chooses none",
        EXPLAIN + " --keep-ratio 0.5", nothing, refused("'--keep-ratio'", "for this model is", "--radius", "--top-k")),
    Row("query of a classifier", "a figure of detectors",
        EXPLAIN + " --figure query", nothing, refused("the figure 'query'", "stages, tokens, disturbed")),
    Row("label of a detector", "a class to follow in a model that follows objects",
        DETECTOR + " --label disc", nothing, refused("--label belongs to the figures tokens", "saliency, stages, query")),
    Row("tokens of a detector", "tokens to follow in a model that follows objects",
        DETECTOR + " --top-tokens 2", nothing, refused("--top-tokens belongs to the figures tokens")),
    Row("radius of a detector", "a radius alone, which chooses a figure that has a density",
        DETECTOR + " --radius 0.1", nothing, read("good-stages.png")),
    Row("radius of another figure", "a radius for a figure that has no density",
        DETECTOR + " --radius 0.1 --figure saliency", nothing, refused("--radius belongs to the figures stages")),
    Row("attention of a detector", "a figure of models that read maps of tokens",
        DETECTOR + " --figure attention", nothing, refused("the figure 'attention'", "saliency, stages, query")),
    Row("no such object", "an object beyond the last",
        DETECTOR + " --object 500 --threshold 0", nothing, refused("no object 500", "from 1 to")),
    Row("object of another figure", "an object for a figure that follows none",
        DETECTOR + " --object 1 --figure saliency", nothing, refused("--object belongs to the figures query")),
    Row("query of nothing", "a query to follow where nothing was found",
        DETECTOR + " --figure query --threshold 1", nothing, refused("Nothing was found", "lower the threshold")),
    Row("threshold above 1", "a threshold that no score reaches",
        DETECTOR + " --threshold 2", nothing, refused("threshold is 2")),
    Row("keep ratio above 1", "more tokens than there are",
        DETECTOR + " --keep-ratio 3 --page", nothing, refused("keep_ratio is 3", "from 0.01 to 1")),
    Row("keep ratio of a dense model", "a share of tokens for a model that updates all",
        "explain {picture} --model {dense} --out {out} --keep-ratio 0.5", nothing, refused("'--keep-ratio'", "for this model is", "--threshold")),
    Row("animation of a dense model", "an animation of a model without a control, which is one of its layers",
        "explain {picture} --model {dense} --out {out} --gif", nothing, read("good.gif")),
    Row("keep ratio of the measure", "an option of drawing for the measure",
        "explain --faithfulness --data {data} --model {model} --radius 0.1", nothing, refused("'--radius'")),
    Row("faithfulness of a detector", "the measure, which classifiers have",
        "explain --faithfulness --data {data} --model {detector}", nothing, refused("does not give one score for each class")),
]  # fmt: skip
