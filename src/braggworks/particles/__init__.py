"""Crystals: shapes cut from the lattice, and their relaxation."""
