"""From what Snakemake printed to one sentence that says why it stopped."""

from __future__ import annotations

import re
from pathlib import Path


def planning_error(text: str) -> str:
    """Return why Snakemake refused, from what it printed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any("LockException" in line for line in lines):
        return (
            "the folder is locked by another Snakemake: wait for it, or, if it was killed, "
            "run `.envs/workflow/bin/snakemake --unlock`."
        )
    starts = [i for i, line in enumerate(lines) if "Error" in line or "Exception" in line]
    return " ".join(lines[starts[0] :] if starts else lines[-5:])


def failure_sentence(log: Path) -> str:
    """Return why a run stopped, from its log: the failed job's own sentence where it left one."""
    lines = log.read_text(encoding="utf-8").splitlines()
    told = [line.strip() for line in lines if line.strip().startswith("braggworks ")]
    said = [line for line in told if re.match(r"braggworks [a-z-]+: ", line)]
    detail = said[-1] if said else planning_error("\n".join(lines[-60:]))
    return f"the workflow stopped. {detail} (everything it said: {log})"
