"""Train the plane network a little more, on the scan that it shall fill.

Slabs are drawn through measured voxels around the peak, never through the scan's gap. The last part of the longest axis
with room there, with 30 % of its signal, is held out: gaps cut there are filled before and after, and compared with
what was measured. Writes the weights, and with --scores and --examples the comparison, which `braggworks figure
finetune` draws.

example:
    braggworks finetune prepared.cxi --mask auto --output mine.safetensors
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

from braggworks.campaigns import MAX_GAP_PX
from braggworks.commands._outputs import check_outputs, make_folders
from braggworks.commands._provenance import command_provenance
from braggworks.commands._recipes import thread_count
from braggworks.commands.scan import add_reading_arguments, positive_int, read_usable
from braggworks.errors import ConfigError, ScanError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from braggworks.networks.plane_network import PlaneNetwork
    from braggworks.scans.scan import Scan
    from braggworks.training.checkpoints import Weights
    from braggworks.training.scan_windows import Windows
    from braggworks.training.slab_samples import ScanSlabs


@dataclass(frozen=True)
class Plan:
    """What is learned from and judged on: the counts, the slabs' widths, and where in the counts slabs may lie."""

    scan: Scan
    widths: list[int]
    learned: Windows
    judged: Windows

    def samples(self, windows: Windows, widths: list[int], number: int) -> ScanSlabs:
        """Return slabs of widths from the narrowest to the widest."""
        from braggworks.config import SlabConfig
        from braggworks.training.slab_samples import ScanSlabs

        slabs = SlabConfig(widths_px=(min(widths), max(widths)))
        return ScanSlabs(self.scan.counts, windows, slabs, number=number, batch_size=_BATCH, seed=_SEED)

    def tests(self) -> dict[int, ScanSlabs]:
        """Return held-out slabs by width."""
        return {width: self.samples(self.judged, [width], _TESTS) for width in self.widths}


