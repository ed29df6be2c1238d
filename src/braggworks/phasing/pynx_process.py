"""PyNX in its own environment, from one in which it cannot be imported.

`phase` writes what `braggworks.phasing.pynx_cdi.phase` takes to a file, runs this module with the Python of
``.envs/pynx``, and reads what comes back.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from braggworks.errors import MissingToolError, PhasingError
from braggworks.phasing.schedule import Coherence, Pattern, Phased, Schedule, Start, Step, SupportRule

_MARK = "cycles done: "


def phase(
    pattern: Pattern,
    schedule: Schedule,
    starts: Sequence[Start],
    report: Callable[[int], object] = lambda cycles: None,
    device: str = "cpu",
) -> list[Phased]:
    """Phase a pattern from every start; parameters and result are those of `braggworks.phasing.pynx_cdi.phase`.

    Raises
    ------
    MissingToolError
        If PyNX's environment is missing.
    PhasingError
        If PyNX fails.
    """
    program = _program()
    with _stoppable(), tempfile.TemporaryDirectory(prefix="braggworks-") as folder:
        given, found = Path(folder, "given.npz"), Path(folder, "found.npz")
        _write(given, pattern, schedule, starts, device)
        command = [str(program), "-m", "braggworks.phasing.pynx_process", str(given), str(found)]
        with (
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
            _ended_with_us(process),
        ):
            assert process.stdout is not None  # noqa: S101
            said = []
            for line in process.stdout:
                if line.startswith(_MARK):
                    report(int(line.removeprefix(_MARK)))
                else:
                    said.append(line.strip())
        if process.returncode < 0:
            ended = signal.Signals(-process.returncode).name
            raise PhasingError(
                f"PyNX's process was ended by {ended}, often because memory ran out: run the same command again, with "
                "a smaller --crop if it happens again."
            )
        if process.returncode:
            raise PhasingError(f"PyNX failed: {next(filter(None, reversed(said)), 'it said nothing')}.")
        return _read(found, len(starts))


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end this process as an exception does, which leaves neither files nor processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@contextmanager
def _ended_with_us(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        process.kill()
        raise


def pynx_version() -> str:
    """Return the version of PyNX in its environment. Raises `MissingToolError`."""
    command = [str(_program()), "-c", "from importlib.metadata import version; print(version('PyNX'))"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _program() -> Path:
    """Return the Python that can import PyNX."""
    program = Path(sys.prefix).parent / "pynx" / "bin" / "python"
    if not program.exists():
        raise MissingToolError(f"PyNX is not installed ({program} is missing): run `make pynx`, or use another method.")
    return program


def _write(path: Path, pattern: Pattern, schedule: Schedule, starts: Sequence[Start], device: str) -> None:
    np.savez(
        path,
        counts=pattern.counts,
        mask=pattern.mask,
        free=pattern.free,
        found=np.stack([start.found for start in starts]),
        support=np.stack([start.support for start in starts]),
        threshold=np.array([start.threshold for start in starts]),
        halved=np.array([start.halved for start in starts]),
        told=json.dumps({"schedule": asdict(schedule), "device": device}),
    )


def _read(path: Path, number: int) -> list[Phased]:
    with np.load(path, allow_pickle=False) as held:
        return [
            Phased(
                held["found"][k],
                held["support"][k],
                float(held["llk"][k]),
                float(held["free_llk"][k]),
                str(held["why_diverged"][k]),
            )
            for k in range(number)
        ]


def _schedule(told: dict[str, Any]) -> Schedule:
    """Return a schedule from what `dataclasses.asdict` made of it."""
    support, coherence = told["support"], told["coherence"]
    first, last, cycles = support["smooth_px"]
    low, high = support["threshold"]
    rule = support | {"smooth_px": (first, last, cycles), "threshold": (low, high)}
    rule["expand_px"] = tuple(support["expand_px"])
    least, most = told["autocorrelation"]
    return Schedule(
        tuple(Step(*step) for step in told["steps"]),
        SupportRule(**rule),
        Coherence(**coherence) if coherence else None,
        (least, most),
        told["beta"],
    )


def _main(given: str, found: str) -> None:
    from braggworks.phasing.pynx_cdi import phase as phase_here

    with np.load(given, allow_pickle=False) as held:
        told = json.loads(str(held["told"]))
        pattern = Pattern(held["counts"], held["mask"], held["free"])
        parts = (held["found"], held["support"], held["threshold"].tolist(), held["halved"].tolist())
        starts = [Start(*each) for each in zip(*parts, strict=True)]
    runs = phase_here(
        pattern,
        _schedule(told["schedule"]),
        starts,
        lambda cycles: print(f"{_MARK}{cycles}", flush=True),  # noqa: T201 - the other process reads it
        told["device"],
    )
    names = ("found", "support", "llk", "free_llk", "why_diverged")
    arrays: dict[str, Any] = {name: np.array([getattr(run, name) for run in runs]) for name in names}
    np.savez(found, **arrays)


if __name__ == "__main__":
    _main(*sys.argv[1:])
