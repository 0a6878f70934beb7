"""Predictions for more images than one process should see: on all cores of a machine, or on a cluster of Ray."""

from sparsevision.cluster.plan import Plan, Shard, make_plan
from sparsevision.cluster.running import BatchReport, Workers, predict_all
from sparsevision.cluster.storage import lies_in

__all__ = ["BatchReport", "Plan", "Shard", "Workers", "lies_in", "make_plan", "predict_all"]
