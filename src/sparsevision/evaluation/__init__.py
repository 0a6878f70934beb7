"""Scoring of trained weights: reports, sweeps over controls, faithfulness of explanations."""
