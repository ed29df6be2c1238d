"""What `braggworks phase` writes and says of its runs."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from braggworks.commands._provenance import command_provenance
from braggworks.config import PhasingConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from braggworks.commands.phase import Work
    from braggworks.phasing.schedule import Phased
    from braggworks.scans.geometry import Geometry

#: Settings that a refinement of a network's object has no use for.
FOR_RANDOM_STARTS = tuple(
    name for name in PhasingConfig.model_fields if name in {"hio", "raar", "detwin"} or name.startswith("support_")
)

_AGREED = 0.95  # correlation of moduli inside the support, below which runs found different objects
_FILLED = 1.8  # axis over object; phase retrieval needs 2
_LIKELY = 10.0  # free log-likelihood; that of the true object is about 1


def write_object(args: argparse.Namespace, config: PhasingConfig, work: Work, runs: list[Phased]) -> None:
    """Combine the best runs, write their object, and say how far they agree."""
    import numpy as np

    from braggworks.phasing.objects import centred, unwrapped, without_piston, without_ramp
    from braggworks.phasing.pynx_process import pynx_version
    from braggworks.phasing.selection import aligned, best, chance_prtf, modes, prtf
    from braggworks.scans.phased import write_phased

    kept = best(runs, config.best, config.by)
    first, support = centred(kept[0].found, kept[0].support)
    objects = aligned([first, *(each.found for each in kept[1:])])
    found, weights = modes(objects)
    flat = without_piston(without_ramp(found[0]), support)
    q, transfer = prtf(objects, work.pattern)
    agreement = _agreement(objects, np.ones_like(support))
    inside = _agreement(objects, support)
    extra: dict[str, tuple[NDArray[Any], str]] = {
        "phase": (unwrapped(flat, support).astype(np.float32), "rad"),
        "phase_uncertainty": (_phase_spread(objects, found[0], support).astype(np.float32), "rad"),
        "prtf": (transfer, "1"),
        "prtf_q": (q, "1"),
        "prtf_chance": (np.array(chance_prtf(len(objects))), "1"),
        "mode_weights": (weights, "1"),
        "pairwise_correlation": (agreement, "1"),
        "pairwise_correlation_inside": (inside, "1"),
        "free_llk": (np.array([each.free_llk for each in runs]), "1"),
        "llk": (np.array([each.llk for each in runs]), "1"),
        "kept": (np.array([next(k for k, each in enumerate(runs) if each is run) for run in kept]), "1"),
    }
    if work.geometry:
        extra |= _laboratory(flat, support, extra["phase_uncertainty"][0], work.geometry)
    more: dict[str, Any] = {"pynx": pynx_version()} if config.method == "pynx" else {}
    unused = set(FOR_RANDOM_STARTS) if config.method == "rsp+er" else set()
    more |= {"phasing": config.model_dump(mode="json", exclude=unused)}
    more |= {"schedules": [asdict(way) for way in work.schedules]}
    provenance = command_provenance(args.scan, args.weights, args.mask, **more)
    attributes = {"window": list(work.grid.start), "bins": list(work.grid.bins), "provenance": provenance}
    likelihoods = {"llk_poisson": kept[0].llk, "free_llk_poisson": kept[0].free_llk}
    write_phased(args.output, flat, support, work.scan, extra, likelihoods=likelihoods, **attributes)
    print(f"{'result':<13}free LLK {', '.join(f'{each.free_llk:.2f}' for each in kept)}")
    if len(kept) > 1:
        whole, part = agreement.min(), inside.min()
        print(f"{'agreement':<13}pairwise modulus correlation {whole:.3f}, inside the support {part:.3f}")
    _say_diverged(runs, config.best)
    _judge(kept, float(inside.min()))
    _extent(support)
    print(f"{args.output}: an object of {int(support.sum())} voxels")


def _say_diverged(runs: list[Phased], wanted: int) -> None:
    """Say how many runs were given up, and why, if any were."""
    lost = [run.why_diverged for run in runs if run.why_diverged]
    left = len(runs) - len(lost)
    if lost:
        fewer = f", so that {left} instead of {wanted} are combined" if left < wanted else ""
        print(
            f"{'note':<13}{len(lost)} of {len(runs)} runs diverged, the first because {lost[0]}{fewer}: change "
            "--support-threshold, or ask for more starts"
        )


def _judge(kept: list[Phased], inside: float) -> None:
    """Say what speaks against the result."""
    if len(kept) == 1:
        print(f"{'note':<13}one run says nothing of how far to trust it: ask for more starts")
    if inside < _AGREED:
        print(
            f"warning: the best runs agree to less than {_AGREED} inside the support: ask for more starts, then cycles"
        )
    if kept[0].free_llk > _LIKELY:
        print(
            f"warning: a free LLK of {kept[0].free_llk:.0f} is far above 1: the object does not explain the counts; "
            "ask for more cycles, or look at the background and the mask"
        )


def _extent(support: NDArray[np.bool_]) -> None:
    """Say how finely the pattern was sampled, as the object itself tells."""
    from braggworks.phasing.grids import extents

    sizes = extents(support)
    ratios = [n / size for n, size in zip(support.shape, sizes, strict=True)]
    told = ", ".join(f"{ratio:.1f}" for ratio in ratios)
    print(f"{'extent':<13}{'x'.join(map(str, sizes))} voxels, that is, oversampled {told} times along z, y, x")
    if min(ratios) < _FILLED:
        print(
            f"warning: along axis {'zyx'[ratios.index(min(ratios))]}, the object is too large for the grid: it is "
            "undersampled, or its support too loose; bin less, or raise --support-threshold"
        )


def _agreement(objects: list[NDArray[Any]], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the correlations of the moduli of all pairs; NaN for a single object, which agrees with nothing."""
    import numpy as np

    from braggworks.phasing.alignment import correlation

    pairs = [(np.abs(a[where]), np.abs(b[where])) for k, a in enumerate(objects) for b in objects[:k]]
    return np.array([correlation(*pair) for pair in pairs] or [np.nan])


