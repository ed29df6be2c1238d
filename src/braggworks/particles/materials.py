"""Face-centred cubic metals: lattice, mass and surface energies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Material:
    """An element that crystallises in the face-centred cubic lattice.

    Attributes
    ----------
    symbol
        Chemical symbol.
    atomic_number
        Number of protons.
    mass
        Standard atomic weight, in g/mol.
    lattice_constant
        Edge of the cubic cell in angstrom, at the minimum of the element's "universal 3" EAM potential (Foiles, Baskes
        and Daw, Phys. Rev. B 33, 7983 (1986), doi:10.1103/PhysRevB.33.7983), so that an uncut crystal is unstrained.
    surface_energies
        Energies per area of the low-index families, in J/m^2, computed by Vitos et al., Surf. Sci. 411, 186 (1998),
        doi:10.1016/S0039-6028(98)00363-X.
    """

    symbol: str
    atomic_number: int
    mass: float
    lattice_constant: float
    surface_energies: Mapping[tuple[int, int, int], float]


def _material(symbol: str, number: int, mass: float, a: float, *energies: float) -> Material:
    families = ((1, 1, 1), (1, 0, 0), (1, 1, 0))
    return Material(symbol, number, mass, a, MappingProxyType(dict(zip(families, energies, strict=True))))


#: Every material by its chemical symbol; the last three columns are the energies of (111), (100) and (110).
MATERIALS: Mapping[str, Material] = MappingProxyType(
    {
        material.symbol: material
        for material in (
            _material("Au", 79, 196.967, 4.0800, 1.283, 1.627, 1.700),
            _material("Pt", 78, 195.084, 3.9200, 2.299, 2.734, 2.819),
            _material("Pd", 46, 106.42, 3.8900, 1.920, 2.326, 2.225),
            _material("Ni", 28, 58.693, 3.5200, 2.011, 2.426, 2.368),
            _material("Ag", 47, 107.868, 4.0900, 1.172, 1.200, 1.238),
            _material("Cu", 29, 63.546, 3.6150, 1.952, 2.166, 2.237),
        )
    }
)
