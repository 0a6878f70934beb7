"""Bad input of `explain`: options and figures of the other kind of model, objects that there are not, controls."""

from __future__ import annotations

from rows import EXPLAIN, Row, nothing, refused

DETECTOR = "explain {picture} --model {detector} --out {out}"

LOOKS = [
    Row("object of a classifier", "an object of a model that finds none",
        EXPLAIN + " --object 1", nothing, refused("--object is a detector's option", "a classifier")),
    Row("threshold of a classifier", "a threshold for a model that names classes",
        EXPLAIN + " --threshold 0.5", nothing, refused("--threshold is a detector's option")),
    Row("keep ratio of a classifier", "a share of tokens for a model that chooses none",
        EXPLAIN + " --keep-ratio 0.5", nothing, refused("--keep-ratio is a detector's option")),
    Row("query of a classifier", "a figure of detectors",
        EXPLAIN + " --figure query", nothing, refused("no figure 'query'", "stages, tokens and disturbed")),
    Row("label of a detector", "a class to follow in a model that follows objects",
        DETECTOR + " --label disc", nothing, refused("--label is a SparseFormer's option", "a detector")),
    Row("tokens of a detector", "tokens to follow in a model that follows objects",
        DETECTOR + " --top-tokens 2", nothing, refused("--top-tokens is a SparseFormer's option")),
    Row("radius of a detector", "a radius for a model that has no density",
        DETECTOR + " --radius 0.1", nothing, refused("--radius is a SparseFormer's option")),
    Row("stages of a detector", "a figure of classifiers",
        DETECTOR + " --figure stages", nothing, refused("no figure 'stages'", "detections, saliency and query")),
    Row("no such object", "an object beyond the last",
        DETECTOR + " --object 500 --threshold 0", nothing, refused("no object 500", "from 1 to")),
    Row("object of another figure", "an object for a figure that follows none",
        DETECTOR + " --object 1 --figure saliency", nothing, refused("--figure saliency draws none")),
    Row("query of nothing", "a query to follow where nothing was found",
        DETECTOR + " --figure query --threshold 1", nothing, refused("Nothing was found", "lower the threshold")),
    Row("threshold above 1", "a threshold that no score reaches",
        DETECTOR + " --threshold 2", nothing, refused("threshold is 2")),
    Row("keep ratio above 1", "more tokens than there are",
        DETECTOR + " --keep-ratio 3 --page", nothing, refused("keep_ratio is 3", "from 0.01 to 1")),
    Row("keep ratio of a dense model", "a share of tokens for a model that updates all",
        "explain {picture} --model {dense} --out {out} --keep-ratio 0.5", nothing, refused("takes no keep_ratio")),
    Row("animation of a dense model", "an animation of a control that there is not",
        "explain {picture} --model {dense} --out {out} --gif", nothing, refused("--gif", "has none")),
    Row("faithfulness of a detector", "the measure, which classifiers have",
        "explain --faithfulness --data {data} --model {detector}", nothing, refused("a detector")),
]  # fmt: skip
