"""Where the voxels of a scan lie in reciprocal space, and those of its object in the laboratory.

Laboratory frame: x, y (up) and z (along the beam) are right-handed; rows of the detector run down, columns along +x.
A vector is (x, y, z). Reciprocal lengths are crystallographer's, in 1/angstrom, without 2 pi.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from braggworks.errors import ScanError
from braggworks.scans.scan import Scan

Float = NDArray[np.float64]

_EV_ANGSTROM = 12398.419843320026  # h c
_ENERGIES_EV = (1e3, 3e5)  # that diffraction is measured at
_UP, _SIDE, _BEAM = np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Diffractometer:
    """Names of a beamline's angles: the detector's two, from the inner to the outer turn, and what is rocked."""

    name: str
    in_plane: str  # turns the detector about the vertical
    out_of_plane: str  # lifts the detector
    rocked: str
    axis: tuple[float, float, float]  # that the rocked angle turns about

    @property
    def names(self) -> tuple[str, str, str]:
        """Names of the angles, what is rocked last."""
        return self.in_plane, self.out_of_plane, self.rocked


# Those whose signs were checked; others are added here.
DIFFRACTOMETERS = (Diffractometer("34-ID-C", "delta", "gamma", "theta", (0.0, 1.0, 0.0)),)


@dataclass(frozen=True, eq=False)
class Geometry:
    """How indices of a pattern become reciprocal space.

    Parameters
    ----------
    steps
        (3, 3): the change of q in 1/angstrom for one voxel along z (rocking), y and x of the array, a row each.
    q
        Scattering vector in the middle of the pattern, 1/angstrom.
    diffractometer
        Name of the convention.
    """

    steps: Float
    q: Float
    diffractometer: str

    def axes(self, shape: tuple[int, ...]) -> Float:
        """Return the edges of the object's voxels, (3, 3), a row each along z, y and x of an array, in angstrom."""
        return np.asarray(np.linalg.inv(self.steps * np.array(shape)[:, None]).T)


def what_is_missing(scan: Scan) -> str:
    """Return, in words, what a scan does not tell of its geometry; nothing where it tells all."""
    low, high = _ENERGIES_EV
    if scan.energy_ev is None:
        return "no energy"
    if not low <= scan.energy_ev <= high:
        return f"an energy of {scan.energy_ev:g} eV, which no diffraction is measured at; check its unit"
    if scan.distance_m is None or scan.pixel_m is None:
        return "no distance of the detector" if scan.distance_m is None else "no size of its pixels"
    return _missing_angle(scan, _convention(scan))


def _convention(scan: Scan) -> Diffractometer:
    """Return the diffractometer of which the scan holds most angles."""
    return max(DIFFRACTOMETERS, key=lambda each: sum(name in scan.angles for name in each.names))


def _missing_angle(scan: Scan, known: Diffractometer) -> str:
    for name in known.names:
        if name not in scan.angles:
            return f"no angle {name}"
        if not np.isfinite(scan.angles[name]).all() or not scan.angles[name].size:
            return f"no number for the angle {name}"
    values, steps = scan.angles[known.rocked].size, scan.counts.shape[0]
    return "" if values == steps else f"{values} values of the rocked angle {known.rocked} for {steps} frames"


def geometry_of(scan: Scan, peak: tuple[int, int, int] | None = None) -> Geometry | None:
    """Return the geometry of a scan; None if it does not tell all of it (`what_is_missing`).

    The detector's angles are taken for those of its middle; see `Scan.middle`.

    Parameters
    ----------
    scan
        With the angles of `DIFFRACTOMETERS`; the rocked one holds one value for each step.
    peak
        Voxel of the Bragg peak, which `Geometry.q` belongs to; the middle otherwise.

    Raises
    ------
    ScanError
        If the rocked angle does not change.
    """
    if what_is_missing(scan):
        return None
    assert scan.energy_ev is not None  # noqa: S101
    assert scan.distance_m is not None  # noqa: S101
    assert scan.pixel_m is not None  # noqa: S101
    known = _convention(scan)
    wave = scan.energy_ev / _EV_ANGSTROM
    step = float(np.mean(np.diff(scan.angles[known.rocked])))
    if step == 0:
        raise ScanError(f"{scan.source}: the angle {known.rocked} does not change over the scan: check the file.")
    turn, lift = (float(np.deg2rad(np.mean(scan.angles[name]))) for name in known.names[:2])
    detector = _turn(_UP, turn) @ _turn(_SIDE, -lift)
    frame = scan.counts.shape[1:]
    across = [size / scan.distance_m for size in scan.pixel_m]
    at = peak[1:] if peak else tuple(n // 2 for n in frame)
    offset = [(here - there) * size for here, there, size in zip(at, scan.middle(), across, strict=True)]
    outgoing = detector @ (_BEAM - offset[0] * _UP + offset[1] * _SIDE)
    q = wave * (outgoing / np.linalg.norm(outgoing) - _BEAM)
    # Turning the sample by an angle moves the measured point of its reciprocal space by the opposite one.
    rocking = -np.deg2rad(step) * np.cross(np.array(known.axis), q)
    rows = detector @ (-_UP * wave * across[0])
    columns = detector @ (_SIDE * wave * across[1])
    return Geometry(np.stack([rocking, rows, columns]), q, known.name)


def binned(geometry: Geometry, factors: tuple[int, ...]) -> Geometry:
    """Return the geometry of a pattern whose voxels are sums over `factors` along each axis."""
    return Geometry(geometry.steps * np.array(factors)[:, None], geometry.q, geometry.diffractometer)


def orthogonal(
    found: NDArray[np.complexfloating], support: NDArray[np.bool_], geometry: Geometry, margin: float = 4.0
) -> tuple[NDArray[np.complex128], NDArray[np.bool_], float]:
    """Return an object on a grid of cubes along the laboratory's axes.

    Parameters
    ----------
    found, support
        (z, y, x) object on the pattern's conjugate axes, its centre at n // 2, and true inside.
    geometry
        Of its pattern.
    margin
        Voxels left around the object.

    Returns
    -------
    object
        Axes (z: along the beam, y: up, x), linearly interpolated, its centre at n // 2.
    support
        True inside, on the same grid.
    voxel
        Edge of a voxel in angstrom: the cube root of the old voxels' volume.
    """
    axes = geometry.axes(found.shape)
    voxel = float(abs(np.linalg.det(axes)) ** (1 / 3))
    centre = np.array([n // 2 for n in found.shape])
    inside = np.argwhere(support) - centre
    reach = np.abs(inside @ axes).max(axis=0) / voxel + margin
    sizes = [2 * int(np.ceil(each)) for each in reach[::-1]]
    z, y, x = np.meshgrid(*((np.arange(n) - n // 2) * voxel for n in sizes), indexing="ij")
    index = np.stack([x, y, z], axis=-1) @ np.linalg.inv(axes) + centre
    places = np.moveaxis(index, -1, 0)
    parts = [map_coordinates(part, places, order=1) for part in (found.real, found.imag, support.astype(np.float32))]
    return parts[0] + 1j * parts[1], parts[2] > 0.5, voxel


def _turn(axis: Float, angle: float) -> Float:
    """Return the matrix that turns a vector about a unit vector by an angle in radians (Rodrigues)."""
    cross = np.cross(axis, np.eye(3)).T
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
