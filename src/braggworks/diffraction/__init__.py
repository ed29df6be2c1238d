"""Scattering engines, sampling of reciprocal space, and the detector."""
