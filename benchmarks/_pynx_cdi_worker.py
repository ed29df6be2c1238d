"""Time cycles of PyNX's phase retrieval inside its own environment: _pynx_cdi_worker.py GIVEN.npz CYCLES STARTS."""

import sys
import time

import numpy as np

from braggworks.phasing.pynx_cdi import phase
from braggworks.phasing.schedule import Pattern, Schedule, Start, Step, SupportRule


def main() -> None:
    """Print the seconds that a number of cycles take from a number of starts, one after the other."""
    held = np.load(sys.argv[1])
    cycles, number = int(sys.argv[2]), int(sys.argv[3])
    pattern = Pattern(held["counts"], held["mask"], held["free"])
    starts = [Start(held["found"], held["support"], 0.3)] * number
    # One update of the support, at the end, as for the others.
    schedule = Schedule((Step("RAAR", cycles),), SupportRule(period=cycles))
    phase(pattern, Schedule((Step("RAAR", 1),), SupportRule(period=1)), starts[:1])
    begun = time.perf_counter()
    phase(pattern, schedule, starts)
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    main()
