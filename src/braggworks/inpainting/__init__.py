"""Filling gaps: interpolations, and whole scans by a network."""