@dataclass(frozen=True)
class Judged:
    """Held-out gaps of one width, log(1 + counts), shape (n, z, y, width)."""

    truth: NDArray[np.float32]
    linear: NDArray[np.float32]
    network: NDArray[np.float32]

    def scores(self, filled: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the correlation of each gap, (n,)."""
        import numpy as np

        from braggworks.evaluation.metrics import pcc

        return pcc(self.truth, filled, np.ones(self.truth.shape, bool))

    def mean(self, filled: NDArray[np.float32]) -> float | None:
        """Return the mean of the correlations that are defined, None if none is, as where nothing was counted."""
        import numpy as np

        scores = self.scores(filled)
        return None if np.isnan(scores).all() else float(np.nanmean(scores))


HELD_OUT = 0.3
"""Share of the scan's signal on which the result is judged: the far end of one axis."""

CROP = 128
"""Voxels per axis around the peak that are looked at: farther out, hardly a count tells a filling from another."""

_BATCH = 8
_TESTS = 96
_EXAMPLES = 3
_SEED = 0
_SECONDS = 0.075  # of one core for a slab of training in a window of 48 px, measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    add_reading_arguments(parser)
    parser.add_argument("--weights", metavar="SAFETENSORS", help="to start from (those of the package)")
    parser.add_argument("--output", "--out", required=True, metavar="SAFETENSORS", help="weights to write")
    parser.add_argument("--examples", metavar="H5", help="some held-out gaps before and after to write, for the figure")
    parser.add_argument("--scores", metavar="JSON", help="accuracy before and after to write")
    parser.add_argument(
        "--widths", type=positive_int, nargs="+", metavar="PX", help="gap widths (the gap's, or 3 6 12)"
    )
    parser.add_argument("--windows", type=positive_int, default=6400, metavar="N", help="slabs per epoch (6400)")
    parser.add_argument("--epochs", type=positive_int, default=5, metavar="N", help="epochs (5)")
    parser.add_argument("--learning-rate", type=_learning_rate, default=1e-4, metavar="R", help="of Adam (1e-4)")
    parser.add_argument("--threads", type=thread_count, default=1, metavar="N", help="processor threads (1)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")


def run(args: argparse.Namespace) -> None:
    """Train, compare, and write the weights."""
    import torch

    check_outputs(args.output, args.examples, args.scores)
    torch.set_num_threads(args.threads)
    network, weights = _load(args)
    plan = _plan(read_usable(args), args.widths)
    _announce(plan, args)
    if args.dry_run:
        return
    make_folders(args.output, args.examples, args.scores)
    made_by = command_provenance(args.scan, args.weights, args.mask)
    before = _score(network, plan.tests())
    _train(network, plan, args)
    after = _score(network, plan.tests())
    _write(args, replace(weights, tensors=network.state_dict(), provenance=made_by), plan, before, after)
    print(f"{args.output}: weights of {_many(args.epochs, 'epoch')} on {plan.scan.source}")


def _learning_rate(text: str) -> float:
    """Return a learning rate that `TrainingConfig` takes."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no learning rate: use a number above 0 and at most 1")
    return value


def _load(args: argparse.Namespace) -> tuple[PlaneNetwork, Weights]:
    from braggworks.inpainting.model import SHIPPED
    from braggworks.networks import GapNetwork
    from braggworks.networks.plane_network import PlaneNetwork
    from braggworks.training.checkpoints import load_network

    args.weights = args.weights or str(SHIPPED)
    network, weights = load_network(args.weights, GapNetwork)
    if not isinstance(network, PlaneNetwork):
        raise ConfigError(f"{args.weights} holds {weights.network.name}: only plane_network is trained on a scan.")
    return network, weights


def _announce(plan: Plan, args: argparse.Namespace) -> None:
    axes = ", ".join("zyx"[axis] for axis in plan.learned.normals(plan.widths[0]))
    minutes = max(1, round(args.epochs * args.windows * _SECONDS / 60))
    print(
        f"{plan.scan.source}: gaps of {', '.join(map(str, plan.widths))} px normal to {axes}, in windows of "
        f"{plan.learned.edge} px, {_many(args.epochs, 'epoch')} of {_many(args.windows, 'slab')}; {HELD_OUT:.0%} of "
        f"the signal are held out; training takes about {_many(minutes, 'minute')} on one core"
    )


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def _plan(whole: Scan, asked: list[int] | None) -> Plan:
    """Return what is done with a scan. Raises `ScanError` if a slab has no room."""
    scan = _around_peak(whole)
    widths = sorted(set(asked or _gap_widths(whole) or (3, 6, 12)))
    if widths[-1] > MAX_GAP_PX:
        raise ScanError(f"Gaps of {widths[-1]} px are too wide to train on: give --widths of at most {MAX_GAP_PX}.")
    plan = Plan(scan, widths, *_split(scan, widths[-1]))
    for part, windows in (("training", plan.learned), ("held-out", plan.judged)):
        if windows.widest < widths[-1]:
            _refuse(plan, part)
    return plan


def _refuse(plan: Plan, part: str) -> NoReturn:
    """Raise `ScanError` for a part without room for the widest slab."""
    from braggworks.networks.plane_network import PLANES

    widest = min(plan.learned.widest, plan.judged.widest)
    what = f"give --widths of at most {widest}" if widest else "train on a larger scan, or use the weights as they are"
    raise ScanError(
        f"{plan.scan.source} has no measured window in its {part} part for a slab of {plan.widths[-1]} px with "
        f"{PLANES} planes on either side: {what}."
    )


def _around_peak(scan: Scan) -> Scan:
    from braggworks.scans.prepare import crop, crop_window, find_peak

    start, extent, _ = crop_window(scan.counts.shape, find_peak(scan.counts, scan.mask).position, CROP)
    return crop(scan, start, extent)


def _gap_widths(scan: Scan) -> list[int]:
    from braggworks.inpainting.slabs import find_slabs

    return [slab.width for slab in find_slabs(scan.gap)]


def _split(scan: Scan, width: int) -> tuple[Windows, Windows]:
    """Return the windows to learn from and those to judge by, for slabs up to a width."""
    from braggworks.inpainting.slabs import find_slabs

    normals = tuple(sorted({slab.axis for slab in find_slabs(scan.gap)})) or (1, 2)
    cuts = [_cut(scan, axis, normals, width) for axis in range(3)]

    def rank(axis: int) -> tuple[int, ...]:
        room = min(width, *(windows.widest for windows in cuts[axis]))
        # A cut along a gap's own normal may leave a part in which no such slab fits.
        return room, scan.counts.shape[axis], axis not in normals, min(windows.number(width) for windows in cuts[axis])

    return cuts[max(range(3), key=rank)]


def _cut(scan: Scan, axis: int, normals: tuple[int, ...], width: int) -> tuple[Windows, Windows]:
    """Return the windows of the parts before and after a cut of one axis."""
    import numpy as np

    from braggworks.training.scan_windows import find_windows

    # By signal and not by length, because beyond the pattern there is nothing to judge by.
    signal = np.cumsum(np.moveaxis(np.log1p(np.where(scan.gap, 0, scan.counts)), axis, 0).sum(axis=(1, 2)))
    last = round(len(signal) * (1 - HELD_OUT))
    cut = min(int(np.searchsorted(signal, (1 - HELD_OUT) * signal[-1])), last)
    learned, judged = scan.gap.copy(), scan.gap.copy()
    np.moveaxis(learned, axis, 0)[cut:] = True
    np.moveaxis(judged, axis, 0)[:cut] = True
    return find_windows(learned, normals, width), find_windows(judged, normals, width)


def _train(network: PlaneNetwork, plan: Plan, args: argparse.Namespace) -> None:
    import torch
    from tqdm import tqdm

    from braggworks.config import LossConfig, NetworkConfig, SlabConfig, TrainingConfig
    from braggworks.training.loop import Trainer

    config = TrainingConfig(
        release="scan",
        seed=_SEED,
        network=NetworkConfig(name="plane_network"),
        slabs=SlabConfig(),
        loss=LossConfig(gap=0, ssim=0, gradient=0, relative=1),
        epochs=args.epochs,
        batch_size=_BATCH,
        learning_rate=args.learning_rate,
        schedule="cosine",
        gradient_norm=0.5,
    )
    trainer = Trainer(network, config, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    train, few = (plan.samples(plan.learned, plan.widths, number) for number in (args.windows, _BATCH))
    interval = 0.1 if sys.stderr.isatty() else 5
    with tqdm(total=args.epochs * len(train), desc="finetune", unit="slab", mininterval=interval) as bar:

        def report(number: int, loss: float) -> None:
            bar.update(number)

        # A cosine needs no validation; the loop wants one, and what is held out stays so.
        trainer.fit(train, few, save=lambda: None, report=report)
    network.eval().cpu()


def _score(network: PlaneNetwork, tests: dict[int, ScanSlabs]) -> dict[int, Judged]:
    """Return what fills held-out gaps, by width."""
    import numpy as np
    import torch

    from braggworks.inpainting.interpolation import interpolate_batch

    found = {}
    network.eval()
    for width, samples in tests.items():
        parts: list[list[NDArray[np.float32]]] = []
        for values, truth, mask in samples.batches(
            0, np.arange(len(samples)), lambda order: np.array_split(order, len(order) // 8)
        ):
            with torch.inference_mode():
                filled = network(values, mask)[:, 0].numpy()
            gap = mask[:, 0].numpy() > 0
            linear = interpolate_batch(values[:, 0].numpy(), gap, "linear")
            inside = np.flatnonzero(gap[0, 0, 0])
            parts.append([array[..., inside] for array in (truth[:, 0].numpy(), linear, filled)])
        found[width] = Judged(*(np.concatenate(each) for each in zip(*parts, strict=True)))
    return found


def _write(
    args: argparse.Namespace, weights: Weights, plan: Plan, before: dict[int, Judged], after: dict[int, Judged]
) -> None:
    """Write the weights, print the comparison, and write it where it was asked for."""
    from braggworks.files import write_json
    from braggworks.training.checkpoints import write_weights

    write_weights(args.output, weights)
    scores = {
        "linear": {width: found.mean(found.linear) for width, found in before.items()},
        "before": {width: found.mean(found.network) for width, found in before.items()},
        "after": {width: found.mean(found.network) for width, found in after.items()},
    }
    for row, means in scores.items():
        cells = (f"{width:>5} px {'-' if mean is None else f'{mean:.4f}'}" for width, mean in means.items())
        print(f"{row:<8}" + "".join(cells))
    if args.scores:
        write_json(args.scores, {"title": plan.scan.title, "windows": _TESTS, "held_out": HELD_OUT, "pcc": scores})
    if args.examples:
        middle = plan.widths[len(plan.widths) // 2]
        _write_examples(args.examples, before[middle], after[middle])


def _write_examples(path: str, before: Judged, after: Judged) -> None:
    """Write the middle planes of a few gaps that span the range of intensities."""
    import numpy as np

    from braggworks.files import create_h5

    order = np.argsort(before.truth.mean(axis=(1, 2, 3)), kind="stable")
    # Of the brightest sixth: elsewhere in a scan there is hardly a count.
    chosen = order[np.linspace(5 * len(order) // 6, len(order) - 1, _EXAMPLES).round().astype(int)]
    fillings = {"linear": before.linear, "before": before.network, "after": after.network}
    with create_h5(path, "examples") as file:
        middle = before.truth.shape[-1] // 2
        file["truth"] = np.expm1(before.truth[chosen, :, :, middle])
        for name, filled in fillings.items():
            file[name] = np.expm1(np.maximum(filled[chosen, :, :, middle], 0))
            file[f"pcc_{name}"] = before.scores(filled)[chosen]
