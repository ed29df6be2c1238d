"""The surface of one crystal as a mesh coloured by phase, for a report in which it can be turned."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from skimage.measure import marching_cubes

from braggworks.figures.objects import SUPPORT_LEVEL, Pattern, object_from_amplitude, without_piston

MAX_FACES = 30_000


@dataclass(frozen=True)
class Surface:
    """A closed triangle mesh.

    Parameters
    ----------
    vertices
        Shape (V, 3), columns (z, y, x), in nm, from the particle's centre.
    faces
        Indices into `vertices`, shape (F, 3).
    phase
        Phase of the object at each vertex, shape (V,), in radians, zero on average over the particle.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    phase: NDArray[np.float64]


def mesh(pattern: Pattern, level: float = SUPPORT_LEVEL, max_faces: int = MAX_FACES) -> Surface:
    """Return the surface where the object's modulus falls to a fraction of its largest value.

    The object is first interpolated to twice its resolution; if the mesh then has too many faces, coarser steps follow.

    Parameters
    ----------
    pattern
        Amplitude whose inverse transform is the object.
    level
        Fraction of the largest modulus.
    max_faces
        The mesh has fewer faces than this.

    Raises
    ------
    ValueError
        If no mesh has so few faces, or no surface lies at that level.
    """
    for pad, step in ((2, 1), (1, 1), (1, 2), (1, 3), (1, 4)):
        density, voxel_nm = object_from_amplitude(pattern.amplitude, pattern.dq, pad=pad)
        density = without_piston(density, level)
        modulus = np.abs(density)
        indices, faces, _, _ = marching_cubes(  # type: ignore[no-untyped-call]
            modulus, level * float(modulus.max()), step_size=step
        )
        if len(faces) < max_faces:
            break
    else:
        raise ValueError(f"the surface has {len(faces)} faces or more, above the limit of {max_faces}")
    values = [map_coordinates(part, indices.T, order=1) for part in (density.real, density.imag)]
    phase = np.angle(values[0] + 1j * values[1])
    vertices = (indices - len(modulus) // 2) * voxel_nm
    return Surface(vertices.astype(np.float64), faces.astype(np.int64), phase)


def draw(pattern: Pattern) -> str:
    """Return the mesh of `mesh` as JSON: lengths rounded to a picometre, phases to a milliradian.

    Parameters
    ----------
    pattern
        Amplitude whose inverse transform is the object.
    """
    surface = mesh(pattern)
    record = {
        "kind": "isosurface",
        "label": pattern.label,
        "level": SUPPORT_LEVEL,
        "axes": "zyx",
        "units": {"vertices": "nm", "phase": "rad"},
        "vertices": np.round(surface.vertices, 3).tolist(),
        "faces": surface.faces.tolist(),
        "phase": np.round(surface.phase, 3).tolist(),
    }
    return json.dumps(record, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"
