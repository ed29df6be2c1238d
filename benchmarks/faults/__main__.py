"""Inject faults and print what became of each; `python -m benchmarks faults` writes the records.

example:
    .envs/develop/bin/python -m benchmarks.faults --mode local --minutes 10 --kinds full_disk read_only
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.faults import folder_of
from benchmarks.faults.campaign import records, run
from benchmarks.faults.kinds import FAULTS
from benchmarks.faults.modes import MODES


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", choices=list(MODES), default="local", help="how jobs run (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where the project lies, and its progress")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this time; call again to go on")
    parser.add_argument("--share", type=float, default=1.0, help="share of the injections of a whole benchmark")
    parser.add_argument("--kinds", nargs="+", choices=list(FAULTS), default=list(FAULTS), metavar="KIND", help="which")
    parser.epilog = "\n".join(["kinds:", *(f"  {fault.name:<22} {fault.what}" for fault in FAULTS.values())])
    args = parser.parse_args()
    folder = args.folder or folder_of(args.mode)
    done = run(args.mode, folder, kinds=args.kinds, minutes=args.minutes, share=args.share)
    for outcome in done.outcomes:
        print(outcome)
    for record in records(args.mode, done):
        print(f"{record.name} = {record.value}  ({record.source})")
    print(f"{done.left} faults are still to be injected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
