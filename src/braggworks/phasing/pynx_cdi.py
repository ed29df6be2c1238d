"""Iterative phase retrieval by PyNX (Favre-Nicolin et al., J. Appl. Cryst. 53, 1404 (2020), 10.1107/S1600576720010985).

PyNX is imported when something is phased. Partial coherence is left out, which only its GPU backend knows. Its scipy
backend, which needs no GPU, knows neither `SupportRule.border_px` nor `SupportRule.expand_px`, which it accepts and
leaves undone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braggworks.phasing.likelihood import judge
from braggworks.phasing.schedule import Pattern, Phased, Schedule, Start, Step


def phase(
    pattern: Pattern,
    schedule: Schedule,
    starts: Sequence[Start],
    report: Callable[[int], object] = lambda cycles: None,
    device: str = "cpu",
) -> list[Phased]:
    """Phase a pattern from every start, one after the other.

    Parameters
    ----------
    pattern, schedule, starts, report
        As for `braggworks.phasing.iterative.phase`.
    device
        ``cpu`` for PyNX's scipy backend, ``cuda`` for its own on a GPU. PyNX keeps the backend that a process chose
        first.

    Returns
    -------
    list
        One reconstruction for each start. Both likelihoods are computed here, as `braggworks.phasing.likelihood` says,
        because PyNX's own differs between its backends.

    Raises
    ------
    ImportError
        If PyNX is not installed.
    """
    os.environ["PYNX_PU"] = device
    from pynx import cdi as pynx

    return [_run(pynx, pattern, schedule, start, report) for start in starts]


def _run(pynx: Any, pattern: Pattern, schedule: Schedule, start: Start, report: Callable[[int], object]) -> Phased:
    cdi = pynx.CDI(
        _from_centre(pattern.counts.astype(np.float32)),
        support=_from_centre(start.support.astype(np.int8)),
        obj=_from_centre(start.found),
        mask=_from_centre(pattern.mask.astype(np.int8)),
    )
    if pattern.free.any():
        cdi.set_free_pixel_mask(_from_centre(pattern.free))
    rule, why = schedule.support, ""
    update = pynx.SupportUpdate(
        threshold_relative=start.threshold,
        smooth_width=rule.smooth_px,
        update_border_n=rule.border_px,
        post_expand=rule.expand_px or None,
        max_fraction=rule.largest,
    )
    try:
        for step in schedule.steps:
            for begun in range(0, step.cycles, rule.period):
                number = min(rule.period, step.cycles - begun)
                cdi = _algorithm(pynx, step, schedule, number, start.halved) * cdi
                report(number)
                if step.algorithm != "DETWIN":
                    cdi = update * cdi
    except (pynx.SupportTooSmall, pynx.SupportTooLarge) as error:
        why = " ".join(str(error).split())
    support = cdi.get_support(shift=True) > 0
    found = (cdi.get_obj(shift=True) * support).astype(np.complex64)
    return _judged(pattern, found, support, why)


def _algorithm(pynx: Any, step: Step, schedule: Schedule, cycles: int, axis: int) -> Any:
    if step.algorithm == "DETWIN":
        return pynx.DetwinHIO(detwin_axis=axis, nb_cycle=cycles, beta=schedule.beta)
    if step.algorithm == "ER":
        return pynx.ER() ** cycles
    return getattr(pynx, step.algorithm)(beta=schedule.beta) ** cycles


def _judged(pattern: Pattern, found: NDArray[np.complex64], support: NDArray[np.bool_], why: str) -> Phased:
    expected = np.abs(np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(found), norm="ortho"))) ** 2
    llk = free = float("inf")
    if not why:
        llk, free = judge(pattern.counts, pattern.mask, pattern.free, expected, int(support.sum()))
    return Phased(found, support, llk, free, why)


def _from_centre(values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(np.fft.ifftshift(values))
