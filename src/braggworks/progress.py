"""The progress bar of a workflow run, fed with what Snakemake prints."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_RULE = re.compile(r"^(?:local)?rule (\w+):$")
_LOG = re.compile(r"^log: (\S+)")
_DONE = re.compile(r"^(\d+) of (\d+) steps \(.*%\) done$")
_TAIL_BYTES = 400


class WorkflowProgress:
    """A bar of finished jobs that also shows the last words of the job that started last.

    Parameters
    ----------
    jobs
        Number of jobs that are to be done.
    """

    def __init__(self, jobs: int) -> None:
        from tqdm import tqdm

        on_terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=jobs,
            unit="job",
            mininterval=0.2 if on_terminal else 30,
            dynamic_ncols=on_terminal,
            bar_format="{percentage:3.0f}%|{bar:20}| {n}/{total} jobs [{elapsed}] {desc}",
        )
        self._jobs = jobs
        self._rule = ""
        self._log: Path | None = None
        self._stop = threading.Event()
        self._ticker = threading.Thread(target=self._tick, args=(1.0 if on_terminal else 30.0,), daemon=True)

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._ticker.join()
        self._bar.set_description_str("", refresh=False)
        self._bar.close()

    def read(self, line: str) -> None:
        """Take one line of Snakemake's output."""
        line = line.strip()
        if match := _RULE.match(line):
            self._rule, self._log = match[1], None
        elif match := _LOG.match(line):
            self._log = Path(match[1])
        elif match := _DONE.match(line):
            # The target rule counts as a step in Snakemake's own numbers.
            self._bar.update(min(int(match[1]), self._jobs) - self._bar.n)

    def _tick(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            self._bar.set_description_str(f"{self._rule} {_last_words(self._log)}".strip(), refresh=True)


def _last_words(log: Path | None) -> str:
    try:
        text = log.read_bytes()[-_TAIL_BYTES:].decode("utf-8", "replace") if log else ""
    except OSError:
        return ""
    parts = [part.strip() for part in re.split(r"[\r\n]", text) if part.strip()]
    return parts[-1][:100] if parts else ""
