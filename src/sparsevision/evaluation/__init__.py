"""Evaluation of trained models beyond their accuracy."""
