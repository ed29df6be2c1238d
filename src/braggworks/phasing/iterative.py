"""Our own iterative phase retrieval, in torch: many independent starts at once, on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from braggworks.phasing import projections, support
from braggworks.phasing.likelihood import judge
from braggworks.phasing.schedule import Algorithm, Coherence, Pattern, Phased, Schedule, Start

Report = Callable[[int], object]

_GPU_BYTES_PER_VOXEL = 80  # of one start, with its transforms and the copies that a cycle makes
_GPU_SHARE = 0.7
_MOST_POWER = 10  # times the counts that an object may hold


def phase(
    pattern: Pattern,
    schedule: Schedule,
    starts: Sequence[Start],
    report: Report = lambda cycles: None,
    *,
    device: torch.device | str = "cpu",
    threads: int = 1,
) -> list[Phased]:
    """Phase a pattern from every start.

    On a GPU as many starts as fit are computed together; on a CPU one start for each thread, because one object and
    its transform fit into a core's cache and several do not. No start knows of another: results do not depend on it.

    Parameters
    ----------
    pattern
        What was measured.
    schedule
        What is done.
    starts
        Where to begin.
    report
        Called with the number of cycles since its last call.
    device
        Where to compute.
    threads
        Processor threads.

    Returns
    -------
    list
        One reconstruction for each start. Those whose support became empty or too large, or whose object is no longer
        finite, say so in `Phased.why_diverged`.
    """
    device = torch.device(device)
    run = partial(_run, pattern, schedule, report=report, device=device)
    blocks = list(_blocks(starts, _room(pattern, device)))
    if device.type != "cpu" or threads == 1 or len(blocks) == 1:
        return [each for block in blocks for each in run(block)]
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return [each for found in pool.map(run, blocks) for each in found]
    finally:
        torch.set_num_threads(before)


def _room(pattern: Pattern, device: torch.device) -> int:
    """Return how many starts to compute together."""
    if device.type != "cuda":
        return 1
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, int(_GPU_SHARE * free / (_GPU_BYTES_PER_VOXEL * pattern.counts.size)))


def _blocks(starts: Sequence[Start], size: int) -> Iterator[Sequence[Start]]:
    for first in range(0, len(starts), size):
        yield starts[first : first + size]


@torch.inference_mode()
def _run(
    pattern: Pattern, schedule: Schedule, starts: Sequence[Start], report: Report, device: torch.device
) -> list[Phased]:
    moduli = projections.Moduli(pattern, device)
    found = _stacked([start.found for start in starts], device)
    inside = _stacked([start.support for start in starts], device)
    thresholds = torch.tensor([start.threshold for start in starts], device=device)
    kernel = projections.Kernel(schedule.coherence, tuple(found.shape), device) if schedule.coherence else None
    given_up = [""] * len(starts)
    done = 0
    for step in schedule.steps:
        outside = _outside(step.algorithm, schedule.beta)
        for first in range(0, step.cycles, schedule.support.period):
            number = min(schedule.support.period, step.cycles - first)
            where = inside
            if step.algorithm == "DETWIN":
                where = support.half(inside, [start.halved for start in starts])
            weight = where.to(torch.complex64)
            for index in range(number):
                blurred, refined = _coherence(schedule.coherence, done + index)
                kept = kernel if blurred else None
                found = projections.cycle(found, weight, outside, moduli, kernel=kept, refine=refined)
            done += number
            report(number * len(starts))
            if step.algorithm != "DETWIN":
                new = support.update(found, inside, thresholds, schedule.support, done)
                inside = _usable(found, inside, new, schedule.support.largest, given_up)
    blurred, _ = _coherence(schedule.coherence, done - 1)
    return _results(pattern, found, inside, kernel if blurred else None, given_up)


def _coherence(coherence: Coherence | None, cycle: int) -> tuple[bool, bool]:
    """Return whether coherence is partial in a cycle, and whether its kernel is refined."""
    since = cycle - coherence.begin if coherence else -1
    return since >= 0, bool(coherence and since >= 0 and since % coherence.period == 0)


def _outside(algorithm: Algorithm, beta: float) -> projections.Outside:
    if algorithm == "ER":
        return projections.error_reduction()
    if algorithm == "RAAR":
        return projections.averaged_reflections(beta)
    return projections.hybrid_input_output(beta)


def _usable(found: Tensor, inside: Tensor, new: Tensor, largest: float, given_up: list[str]) -> Tensor:
    """Return the new supports; a run whose support or object is of no use keeps what it had, and says why."""
    counts = new.flatten(1).sum(1).tolist()
    finite = torch.isfinite(found.flatten(1).abs().sum(1)).tolist()
    volume = new[0].numel()
    for index, (count, is_finite) in enumerate(zip(counts, finite, strict=True)):
        if not is_finite:
            given_up[index] = given_up[index] or "its object is not finite"
        elif count == 0:
            given_up[index] = given_up[index] or "its support became empty"
        elif count > largest * volume:
            given_up[index] = given_up[index] or f"its support grew to {count / volume:.0%} of the array"
        if given_up[index]:
            new[index] = inside[index]
    return new


def _results(
    pattern: Pattern, found: Tensor, inside: Tensor, kernel: projections.Kernel | None, given_up: list[str]
) -> list[Phased]:
    axes = tuple(range(1, found.ndim))
    found = found * inside
    expected = torch.fft.fftn(found, dim=axes, norm="ortho").abs().square()
    if kernel is not None:
        expected = kernel.blur(expected)
    results = []
    for one, where, calculated, why in zip(found, inside, expected, given_up, strict=True):
        reason = why
        llk = llk_free = float("inf")
        if float(calculated.sum()) > _MOST_POWER * float(pattern.counts.sum()):
            reason = reason or f"its object holds more than {_MOST_POWER} times what was counted"
        if not reason:
            centred = np.fft.fftshift(calculated.cpu().numpy())
            llk, llk_free = judge(pattern.counts, pattern.mask, pattern.free, centred, int(where.sum()))
        shifted, shape = (np.fft.fftshift(each.cpu().numpy()) for each in (one, where))
        results.append(Phased(shifted, shape, llk, llk_free, reason))
    return results


def _stacked(arrays: Sequence[np.ndarray], device: torch.device) -> Tensor:
    return torch.from_numpy(np.stack([np.fft.ifftshift(each) for each in arrays])).to(device)
