"""Two runs in one folder, and locks that a dead one left behind."""

from __future__ import annotations

import random
import subprocess
import time
from typing import TYPE_CHECKING

from benchmarks.faults.kinds.base import (
    Event,
    Fault,
    at_random_moment,
    ended,
    is_over,
    missed,
    run_again,
    running_rules,
)
from benchmarks.faults.processes import kill, processes_in, wait_until_quiet
from benchmarks.faults.project import CONFIG, Said
from braggworks.images import settings as container_settings

if TYPE_CHECKING:
    from benchmarks.faults.site import Site


def _two_runs(site: Site, campaign: str, chance: random.Random) -> Event:
    """Start a second run; one of the two must end well, and the other must say that it came second."""
    first = at_random_moment(site, campaign, chance) if chance.random() < 0.7 else _start_now(site, campaign, chance)
    if is_over(first):
        return missed(site, first)
    rules = running_rules(site)
    done = subprocess.run(site.project.command(), cwd=site.project.folder, capture_output=True, text=True, check=False)
    event = ended(site, first, rules)
    said = [event.said, Said(done.returncode, done.stdout + done.stderr)]
    refused = [one for one in said if one is not None and one.code]
    if not refused:  # the first was over before the second planned
        return Event(rules, said[-1], hit=False)
    if len(refused) == 2:
        raise RuntimeError(f"neither of two runs ended well: {refused}")
    return Event(rules, refused[0])


def _start_now(site: Site, campaign: str, chance: random.Random) -> subprocess.Popen[str]:
    site.project.remove(campaign)
    process = site.project.start()
    time.sleep(chance.uniform(0, 0.2))
    return process


def _stale_lock(site: Site, campaign: str, chance: random.Random) -> Event:
    """Kill a plain Snakemake, of which our own lock knows nothing, and give the command of a run."""
    project = site.project
    project.remove(campaign)
    program = str(project.folder / ".envs/workflow/bin/snakemake")
    options = ["--configfile", CONFIG, "--cores", "2", "--profile", project.profile, "--", *_targets(site)]
    environment = _module_environment(site)
    with subprocess.Popen(
        [program, *options],
        cwd=project.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    ) as process:
        locks = project.folder / ".snakemake" / "locks"
        while process.poll() is None and not any(locks.glob("*")):
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 4))
        if process.poll() is not None:
            return Event((), Said(process.returncode, "a plain Snakemake"), hit=False)
        rules = running_rules(site)
        kill(processes_in(project.folder))
    wait_until_quiet(project.folder)
    return Event(rules, project.run())


def _targets(site: Site) -> list[str]:
    return [*site.project.shards, *(f"results/releases/{name}/manifest.json" for name in site.project.names)]


def _module_environment(site: Site) -> dict[str, str]:
    """Return an environment in which `module` exists, as a person's shell has it after sourcing workflow/module.sh."""
    script = 'source workflow/module.sh; export BRAGGWORKS_ENVS="$PWD/.envs"; env -0'
    done = subprocess.run(["bash", "-c", script], cwd=site.project.folder, capture_output=True, text=True, check=True)
    found = dict(line.partition("=")[::2] for line in done.stdout.split("\0") if line)
    return container_settings(found) if site.mode.name == "apptainer" else found


def _unlock_and_run(site: Site, event: Event) -> None:
    """Give the command that the sentence names, and run again."""
    program = str(site.project.folder / ".envs/workflow/bin/snakemake")
    command = [program, "--unlock", "--configfile", CONFIG, "--cores", "1"]
    subprocess.run(command, cwd=site.project.folder, capture_output=True, check=True)
    run_again(site)


LOCKS = [
    Fault("two_runs", "a second `braggworks run` beside the first", 5, _two_runs, sentence="Another run is at work"),
    Fault(
        "stale_lock",
        "a plain Snakemake was killed and left its lock, and not ours",
        4,
        _stale_lock,
        _unlock_and_run,
        sentence="--unlock",
    ),
]
