"""What `braggworks scatter` reads and writes: particles of relaxed crystals, and groups of patterns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from braggworks.errors import FileError

if TYPE_CHECKING:
    import h5py

    from braggworks.diffraction.relaxed import RelaxedCrystal
    from braggworks.diffraction.sampling import FloatArray, View

_COPIED = ("shape", "material", "lattice_constant")
_MOST_ATOMS = 10_000_000
_AGAIN = "run `braggworks relax` again."


def check_complete(relaxed: h5py.File) -> None:
    """Check that a file holds a whole batch. Raises `FileError`."""
    complete = len(relaxed) > 0 and len(relaxed) == relaxed.attrs.get("particles") and "batch" in relaxed.attrs
    if not complete or not all(name.isdigit() for name in relaxed):
        raise FileError(f"{relaxed.filename} does not hold all its particles: delete it and {_AGAIN}")


def read_crystal(group: h5py.Group, where: str) -> RelaxedCrystal:
    """Return the crystal of a group; `where` names it in errors. Raises `FileError`."""
    import numpy as np

    from braggworks.diffraction.relaxed import relaxed_crystal

    try:
        positions, displacement = (_vectors(group[key]) for key in ("positions", "displacement"))
        orientation = np.asarray(group.attrs["orientation"], dtype=np.float64)
        lattice_constant = float({key: group.attrs[key] for key in _COPIED}["lattice_constant"])
        proper = orientation.shape == (3, 3) and np.allclose(orientation @ orientation.T, np.eye(3), atol=1e-6)
        if positions.shape != displacement.shape or not proper or not lattice_constant > 0:
            raise ValueError("it contradicts itself in shape, orientation or lattice")
        return relaxed_crystal(positions, displacement, lattice_constant, orientation)
    except KeyError as error:
        raise FileError(f"{where} lacks a part ({error.args[0]}): {_AGAIN}") from None
    except (TypeError, ValueError) as error:
        raise FileError(f"{where} cannot be used ({error}): {_AGAIN}") from None


def _vectors(dataset: h5py.Dataset) -> FloatArray:
    """Read (N, 3) finite numbers. Raises `ValueError`."""
    import numpy as np

    if dataset.ndim != 2 or dataset.shape[1] != 3 or not 2 <= len(dataset) <= _MOST_ATOMS:
        raise ValueError(f"{dataset.name} has shape {dataset.shape}, not 2 to {_MOST_ATOMS} rows of 3")
    values = np.asarray(dataset[()], dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{dataset.name} holds NaN or infinity")
    return values


def create_group(
    patterns: h5py.File, source: h5py.Group, name: str, crystal: RelaxedCrystal, views: Sequence[View]
) -> h5py.Group:
    """Create the group of a particle's patterns, complete but for the amplitudes, which are still zero.

    Parameters
    ----------
    patterns
        File of kind ``patterns``.
    source
        The particle's relaxed crystal, whose shape, material and lattice constant are copied.
    name
        Of the group.
    crystal, views
        The crystal, and the geometry of its patterns.
    """
    import numpy as np

    n = views[0].grid.n
    group = patterns.create_group(name)
    group.create_dataset(
        "amplitude", shape=(len(views), n, n, n), dtype=np.complex64, chunks=(1, n, n, n), fletcher32=True
    )
    group["rotation"] = np.stack([view.rotation for view in views])
    group["reflection"] = np.array([view.reflection for view in views], dtype=np.int32)
    group["ratio"] = np.array([view.ratio for view in views])
    group["oversampling"] = np.stack([view.oversampling for view in views])
    group["dq"] = np.array([view.grid.dq for view in views])
    group["centre"] = np.stack([view.grid.centre for view in views])
    drawn = {view.reflection for view in views}
    ranges, slopes, strains = (
        {hkl: of(hkl) for hkl in drawn} for of in (crystal.phase_range, crystal.phase_gradient, crystal.strain)
    )
    group["phase_range"] = np.array([ranges[view.reflection] for view in views])
    group["gradient"] = np.array([slopes[view.reflection] * view.grid.voxel for view in views])
    group["strain"] = np.array([strains[view.reflection] for view in views])
    group.attrs.update({key: source.attrs[key] for key in _COPIED})
    group.attrs["atoms"] = len(crystal.atoms)
    group.attrs["rejected"] = sum(view.rejected for view in views)
    group.attrs["seconds"] = 0.0
    return group
