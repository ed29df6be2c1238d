"""Time PyNX on some planes of a grid, inside PyNX's own environment: _pynx_worker.py GIVEN.npz RESULT.npz."""

import json
import os
import sys
import time

import numpy as np
from pynx.scattering import Fhkl_thread

from braggworks.diffraction import pynx as engine


def main() -> None:
    """Print seconds by path, and write the amplitudes: of each path, and of the project's engine."""
    # OpenCL on PoCL would take every core, where both engines shall have one.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    given = np.load(sys.argv[1])
    positions, centre, dq, n, planes = (given[name] for name in ("positions", "centre", "dq", "n", "planes"))
    k = np.arange(n) - n // 2
    z, y, x = np.meshgrid(planes - n // 2, k, k, indexing="ij")
    qx, qy, qz = (np.float32(centre[axis] + dq * steps) for axis, steps in enumerate((x, y, z)))
    atoms = [np.float32(column) for column in positions.T]
    seconds, found = {}, {}
    for name, options in {
        "compiled loop": {"gpu_name": "cpu", "language": "cpu", "nbCPUthread": 1},
        "OpenCL on PoCL": {"gpu_name": "", "language": "opencl", "cl_platform": "Portable"},
    }.items():
        try:
            Fhkl_thread(qx[:, :1, :8], qy[:, :1, :8], qz[:, :1, :8], *atoms, **options)  # compiles the kernel
            start = time.perf_counter()
            found[name] = Fhkl_thread(qx, qy, qz, *atoms, **options)[0]
            seconds[name] = time.perf_counter() - start
        except Exception as error:
            print(f"PyNX cannot use {name} here: {error}", file=sys.stderr)
    found["engine"] = engine.amplitude_planes(positions, centre, float(dq), int(n), planes, threads=1)
    np.savez(sys.argv[2], **found)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
