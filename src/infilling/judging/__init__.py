"""Metrics, the evaluation of engines on fixed holes, and its reports."""
