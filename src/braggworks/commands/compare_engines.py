"""Compare two scattering engines on the patterns of one batch.

Differences are of complex amplitudes, without any scaling or alignment.

example:
    braggworks compare-engines --reference patterns-nufft.h5 --other patterns-pynx.h5 --output engines.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braggworks.errors import FileError

if TYPE_CHECKING:
    import h5py

_IDENTITY = ("campaign", "batch", "particles")
_GEOMETRY = ("rotation", "reflection", "ratio", "oversampling", "dq", "centre")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("--reference", metavar="H5", required=True, help="patterns of the engine compared with")
    parser.add_argument("--other", metavar="H5", required=True, help="the same patterns of another engine")
    parser.add_argument("--output", metavar="JSON", required=True, help="file to write")


def run(args: argparse.Namespace) -> None:
    """Run the verb. Raises `FileError` if the files do not hold the same patterns."""
    from braggworks.files import open_h5, write_json

    with open_h5(args.reference, "patterns") as reference, open_h5(args.other, "patterns") as other:
        where = f"{args.reference} and {args.other}"
        try:
            _check_same(reference, other, where)
            comparison = _compare(reference, other)
        except KeyError as error:
            raise FileError(f"{where} lack a part ({error.args[0]}): run `braggworks scatter` again.") from None
    write_json(args.output, comparison)


def _check_same(reference: h5py.File, other: h5py.File, where: str) -> None:
    import numpy as np

    for key in _IDENTITY:
        if (mine := reference.attrs.get(key)) != (theirs := other.attrs.get(key)):
            raise FileError(f"{where} differ in {key} ({mine} and {theirs}): give the same batch of both engines.")
    same = sorted(reference) == sorted(other) and all(
        reference[name]["amplitude"].shape == other[name]["amplitude"].shape
        and all(np.allclose(reference[name][key], other[name][key], rtol=0, atol=1e-9) for key in _GEOMETRY)
        for name in reference
    )
    if not same or not len(reference):
        raise FileError(f"{where} hold different patterns: make both from the same crystals and recipe.")


def _compare(reference: h5py.File, other: h5py.File) -> dict[str, Any]:
    import numpy as np

    rows = [
        {
            "particle": name,
            "pattern": pattern,
            "atoms": int(reference[name].attrs["atoms"]),
            **_difference(reference[name]["amplitude"][pattern], other[name]["amplitude"][pattern]),
        }
        for name in sorted(reference)
        for pattern in range(len(reference[name]["amplitude"]))
    ]
    errors = [row["error"] for row in rows]
    atoms = [row["atoms"] for row in rows]
    seconds, seconds_other = float(reference.attrs["seconds"]), float(other.attrs["seconds"])
    return {
        "kind": "engines",
        "campaign": str(reference.attrs["campaign"]),
        "batch": int(reference.attrs["batch"]),
        "patterns": len(rows),
        "grid": int(reference[rows[0]["particle"]]["amplitude"].shape[-1]),
        "atoms": [min(atoms), max(atoms)],
        "reference": str(reference.attrs["engine"]),
        "reference_version": str(reference.attrs.get("engine_version", "")),
        "reference_file": Path(reference.filename).name,
        "other": str(other.attrs["engine"]),
        "other_version": str(other.attrs.get("engine_version", "")),
        "other_file": Path(other.filename).name,
        "max_error": max(errors),
        "median_error": float(np.median(errors)),
        "max_relative_l2": max(row["relative_l2"] for row in rows),
        "min_correlation": min(row["correlation"] for row in rows),
        "worst": max(rows, key=lambda row: row["error"]),
        "threads_reference": int(reference.attrs["threads"]),
        "threads_other": int(other.attrs["threads"]),
        "seconds_reference": seconds,
        "seconds_other": seconds_other,
        "speedup": seconds_other / seconds,
        "rows": rows,
    }


def _difference(reference: Any, other: Any) -> dict[str, float]:
    """Return max |dF| / peak, the L2 norm of dF over that of F, and the modulus of the complex correlation."""
    import numpy as np

    F, G = reference.astype(np.complex128).ravel(), other.astype(np.complex128).ravel()
    norm = np.linalg.norm(F)
    return {
        "error": float(np.abs(G - F).max() / np.abs(F).max()),
        "relative_l2": float(np.linalg.norm(G - F) / norm),
        "correlation": float(np.abs(np.vdot(F, G)) / (norm * np.linalg.norm(G))),
    }
