"""Run benchmarks and write their records to benchmarks/results/: of datasets, scale, inpainting and phasing.

Records that are not measured again stay as they are, each with its own command, commit, machine and date.

example:
    .envs/develop/bin/python -m benchmarks scattering storage
"""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import sys
from pathlib import Path

# One thread each, so that rates are per core; must be set before numpy is imported.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

RESULTS = Path("benchmarks/results")
# Which file of results each belongs to, and what it measures.
BENCHMARKS = {
    "scattering": ("dataset", "NUFFT against PyNX and against a float64 direct sum"),
    "labels": ("dataset", "gridded labels against atomistic patterns, every shape and material"),
    "families": ("dataset", "patterns per second and core of every family, and where the time goes"),
    "storage": ("dataset", "shards against raw memory-mapped numpy; bytes per sample"),
    "planning": ("dataset", "the plan of config/paper.yaml: seconds and jobs"),
    "kills": ("dataset", "SIGKILL at random moments, and the same shards in the end"),
    "scale": ("scale", "the plan of config/paper.yaml, and the share of core time that is no stage work"),
    "containers": ("scale", "the same run in uv environments and in Apptainer images: the same bytes and numbers"),
    "faults": ("scale", "faults of many kinds at random moments, and no lost, doubled or changed sample in the end"),
    "faults.apptainer": ("scale", "the same where every job runs in its stage's image"),
    "faults.slurm": ("scale", "the same under a real Slurm of one node, with faults of its own"),
    "training": ("scale", "training in two processes against one: rates, loss differences, reading"),
    "inpainting": ("inpainting", "gaps in patches of simulated patterns, by width, oversampling ratio and noise"),
    "inpainting_scan": ("inpainting", "gaps cut into a measured scan, the network against every baseline"),
    "inpainting_strain": ("inpainting", "strain artefacts of objects whose diffraction has a gap, or a filled one"),
    "inpainting_speed": ("inpainting", "a whole scan against one window at a time, and the memory of a large scan"),
    "inpainting_masking": ("inpainting", "what phasing makes of a gap left free, taken for zeros, or filled"),
    "inpainting_finetune": ("inpainting", "what a little training on the measured scan adds on its held-out part"),
    "phasing_speed": ("phasing", "cycles of phase retrieval per second: ours, PyNX's CPU backend, bare transforms"),
    "phasing_scan": ("phasing", "the measured scan phased: agreement of runs, and of objects around a gap"),
    "phasing_scan_network": (
        "phasing",
        "the measured scan phased from the network's object, and iteratively",
    ),
    "phasing_network.losses": ("phasing", "the network for phases: its loss on strained particles"),
    "phasing_network.speedup": ("phasing", "the time that the network saves against iterative phasing"),
    "phasing_ranges": ("phasing", "the refined network against iterative phasing, over phase ranges; seven hours"),
    "phasing_steps": ("phasing", "the network on particles whose phase grows in steps"),
    "inpainting_consistency": ("inpainting", "what a last step of consistency with the autocorrelation adds"),
    "devices": ("dataset", "shape3d on the GPU against the CPU, where torch sees a GPU"),
}

# Settings of the environment that change what is measured.
SETTINGS = ("BRAGGWORKS_WEIGHTS", "BRAGGWORKS_KINDS", "BRAGGWORKS_SIDES", "BRAGGWORKS_DEVICE")

# Half an hour each, or in need of root: run where they are named.
NAMED = (
    "kills",
    "faults",
    "faults.apptainer",
    "faults.slurm",
    "inpainting",
    "inpainting_scan",
    "inpainting_strain",
    "inpainting_consistency",
    "inpainting_masking",
    "inpainting_finetune",
    "phasing_scan",
    "phasing_scan_network",
    "phasing_network.losses",
    "phasing_network.speedup",
    "phasing_ranges",
    "phasing_steps",
)


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; without one, all without an asterisk")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="of records (%(default)s)")
    parser.epilog = "\n".join(["benchmarks:", *map(_line, BENCHMARKS)])
    args = parser.parse_args()
    unknown = sorted(set(args.names) - set(BENCHMARKS))
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}: use one of {', '.join(BENCHMARKS)}")

    from braggworks.records import read_records, stamp, write_records

    for name in args.names or [name for name in BENCHMARKS if name not in NAMED]:
        file, what = BENCHMARKS[name]
        print(f"== {name}: {what}", flush=True)
        module, _, mode = name.partition(".")
        measure = importlib.import_module(f"benchmarks.{module}").measure
        settings = "".join(f"{key}={shlex.quote(os.environ[key])} " for key in SETTINGS if key in os.environ)
        command = f"{settings}python -m benchmarks {name}"
        measured = stamp(measure(mode) if mode else measure(), command)
        for record in measured:
            interval = "" if record.low is None else f" [{record.low:.4g}, {record.high:.4g}]"
            print(f"  {record.name} = {record.value:.4g}{interval} {record.unit or ''}", flush=True)
        output = args.results / f"{file}.json"
        old = read_records(output) if output.exists() else []
        # A record may have moved here from another benchmark.
        new = {record.name for record in measured}
        kept = [r for r in old if r.command != command and r.name not in new]
        write_records(output, sorted([*kept, *measured], key=lambda record: record.name))
    return 0


def _line(name: str) -> str:
    return f"{'*' if name in NAMED else ' '} {name:<22} {BENCHMARKS[name][1]}"


if __name__ == "__main__":
    sys.exit(main())
