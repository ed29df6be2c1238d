"""How long Snakemake takes to plan the published campaigns, and how many jobs they are."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from braggworks.config import load_config
from braggworks.planning import parse_job_counts
from braggworks.records import Record

CONFIG = "config/paper.yaml"
REPEATS = 3


def measure() -> Iterator[Record]:
    """Yield seconds and jobs."""
    seconds, counts = [], {}
    for _ in range(REPEATS):
        start = time.perf_counter()
        command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "host", "--configfile", CONFIG, "--cores", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - start)
        counts = parse_job_counts(done.stdout + done.stderr)
    config = load_config(CONFIG)
    particles = sum(campaign.count for campaign in config.campaigns)
    about = f"{CONFIG}: {len(config.campaigns)} campaigns, {particles} particles"
    yield Record("plan.seconds.100k", sorted(seconds)[REPEATS // 2], "s", n=REPEATS, source=about)
    yield Record("plan.jobs.100k", sum(counts.values()), "jobs", n=1, source=about)
