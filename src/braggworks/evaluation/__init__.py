"""Metrics and sweeps."""
