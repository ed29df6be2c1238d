"""Train the plane network a little more, on the scan that it shall fill.

Slabs are drawn through measured voxels around the peak, never through the scan's gap. The last part of the longest axis
there, with 30 % of its signal, is held out: gaps cut there are filled before and after, and compared with what was
measured. Writes the weights, and with --scores and --examples the comparison, which `braggworks figure finetune` draws.

example:
    braggworks finetune prepared.cxi --mask auto --output mine.safetensors
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from braggworks.commands._recipes import thread_count
from braggworks.commands.scan import add_reading_arguments, positive_int, read_usable
from braggworks.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from braggworks.networks.plane_network import PlaneNetwork
    from braggworks.scans.scan import Scan


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

    def mean(self, filled: NDArray[np.float32]) -> float:
        """Return the mean of the correlations that are defined."""
        import numpy as np

        return float(np.nanmean(self.scores(filled)))


HELD_OUT = 0.3
"""Share of the scan's signal on which the result is judged: the far end of its longest axis."""

CROP = 128
"""Voxels per axis around the peak that are looked at: farther out, hardly a count tells a filling from another."""

_BATCH = 8
_TESTS = 96
_EXAMPLES = 3
_SEED = 0


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
    parser.add_argument("--learning-rate", type=float, default=1e-4, metavar="R", help="of Adam (1e-4)")
    parser.add_argument("--threads", type=thread_count, default=1, metavar="N", help="processor threads (1)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")


def run(args: argparse.Namespace) -> None:
    """Train, compare, and write the weights."""
    import torch

    from braggworks.files import write_json
    from braggworks.inpainting.model import SHIPPED
    from braggworks.networks import GapNetwork
    from braggworks.networks.plane_network import PlaneNetwork
    from braggworks.training.checkpoints import Weights, load_network, write_weights

    torch.set_num_threads(args.threads)
    whole = read_usable(args)
    scan = _around_peak(whole)
    args.weights = args.weights or str(SHIPPED)
    network, weights = load_network(args.weights, GapNetwork)
    if not isinstance(network, PlaneNetwork):
        raise ConfigError(f"{args.weights} holds {weights.network.name}: only plane_network is trained on a scan.")
    widths = sorted(set(args.widths or _gap_widths(whole) or (3, 6, 12)))
    learned, judged, axes = _parts(scan)
    print(
        f"{scan.source}: gaps of {', '.join(map(str, widths))} px normal to {', '.join('zyx'[a] for a in axes)}, "
        f"{args.windows} slabs in each of {args.epochs} epochs; {HELD_OUT:.0%} of the signal are held out"
    )
    train, few = (_samples(scan, learned, axes, widths, number) for number in (args.windows, _BATCH))
    tests = _tests(scan, judged, axes, widths)
    if args.dry_run:
        return
    before = _score(network, tests)
    _train(network, train, few, args)
    after = _score(network, tests)
    scores = {
        "linear": {width: found.mean(found.linear) for width, found in before.items()},
        "before": {width: found.mean(found.network) for width, found in before.items()},
        "after": {width: found.mean(found.network) for width, found in after.items()},
    }
    for row, values in scores.items():
        print(f"{row:<8}" + "".join(f"{width:>5} px {value:.4f}" for width, value in values.items()))
    assert weights.widths_px  # noqa: S101
    low, high = weights.widths_px
    reach = (min(low, *widths), max(high, *widths))
    write_weights(args.output, Weights(weights.network, weights.patch, reach, network.state_dict()))
    if args.scores:
        write_json(args.scores, {"title": scan.title, "windows": _TESTS, "held_out": HELD_OUT, "pcc": scores})
    if args.examples:
        middle = widths[len(widths) // 2]
        _write_examples(args.examples, before[middle], after[middle])
    print(f"{args.output}: weights of {args.epochs} epochs on {scan.source}")


def _around_peak(scan: Scan) -> Scan:
    from braggworks.scans.prepare import crop, crop_window, find_peak

    start, extent, _ = crop_window(scan.counts.shape, find_peak(scan.counts, scan.mask).position, CROP)
    return crop(scan, start, extent)


def _gap_widths(scan: Scan) -> list[int]:
    from braggworks.inpainting.slabs import find_slabs

    return [slab.width for slab in find_slabs(scan.gap)]


def _parts(scan: Scan) -> tuple[NDArray[np.bool_], NDArray[np.bool_], tuple[int, ...]]:
    """Return what is hidden from training and from judging, and the axes that gaps are normal to."""
    import numpy as np

    from braggworks.inpainting.slabs import find_slabs

    shape = scan.counts.shape
    longest = int(np.argmax(shape))
    # By signal and not by length, because beyond the pattern there is nothing to judge by.
    others = tuple(axis for axis in range(3) if axis != longest)
    signal = np.cumsum(np.log1p(np.where(scan.gap, 0, scan.counts)).sum(axis=others))
    last = round(shape[longest] * (1 - HELD_OUT))
    cut = min(int(np.searchsorted(signal, (1 - HELD_OUT) * signal[-1])), last)
    learned, judged = scan.gap.copy(), scan.gap.copy()
    np.moveaxis(learned, longest, 0)[cut:] = True
    np.moveaxis(judged, longest, 0)[:cut] = True
    axes = tuple(sorted({slab.axis for slab in find_slabs(scan.gap)})) or (1, 2)
    return learned, judged, axes


def _samples(scan: Scan, hidden: NDArray[np.bool_], axes: tuple[int, ...], widths: list[int], number: int) -> Any:
    from braggworks.config import SlabConfig
    from braggworks.training.slab_samples import ScanSlabs

    slabs = SlabConfig(widths_px=(min(widths), max(widths)))
    return ScanSlabs(scan.counts, hidden, slabs, number=number, axes=axes, batch_size=_BATCH, seed=_SEED)


def _tests(scan: Scan, hidden: NDArray[np.bool_], axes: tuple[int, ...], widths: list[int]) -> dict[int, Any]:
    """Return held-out windows by width."""
    return {width: _samples(scan, hidden, axes, [width], _TESTS) for width in widths}


def _train(network: PlaneNetwork, samples: Any, few: Any, args: argparse.Namespace) -> None:
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
    interval = 0.1 if sys.stderr.isatty() else 5
    with tqdm(total=args.epochs * len(samples), desc="finetune", unit="slab", mininterval=interval) as bar:

        def report(number: int, loss: float) -> None:
            bar.update(number)

        # A cosine needs no validation; the loop wants one, and what is held out stays so.
        trainer.fit(samples, few, save=lambda: None, report=report)
    network.eval().cpu()


def _score(network: PlaneNetwork, tests: dict[int, Any]) -> dict[int, Judged]:
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
