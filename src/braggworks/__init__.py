"""braggworks: from a configuration to crystals, diffraction, datasets, networks, figures and a phased scan."""

__version__ = "0.1.0"
