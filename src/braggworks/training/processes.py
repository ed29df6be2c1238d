"""Starting the training processes of one machine, and ending them together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from braggworks.errors import UserError
from braggworks.training.world import MEETING

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""What asks training to save its state and stop; SIGUSR1 is what Slurm is often told to send before a time limit."""

GRACE_SECONDS = 60.0
"""How long the others may go on after the first process has failed or stopped."""

_POLL_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1
_PARENT = "BRAGGWORKS_PARENT"


def run_processes(command: Sequence[str], count: int, grace: float = GRACE_SECONDS) -> int:
    """Run the same command in several processes of this machine, as torchrun does, until all have ended.

    The first process speaks for all; what another one says is shown only if that one failed first. Signals of
    `STOPPING` are passed on. If this process dies, so do they.

    Parameters
    ----------
    command
        Program and arguments; each process finds its number in the variables that torchrun uses.
    count
        Number of processes.
    grace
        Seconds between the first failure and the end of those that still run.

    Returns
    -------
    int
        0, or the exit code of the process that failed first; 128 and the signal's number after a signal.

    Raises
    ------
    UserError
        If a process was killed from outside.
    """
    with tempfile.TemporaryDirectory(prefix="braggworks-") as folder, catch_signals() as caught:
        processes = [_start(command, rank, count, Path(folder)) for rank in range(count)]
        try:
            rank = _wait(processes, caught, grace)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        code = 0 if rank is None else processes[rank].returncode
        if code < 0 and -code in caught:
            return 128 - code
        if code < 0:
            raise UserError(
                f"Process {rank} of {count} was killed by {signal.Signals(-code).name}, often because memory ran out: "
                "run the same command again to go on, with a smaller training.memory_mb or fewer processes."
            )
        if rank:
            sys.stderr.write(_said(Path(folder), rank).read_text(encoding="utf-8", errors="replace"))
        return code


@contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Yield a list that receives the signals of `STOPPING` instead of their doing harm."""
    caught: list[int] = []
    previous = {number: signal.signal(number, lambda number, frame: caught.append(number)) for number in STOPPING}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def die_with_parent() -> None:
    """Let this process end when the one that started it by `run_processes` is killed; else it would train on alone."""
    parent = os.environ.get(_PARENT)
    if parent is None:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent != str(os.getppid()):
        os.kill(os.getpid(), signal.SIGKILL)


def _start(command: Sequence[str], rank: int, count: int, folder: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(count),
        MEETING: f"file://{folder}/meeting",
        _PARENT: str(os.getpid()),
    }
    # Or gloo asks the resolver for this machine's name, which it may not know.
    environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with _said(folder, rank).open("wb") as said:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=None if rank == 0 else said,
            stderr=None if rank == 0 else said,
        )


def _wait(processes: Sequence[subprocess.Popen[bytes]], caught: Sequence[int], grace: float) -> int | None:
    """Wait until all have ended or the time after the first failure is over; return which one failed first."""
    passed, failed, until = 0, None, 0.0
    while True:
        for number in caught[passed:]:
            for process in processes:
                process.send_signal(number)
        passed = len(caught)
        codes = [process.poll() for process in processes]
        if failed is None and any(codes):
            failed = next(rank for rank, code in enumerate(codes) if code)
            until = time.monotonic() + grace
        if None not in codes or (failed is not None and time.monotonic() > until):
            return failed
        time.sleep(_POLL_SECONDS)


def _said(folder: Path, rank: int) -> Path:
    return folder / f"said-{rank}"
