"""Whether the Slurm cluster that a profile names is there, and offers what the jobs ask for."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass

from braggworks.errors import MissingToolError, UserError
from braggworks.preflight.profiles import Profile
from braggworks.slurm import Request, ask, first_line

_COMMANDS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol")
# What sbatch says of a request that no waiting will help.
_HOPELESS = re.compile(r"invalid|violates|denied|not permitted", re.IGNORECASE)
# The plugin looks at its jobs at least once in this time, and must find them after they have ended.
_SECONDS_BETWEEN_LOOKS = 180


@dataclass(frozen=True)
class Node:
    """What one node offers in one partition: processor cores, megabytes, GPUs and minutes."""

    partition: str
    default: bool
    minutes: float
    cores: int
    memory: int
    gpus: int


def check_cluster(profile: Profile) -> None:
    """Raise `UserError` where a Slurm profile's commands, controller or partitions are not there."""
    if profile.executor != "slurm":
        return
    missing = [name for name in _COMMANDS if shutil.which(name) is None]
    if missing:
        raise MissingToolError(
            f"The profile {profile.folder} submits to Slurm, but {', '.join(missing)} is not on the PATH: "
            "run this on a login node of the cluster, or without --profile on this machine."
        )
    nodes = read_nodes()
    if not any(node.partition for node in nodes):
        raise UserError("Slurm's controller answers but shows no partition: ask the cluster's administrators.")
    if profile.values.get("slurm-status-command") == "squeue":
        _check_memory_of_jobs(profile)


def check_requests(profile: Profile, requests: Iterable[Request]) -> None:
    """Raise `UserError` where no node of a partition could ever run one of the planned jobs."""
    if profile.executor != "slurm":
        return
    nodes = read_nodes()
    for request in requests:
        _check_request(request, nodes, profile)
        _ask_sbatch(request, profile)


def read_nodes() -> list[Node]:
    """Return the nodes of each partition.

    Raises
    ------
    UserError
        If the controller does not answer.
    """
    result = ask("sinfo", "--Node", "--noheader", "--format=%P|%l|%c|%m|%G")
    if result.returncode:
        raise UserError(
            f"Slurm's controller does not answer (sinfo: {first_line(result.stderr)}): "
            "look with `sinfo` when it does, and run the same command again."
        )
    rows = [line.strip().split("|") for line in result.stdout.splitlines()]
    return [_node(*row) for row in rows if len(row) == 5]


def minutes_of(text: str) -> float:
    """Return the minutes of a time as Slurm writes it: days-hours:minutes:seconds, or infinite."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text.strip())
    if not match:
        return float("inf")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return days * 1440 + hours * 60 + minutes + seconds / 60


def _node(partition: str, limit: str, cores: str, memory: str, resources: str) -> Node:
    gpus = sum(int(count) for count in re.findall(r"gpu(?::[^:,()]+)*?:(\d+)(?=[,(]|$)", resources))
    return Node(
        partition=partition.rstrip("*"),
        default=partition.endswith("*"),
        minutes=minutes_of(limit),
        cores=int(cores.rstrip("+")),
        memory=int(memory.rstrip("+")),
        gpus=gpus,
    )


def _check_memory_of_jobs(profile: Profile) -> None:
    result = ask("scontrol", "show", "config")
    match = re.search(r"^MinJobAge\s*=\s*(\d+)", result.stdout, re.MULTILINE)
    if match and int(match[1]) <= _SECONDS_BETWEEN_LOOKS:
        raise UserError(
            f"This Slurm forgets jobs {match[1]} seconds after they end (MinJobAge), too soon for squeue: if it keeps "
            f"accounts (sacct), write slurm-status-command: sacct into {profile.folder}/config.yaml."
        )


def _check_request(request: Request, nodes: list[Node], profile: Profile) -> None:
    where = f"{profile.folder}/site.yaml"
    wanted = request.partitions or sorted({node.partition for node in nodes if node.default})
    known = sorted({node.partition for node in nodes})
    for name in (name for name in wanted if name not in known):
        raise UserError(f"Slurm has no partition {name!r} (it has {', '.join(known)}): correct {where}.")
    offered = [node for node in nodes if node.partition in wanted]
    if not offered:
        raise UserError(f"Slurm has no default partition: set partition in {where} to one of {', '.join(known)}.")
    place = f"partition {' or '.join(map(repr, wanted))}"
    if request.gpus and not any(node.gpus for node in offered):
        raise UserError(
            f"Rule {request.rule} asks for {request.gpus} GPUs, but {place} has none: set gpu_partition in {where}."
        )
    most = {
        "minutes": max(node.minutes for node in offered),
        "MB of memory": max(node.memory for node in offered),
        "cores": max(node.cores for node in offered),
        "GPUs": max(node.gpus for node in offered),
    }
    asked = {
        "minutes": request.minutes,
        "MB of memory": request.memory,
        "cores": request.cores,
        # Training on several nodes shares the GPUs out; one node's are the least that can be told from here.
        "GPUs": min(request.gpus, 1),
    }
    for what in (what for what in most if asked[what] > most[what]):
        option = {"minutes": "runtime", "MB of memory": "mem_mb"}.get(what)
        least = (
            f"--set-resources={request.rule}:{option}={most[what]:.0f}" if option else f"--set-threads={request.rule}=1"
        )
        raise UserError(
            f"Rule {request.rule} asks for {asked[what]:g} {what}, but {place} offers {most[what]:g}: "
            f"choose another partition in {where}, or ask for less with --snakemake={least}."
        )


def _ask_sbatch(request: Request, profile: Profile) -> None:
    """Let Slurm itself judge account, quality of service and features; nothing is submitted."""
    result = ask("sbatch", "--test-only", *request.options(), "--wrap", "true")
    said = first_line(result.stderr)
    if result.returncode and _HOPELESS.search(result.stderr):
        raise UserError(
            f"Slurm would refuse the jobs of rule {request.rule} ({said}): correct {profile.folder}/site.yaml "
            f"(asked with sbatch {' '.join(request.options())})."
        )
