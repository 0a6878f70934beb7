"""Bad input of `explain`: options and figures that the model does not have, objects that there are not, controls."""

from __future__ import annotations

from rows import EXPLAIN, Row, nothing, refused

DETECTOR = "explain {image} --model {detector} --out {out}"

EXPLANATIONS = [
    Row("object of a classifier", "an object of a model that finds none",
        EXPLAIN + " --object 1", nothing, refused("--object belongs to the figures query", "stages, tokens")),
    Row("threshold of a classifier", "a threshold for a model that names classes",
        EXPLAIN + " --threshold 0.5", nothing, refused("Unknown option of this model", "'--threshold'")),
    Row("keep ratio of a classifier", "a share of tokens for a model that chooses none",
        EXPLAIN + " --keep-ratio 0.5", nothing, refused("Unknown option of this model", "'--keep-ratio'")),
    Row("query of a classifier", "a figure of detectors",
        EXPLAIN + " --figure query", nothing, refused("nothing for the figure 'query'", "stages, tokens, disturbed")),
    Row("label of a detector", "a class to follow in a model that follows objects",
        DETECTOR + " --label disc", nothing, refused("--label belongs to the figures tokens", "saliency")),
    Row("tokens of a detector", "tokens to follow in a model that follows objects",
        DETECTOR + " --top-tokens 2", nothing, refused("--top-tokens belongs to the figures tokens")),
    Row("radius of no density", "a radius for a figure without a density",
        DETECTOR + " --radius 0.1 --figure saliency", nothing, refused("--radius belongs to the figures stages")),
    Row("attention of a detector", "a figure of maps of tokens",
        DETECTOR + " --figure attention", nothing, refused("nothing for the figure 'attention'", "saliency, stages")),
    Row("figure misspelt", "a figure that there is not",
        DETECTOR + " --figure salience", nothing, refused("Unknown figure: 'salience'", "'saliency'")),
    Row("option misspelt", "an option that the model has, with another letter",
        DETECTOR + " --keep-ration 0.2", nothing, refused("'--keep-ration'", "'--keep-ratio'")),
    Row("option without a value", "a share of tokens that is not given",
        DETECTOR + " --keep-ratio", nothing, refused("--keep-ratio is given without a value")),
    Row("half an object", "a number of an object that is not whole",
        DETECTOR + " --object 1.5", nothing, refused("object is 1.5", "a whole number")),
    Row("no such object", "an object beyond the last",
        DETECTOR + " --object 500 --threshold 0", nothing, refused("Object 500", "from 1 to")),
    Row("object of another figure", "an object for a figure that follows none",
        DETECTOR + " --object 1 --figure saliency", nothing, refused("--object belongs to the figures query")),
    Row("query of nothing", "a query to follow where nothing was found",
        DETECTOR + " --figure query --threshold 1", nothing, refused("Nothing was found", "lower the threshold")),
    Row("threshold above 1", "a threshold that no score reaches",
        DETECTOR + " --threshold 2", nothing, refused("threshold is 2")),
    Row("keep ratio above 1", "more tokens than there are",
        DETECTOR + " --keep-ratio 3 --page", nothing, refused("keep_ratio is 3", "from 0.01 to 1")),
    Row("keep ratio of a dense model", "a share of tokens for a model that updates all",
        "explain {image} --model {dense} --out {out} --keep-ratio 0.5", nothing,
        refused("Unknown option of this model", "'--keep-ratio'")),
    Row("faithfulness of a detector", "the measure, which classifiers have",
        "explain --faithfulness --data {data} --model {detector}", nothing,
        refused("one score for each class", "name a classifier")),
]  # fmt: skip
