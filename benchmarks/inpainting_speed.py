"""Filling a whole scan in one pass per slab against one window at a time, and the memory that a large scan takes.

The naive loop shows the same network windows of 32 x 32 pixels of the planes beside a slab, one by one at every offset,
and averages their predictions of log(1 + counts); the records `strideN` are of windows N px apart, `batched` in batches
of 32, which nobody would call naive. All fill a cross gap of 6 px, 12 px from the peak, in a simulated
128^3 pattern with Poisson noise. The weights are those that BRAGGWORKS_WEIGHTS names, or those of the package; one
thread of a processor each, and once more on a GPU, where torch sees one.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.inpainting import named_inpainter, simulated_patterns
from braggworks.datasets.gaps import cross_gap
from braggworks.evaluation.metrics import pcc
from braggworks.inpainting.band_limit import REACH
from braggworks.inpainting.slab_inpainter import SlabInpainter
from braggworks.inpainting.slabs import find_slabs
from braggworks.records import Record
from braggworks.seeds import generator

SEED = 0
RATIO, GAP, OFFSET, WINDOW = 4, 6, 12, 32
REPEATS = 3
# Name, distance between windows (px), and how many are shown at once.
LOOPS = (("naive", 1, 1), ("stride5", 5, 1), ("stride8", 8, 1), ("stride8_batched", 8, 32))
LARGE, LARGE_GAP = (512, 512, 256), 38


def measure() -> Iterator[Record]:
    """Yield seconds, their ratio, accuracies and memory."""
    named = named_inpainter()
    if not isinstance(named, SlabInpainter):
        raise TypeError("BRAGGWORKS_WEIGHTS must name weights of the plane network")
    inpainter = SlabInpainter(named.network, named.widths_px, "cpu")
    torch.set_num_threads(1)
    truth = generator("inpainting speed", SEED).poisson(simulated_patterns(RATIO)[0]).astype(np.float32)
    peak = np.unravel_index(int(truth.argmax()), truth.shape)
    mask = cross_gap(truth.shape, (int(peak[1]) + OFFSET, int(peak[2]) + OFFSET), GAP)
    counts = np.where(mask, np.float32(0), truth)
    windows = {}
    for name, stride, batch in LOOPS:
        begun = time.perf_counter()
        filled = _by_windows(inpainter, counts, mask, stride, batch)
        windows[name] = (filled, time.perf_counter() - begun)
    slow = windows["naive"][1]
    found, times = _repeated(inpainter, counts, mask)
    about = "128^3, cross gap of 6 px, one thread"
    for name, (_, took) in windows.items():
        yield Record(f"inpaint.scan.seconds_{name}", took, "s", n=1, source=about, seed=SEED)
    seconds = float(np.median(times))
    spread = f"{about}; {min(times):.2f} to {max(times):.2f} s in {REPEATS} runs"
    yield Record("inpaint.scan.seconds_cpu", seconds, "s", n=REPEATS, source=spread)
    yield Record("inpaint.scan.speedup", slow / seconds, "1", n=1, source=about, seed=SEED)
    for name, filled in (("", found), *((f".{name}", filled) for name, (filled, _) in windows.items())):
        score = pcc(np.log1p(truth)[None], np.log1p(filled)[None], mask[None])[0]
        yield Record(f"inpaint.scan.pcc{name}", float(score), "1", n=int(mask.sum()), source=about, seed=SEED)
    if torch.cuda.is_available():
        on_gpu = SlabInpainter(inpainter.network, inpainter.widths_px, "cuda")
        _, times = _repeated(on_gpu, counts, mask)
        spread = f"128^3, cross gap of 6 px, {torch.cuda.get_device_name()}; {min(times):.3f} to {max(times):.3f} s"
        yield Record("inpaint.scan.seconds_gpu", float(np.median(times)), "s", n=REPEATS, source=spread)
    command = [sys.executable, "-m", "benchmarks.inpainting_speed"]
    peak_mb = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    about = f"{'x'.join(map(str, LARGE))}, cross gap of {LARGE_GAP} px, largest resident memory"
    yield Record("inpaint.scan.memory", peak_mb, "MB", n=1, source=about, seed=SEED)


def _repeated(
    inpainter: SlabInpainter, counts: NDArray[np.float32], mask: NDArray[np.bool_]
) -> tuple[NDArray[np.floating], list[float]]:
    """Return the filled scan, and the seconds of each time, after one that is not timed."""
    inpainter.fill_scan(counts, mask)
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        found = inpainter.fill_scan(counts, mask).counts
        times.append(time.perf_counter() - begun)
    return found, times


def _by_windows(
    inpainter: SlabInpainter, counts: NDArray[np.float32], mask: NDArray[np.bool_], stride: int, batch: int
) -> NDArray[np.float32]:
    """Return the scan filled window by window; the crossing from both arms, filled before."""
    filled = counts.copy()
    slabs = find_slabs(mask)
    crossed = np.logical_and.reduce([_of(slab, counts.shape) for slab in slabs])
    for chosen in (mask & ~crossed, crossed):
        total, number = np.zeros(counts.shape), np.zeros(counts.shape)
        for slab in slabs:
            view, sums, sizes, wanted = (np.moveaxis(a, slab.axis, 0) for a in (filled, total, number, chosen))
            inside = slice(slab.start, slab.start + slab.width)
            boxes = [box for box in _windows(view.shape[1:], stride) if wanted[inside, *box].any()]
            for first in tqdm(range(0, len(boxes), batch), desc="windows", mininterval=10, leave=False):
                some = boxes[first : first + batch]
                planes = _predicted(inpainter, view, inside, some)
                for box, predicted in zip(some, planes, strict=True):
                    sums[inside, *box] += np.log1p(predicted)
                    sizes[inside, *box] += 1
        filled[chosen] = np.expm1(np.maximum(total[chosen] / number[chosen], 0))
    return filled


def _windows(plane: tuple[int, ...], stride: int) -> list[tuple[slice, slice]]:
    """Return windows so many pixels apart, the last ones at the plane's edge."""
    rows, columns = (sorted({*range(0, n - WINDOW, stride), n - WINDOW}) for n in plane)
    return [(slice(r, r + WINDOW), slice(c, c + WINDOW)) for r in rows for c in columns]


def _predicted(
    inpainter: SlabInpainter, view: NDArray[np.float32], inside: slice, boxes: list[tuple[slice, slice]]
) -> NDArray[np.float32]:
    """Return the slab's planes in some windows, (windows, planes, rows, columns)."""
    near = (slice(max(0, inside.start - REACH), inside.start), slice(inside.stop, inside.stop + REACH))
    before, after = (torch.from_numpy(np.stack([view[side, *box] for box in boxes])) for side in near)
    with torch.inference_mode():
        return inpainter.network.continued(before, after, inside.stop - inside.start).numpy()


def _of(slab: object, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    found = np.zeros(shape, bool)
    found[slab.where] = True  # type: ignore[attr-defined]
    return found


def main() -> None:
    """Fill a large scan, and print this process's largest resident memory in MB."""
    inpainter = named_inpainter()
    counts = generator("inpainting memory", SEED).poisson(2.0, LARGE).astype(np.uint32)
    mask = cross_gap(LARGE, (200, 100), LARGE_GAP)
    counts[mask] = 0
    inpainter.fill_scan(counts, mask)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


if __name__ == "__main__":
    main()
