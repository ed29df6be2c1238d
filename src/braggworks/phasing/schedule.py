"""What iterative phase retrieval is told: its algorithms, how the support follows the object, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Algorithm = Literal["ER", "HIO", "RAAR", "DETWIN"]


class Step(NamedTuple):
    """Cycles of one algorithm; ``DETWIN`` is HIO inside one half of the support, which the twin does not fit."""

    algorithm: Algorithm
    cycles: int


@dataclass(frozen=True)
class SupportRule:
    """Shrink-wrap: the support is where the smoothed modulus exceeds a share of its root mean square in the support.

    Marchesini et al., Phys. Rev. B 68, 140101 (2003), 10.1103/PhysRevB.68.140101; the defaults are Masto's.

    Parameters
    ----------
    threshold
        Smallest and largest share; each start draws its own.
    smooth_px
        Standard deviation of the smoothing at the first cycle, that of the last, and the cycle from which on it is
        the last; it falls exponentially.
    period
        Cycles between updates.
    border_px
        Only voxels this near to the support's border may change; 0 for any.
    expand_px
        Voxels by which the new support grows (positive) or shrinks, one after the other.
    largest
        Share of all voxels; a support beyond it, or an empty one, has diverged.
    """

    threshold: tuple[float, float] = (0.15, 0.4)
    smooth_px: tuple[float, float, int] = (2.0, 0.5, 600)
    period: int = 50
    border_px: int = 0
    expand_px: tuple[int, ...] = ()
    largest: float = 0.5

    def width(self, cycle: int) -> float:
        """Return the standard deviation of the smoothing, in voxels, after a number of cycles."""
        first, last, cycles = self.smooth_px
        return last if cycle >= cycles else first * float(np.exp(np.log(last / first) * cycle / cycles))


@dataclass(frozen=True)
class Coherence:
    """Partial coherence: the intensity is that of the object, convolved with a kernel that starts as a pseudo-Voigt.

    The kernel is refined by Richardson-Lucy deconvolution, as in PyNX and in Clark et al., Nat. Commun. 3, 993 (2012),
    10.1038/ncomms1994. The defaults are the thesis's.

    Parameters
    ----------
    fwhm_px
        Full width at half maximum, in voxels.
    eta
        Share of the Lorentzian.
    period
        Cycles between updates.
    begin
        Cycle from which on coherence is partial; a kernel that is refined with an object far from the true one fits
        anything.
    """

    fwhm_px: float = 0.5
    eta: float = 0.1
    period: int = 100
    begin: int = 0


@dataclass(frozen=True)
class Schedule:
    """One recipe of iterative phase retrieval.

    Parameters
    ----------
    steps
        Algorithms, one after the other.
    support
        How the support follows.
    coherence
        Partial coherence; None for full coherence.
    autocorrelation
        Smallest and largest share of the autocorrelation's maximum above which a voxel is in the first support.
    beta
        Of HIO and RAAR.
    """

    steps: tuple[Step, ...]
    support: SupportRule = field(default_factory=SupportRule)
    coherence: Coherence | None = None
    autocorrelation: tuple[float, float] = (0.09, 0.11)
    beta: float = 0.9

    @property
    def cycles(self) -> int:
        """Cycles of all steps."""
        return sum(step.cycles for step in self.steps)


def standard(
    hio: int = 400, raar: int = 1000, er: int = 300, support: SupportRule | None = None, *, detwin: int = 0
) -> Schedule:
    """Return the thesis's standard run: HIO, RAAR and ER, with a support that is cleaned of its roughness.

    Parameters
    ----------
    hio, raar, er
        Cycles of each.
    support
        Other than the thesis's.
    detwin
        Cycles in half the support, after the first quarter of HIO.
    """
    steps = [Step("HIO", hio // 4), Step("DETWIN", detwin), Step("HIO", hio - hio // 4), Step("RAAR", raar)]
    steps = steps if detwin else [Step("HIO", hio), Step("RAAR", raar)]
    kept = tuple(step for step in (*steps, Step("ER", er)) if step.cycles)
    return Schedule(kept, support or SupportRule(border_px=2, expand_px=(1, -2)))


def refinement(er: int = 300, hio: int = 0) -> Schedule:
    """Return the refinement of a network's object.

    Parameters
    ----------
    er
        Cycles of ER, as in the thesis, 4.9, with a support that changes little.
    hio
        Cycles of HIO before, in which, as later, the support follows freely: our own, for objects that are far from
        the truth.
    """
    if hio:
        return Schedule((Step("HIO", hio), Step("ER", er)), SupportRule((0.3, 0.3), (2.0, 1.0, hio + er), period=25))
    return Schedule((Step("ER", er),), SupportRule((0.3, 0.3), period=30, border_px=1, expand_px=(1, -1)))


@dataclass(frozen=True, eq=False)
class Pattern:
    """What was measured.

    Parameters
    ----------
    counts
        (z, y, x), the peak near voxel n // 2; at least 0.
    mask
        True where nothing was measured: the amplitude is free.
    free
        True where the counts are kept out, so that the likelihood of the object there is unbiased
        (Favre-Nicolin et al., Sci. Rep. 10, 2664 (2020), 10.1038/s41598-020-57561-2).
    """

    counts: NDArray[np.floating[Any]]
    mask: NDArray[np.bool_]
    free: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Start:
    """Where one run begins.

    Parameters
    ----------
    found
        (z, y, x) complex object, its centre near voxel n // 2.
    support
        True inside.
    threshold
        Share of the root mean square modulus that its support keeps to.
    halved
        Axis along which ``DETWIN`` halves its support, 0 for z.
    """

    found: NDArray[np.complex64]
    support: NDArray[np.bool_]
    threshold: float
    halved: int = 0


@dataclass(frozen=True, eq=False)
class Phased:
    """A reconstruction.

    Parameters
    ----------
    found
        (z, y, x) complex object, its centre near voxel n // 2, of the scale of the counts: the sum of its squares is
        that of the intensity.
    support
        True inside.
    llk, free_llk
        Poisson log-likelihood of the counts that took part, and of those kept out; see `braggworks.phasing.likelihood`.
    why_diverged
        Empty, or why the run was given up.
    """

    found: NDArray[np.complex64]
    support: NDArray[np.bool_]
    llk: float
    free_llk: float
    why_diverged: str = ""