def _phase_spread(objects: list[NDArray[Any]], mean: NDArray[Any], support: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the standard deviation of the phase over the objects that were combined, NaN outside the support."""
    import numpy as np

    if len(objects) < 2:
        return np.full(support.shape, np.nan)
    turns = np.stack([np.angle(each * np.conj(mean)) for each in objects])
    return np.where(support, np.sqrt((turns**2).sum(axis=0) / (len(objects) - 1)), np.nan)


def _laboratory(
    found: NDArray[Any], support: NDArray[np.bool_], spread: NDArray[Any], geometry: Geometry
) -> dict[str, tuple[NDArray[Any], str]]:
    """Return what is known of the crystal on cubes in the laboratory's frame."""
    import numpy as np

    from braggworks.phasing.objects import displacement, strain_along, unwrapped
    from braggworks.scans.geometry import orthogonal

    cubes, inside, voxel = orthogonal(found, support, geometry)
    g = float(np.linalg.norm(geometry.q))
    phase = unwrapped(cubes, inside)
    strain = strain_along(cubes, inside, geometry.q / g, g, voxel)
    # Outside there is none, and nothing of that may count.
    known = orthogonal((spread >= 0).astype(np.complex64), support, geometry)[0].real
    spread = orthogonal(np.nan_to_num(spread).astype(np.complex64), support, geometry)[0].real / np.maximum(known, 1e-6)
    volumes = {
        "phase_uncertainty": (np.where(inside & (spread > 0), spread, np.nan), "rad"),
        "modulus": (np.abs(cubes), "1"),
        "support": (inside.astype(np.int8), "1"),
        "phase": (phase, "rad"),
        "displacement": (displacement(phase, g), "angstrom"),
        "strain": (strain, "1"),
        "voxel": (np.array(voxel), "angstrom"),
        "axes": (geometry.axes(found.shape), "angstrom"),
        "q": (geometry.q, "1/angstrom"),
    }
    return {f"laboratory/{name}": (_short(values), units) for name, (values, units) in volumes.items()}


def _short(values: NDArray[Any]) -> NDArray[Any]:
    """Return volumes in single precision."""
    return values.astype("f4") if values.ndim == 3 and values.dtype.kind == "f" else values
