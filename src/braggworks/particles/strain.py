"""Strain: how a particle is strained (asked), and the local strain of its atoms (what remained)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggworks.campaigns import ClampedStrain, FieldKind, FieldStrain, StoppedStrain, Strain
from braggworks.particles.displacements import affine_gradient, clamped_layer
from braggworks.particles.fields import draw_field

Array = NDArray[np.float64]

# Bonds of the face-centred cubic lattice, in half edges of the cubic cell.
_BONDS = np.array([bond for bond in product((-1, 0, 1), repeat=3) if np.abs(bond).sum() == 2])
# Atoms this far from a lattice site, in half edges, belong to no perfect crystal.
_OFF_SITE = 0.01


@dataclass(frozen=True)
class Plan:
    """How one particle is strained; see `plan`.

    Attributes
    ----------
    start
        Where the minimisation starts, shape (N, 3), in angstrom; ``None`` is the perfect lattice.
    clamped
        Atoms that are held, shape (N,); ``None`` holds none.
    steps
        Most steps of the minimiser; ``None`` leaves them to the configuration.
    field
        Displacement that is added after the minimisation, shape (N, 3), in angstrom; ``None`` adds none.
    asked
        Protocol and drawn numbers, for the record.
    """

    start: Array | None
    clamped: NDArray[np.bool_] | None
    steps: int | None
    field: Array | None
    asked: dict[str, Any]


def plan(strain: Strain, positions: Array, rng: np.random.Generator, interface_normal: Array | None = None) -> Plan:
    """Draw how one particle is strained.

    Parameters
    ----------
    strain
        The protocol.
    positions
        Perfect lattice positions, shape (N, 3), columns (x, y, z), in angstrom.
    rng
        Gives the homogeneous strain, the number of steps, or the field and its kind.
    interface_normal
        As in `displacements.clamped_layer`.

    Notes
    -----
    A homogeneous strain E moves the atoms by E (r - c), with c the centroid of all atoms. Under the protocol
    ``clamped``, c is the centroid of the held layer, and the layer follows a strained substrate: it takes only the
    in-plane part P E P, with P = 1 - n n^T for the interface normal n, and keeps its spacing along n.
    """
    if isinstance(strain, FieldStrain):
        kind = strain.kinds[int(rng.integers(len(strain.kinds)))]
        ranges = rng.uniform(*strain.displacement, size=3)
        asked = {"protocol": "field", "kind": kind, "ranges": ranges.tolist()}
        return Plan(None, None, None, smooth_field(positions, kind, ranges, rng), asked)
    tensor = random_strain(strain.prestrain, rng)
    asked = {"protocol": strain.protocol, "prestrain": tensor.tolist()}
    if isinstance(strain, ClampedStrain):
        held = clamped_layer(positions, strain.thickness, interface_normal)
        start = _strained_on_substrate(positions, tensor, held, interface_normal) if tensor.any() else None
        return Plan(start, held, None, None, asked)
    start = _strained(positions, tensor, positions.mean(axis=0)) if tensor.any() else None
    if isinstance(strain, StoppedStrain):
        steps = log_uniform_integer(*strain.steps, rng)
        return Plan(start, None, steps, None, {**asked, "steps": steps})
    return Plan(start, None, None, None, asked)


def random_strain(largest: float, rng: np.random.Generator) -> Array:
    """Return a random symmetric strain tensor, shape (3, 3), each of its six components uniform in +-`largest`."""
    tensor = np.zeros((3, 3))
    if largest:
        rows, columns = np.triu_indices(3)
        tensor[rows, columns] = tensor[columns, rows] = rng.uniform(-largest, largest, size=6)
    return tensor


def log_uniform_integer(low: int, high: int, rng: np.random.Generator) -> int:
    """Return an integer between `low` and `high`, both included; k is drawn with probability ~ log((k + 1) / k)."""
    return min(int(np.exp(rng.uniform(np.log(low), np.log(high + 1)))), high)


def smooth_field(positions: Array, kind: FieldKind, ranges: Array, rng: np.random.Generator) -> Array:
    """Draw a smooth displacement field without homogeneous part.

    Parameters
    ----------
    positions
        Shape (N, 3), in angstrom.
    kind
        Of the field; each Cartesian component is drawn on its own.
    ranges
        Largest minus smallest value over the atoms of each component, shape (3,), in angstrom.
    rng
        Gives the field.

    Returns
    -------
    ndarray
        Displacement, shape (N, 3), in angstrom. Its least-squares affine part is zero, so that it neither moves nor
        turns the particle, nor changes its mean strain.
    """
    low, high = positions.min(axis=0), positions.max(axis=0)
    points = (positions - (low + high) / 2) / ((high - low).max() / 2)
    values = np.column_stack([draw_field(kind, rng, 3)(points) for _ in range(3)])
    values -= values.mean(axis=0)
    values -= (points - points.mean(axis=0)) @ affine_gradient(points, values).T
    spans = np.ptp(values, axis=0)
    return np.asarray(values * np.divide(ranges, spans, out=np.zeros(3), where=spans > 0))


def _strained(positions: Array, tensor: Array, centre: Array) -> Array:
    return positions + (positions - centre) @ tensor


def _strained_on_substrate(
    positions: Array, tensor: Array, held: NDArray[np.bool_], interface_normal: Array | None
) -> Array:
    normal = np.array([0.0, 0.0, -1.0]) if interface_normal is None else interface_normal
    plane = np.eye(3) - np.outer(normal, normal)
    centre = positions[held].mean(axis=0)
    start = _strained(positions, tensor, centre)
    start[held] = _strained(positions[held], plane @ tensor @ plane, centre)
    return start


# --- what remained ---


@dataclass(frozen=True)
class Statistics:
    """Displacement and strain of one particle, in the laboratory frame.

    Attributes
    ----------
    strain_mean
        Symmetric part of `affine_gradient`, shape (3, 3).
    strain_rms
        Root mean square over the atoms of each component of the local strain minus its mean over the atoms, (3, 3).
    strain_min, strain_max
        Smallest and largest local strain by component, shape (3, 3).
    strain_atoms
        Atoms whose bonds determine the local strain.
    displacement_rms, displacement_max
        Root mean square and largest length of the atoms' displacements, in angstrom.
    """

    strain_mean: Array
    strain_rms: Array
    strain_min: Array
    strain_max: Array
    strain_atoms: int
    displacement_rms: float
    displacement_max: float


def statistics(positions: Array, displacement: Array, lattice_constant: float, orientation: Array) -> Statistics:
    """Summarise a displacement field; arguments as in `local_gradient`. Raises `ValueError` as it does."""
    mean = affine_gradient(positions, displacement)
    gradient = local_gradient(positions, displacement, lattice_constant, orientation)
    gradient = gradient[np.isfinite(gradient[:, 0, 0])]
    local = (gradient + gradient.swapaxes(1, 2)) / 2
    square = np.einsum("ni,ni->n", displacement, displacement)
    return Statistics(
        strain_mean=(mean + mean.T) / 2,
        strain_rms=local.std(axis=0),
        strain_min=local.min(axis=0),
        strain_max=local.max(axis=0),
        strain_atoms=len(local),
        displacement_rms=float(np.sqrt(square.mean())),
        displacement_max=float(np.sqrt(square.max())),
    )


def local_gradient(positions: Array, displacement: Array, lattice_constant: float, orientation: Array) -> Array:
    """Return the displacement gradient at each atom, by least squares over the bonds to its nearest neighbours.

    Parameters
    ----------
    positions
        Perfect lattice positions of a face-centred cubic crystal, shape (N, 3), in angstrom.
    displacement
        Displacements u, shape (N, 3), in angstrom.
    lattice_constant
        Edge of the cubic cell, in angstrom.
    orientation
        Rotation, shape (3, 3), with laboratory = orientation @ crystal frame.

    Returns
    -------
    ndarray
        Shape (N, 3, 3), [n, i, j] = du_i/dr_j at atom n; not a number where the bonds lie in one plane.

    Raises
    ------
    ValueError
        If the positions are no sites of that lattice.

    Notes
    -----
    The gradient F minimises the sum over the bonds d of ``|F d - change of u|^2``, as in Falk and Langer, Phys. Rev. E
    57, 7192 (1998), doi:10.1103/PhysRevE.57.7192. It is exact for an affine field, and for a quadratic one at atoms
    with all twelve neighbours, where the errors of opposite bonds cancel.
    """
    half = lattice_constant / 2
    neighbours = nearest_neighbours(positions, lattice_constant, orientation)
    present = neighbours >= 0
    bonds = _BONDS @ orientation.T * half
    change = (displacement[neighbours] - displacement[:, None]) * present[..., None]
    right = np.tensordot(change, bonds, axes=(1, 0))
    metric = (present @ np.einsum("ki,kj->kij", bonds, bonds).reshape(-1, 9)).reshape(-1, 3, 3)
    # In half edges the determinant is an integer, and at least 4 where three bonds span space.
    spanned = np.linalg.det(metric) > half**6
    gradient = np.full((len(positions), 3, 3), np.nan)
    gradient[spanned] = right[spanned] @ np.linalg.inv(metric[spanned])
    return gradient


def nearest_neighbours(positions: Array, lattice_constant: float, orientation: Array) -> NDArray[np.int64]:
    """Return each atom's twelve nearest neighbours by number, shape (N, 12), -1 where one is missing.

    Parameters and errors are those of `local_gradient`. The order of the bonds is the same for all atoms.
    """
    relative = (positions - positions[0]) @ orientation / (lattice_constant / 2)
    sites = np.rint(relative).astype(np.int64)
    if np.abs(relative - sites).max() > _OFF_SITE or (sites.sum(axis=1) % 2).any():
        raise ValueError("its atoms are no sites of a face-centred cubic lattice")
    sites += 1 - sites.min(axis=0)  # one empty site all around
    shape = sites.max(axis=0) + 2
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    number = np.full(shape.prod(), -1, dtype=np.int64)
    number[sites @ strides] = np.arange(len(sites))
    return np.asarray(number[(sites @ strides)[:, None] + _BONDS @ strides])
