"""How many processes train together, and which of them this one is, as torchrun, srun or `processes` started them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from braggworks.errors import ConfigError

MEETING = "BRAGGWORKS_MEETING"
"""Variable that tells a process of `braggworks.training.processes` where to meet the others."""


@dataclass(frozen=True)
class World:
    """The processes that train together."""

    rank: int = 0  # of this process, from 0
    size: int = 1
    local_rank: int = 0  # among those of this machine
    local_size: int = 1
    meeting: str = ""  # address at which they find each other
    own_share: bool = False  # whether the launcher gave each process its own processors


def find_world(environment: Mapping[str, str], asked: int | None) -> World | None:
    """Return the processes that a launcher started, or ``None`` if `asked` are yet to be started here.

    Parameters
    ----------
    environment
        The process's variables.
    asked
        How many processes a person or a rule asked for; ``None`` for one, or as many as were started.

    Raises
    ------
    ConfigError
        If another number was started, or if a launcher's variables make no sense.
    """
    if asked is not None and asked < 1:
        raise ConfigError(f"--processes is {asked}: use 1 or more.")
    by, world = _started(environment)
    if world is None:
        return World() if asked in (None, 1) else None
    if asked not in (None, world.size):
        raise ConfigError(
            f"{by} started {world.size} process{'es' * (world.size > 1)} and --processes (training.processes) asks for "
            f"{asked}: give both the same number."
        )
    return world


def processor_threads(asked: int | None, world: World, usable: int, environment: Mapping[str, str]) -> int:
    """Return the number of threads of this process.

    Parameters
    ----------
    asked
        Threads of all processes of a machine together; ``None`` for all that may be used.
    world
        The processes.
    usable
        Processors that this process may use.
    environment
        The process's variables: srun says in them what each process gets, which then is its own.
    """
    if world.own_share:
        return asked or int(environment.get("SLURM_CPUS_PER_TASK") or 1)
    return max(1, (asked or usable) // world.local_size)


def _started(environment: Mapping[str, str]) -> tuple[str, World | None]:
    try:
        if "RANK" in environment and "WORLD_SIZE" in environment:
            size = int(environment["WORLD_SIZE"])
            local = int(environment.get("LOCAL_RANK", 0)), int(environment.get("LOCAL_WORLD_SIZE", size))
            by = "braggworks" if MEETING in environment else "torchrun"
            return by, _checked(World(int(environment["RANK"]), size, *local, environment.get(MEETING, "env://")))
        if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
            return "srun", _checked(_slurm_step(environment))
    except (KeyError, ValueError):
        raise ConfigError(
            "The launcher's variables (RANK and WORLD_SIZE of torchrun, SLURM_PROCID and SLURM_STEP_NUM_TASKS of srun) "
            "are no numbers that fit together: unset them, or start the processes with torchrun or srun."
        ) from None
    return "", None


def _slurm_step(environment: Mapping[str, str]) -> World:
    first = re.sub(r"\[(\d+)[^\]]*\]", r"\1", environment["SLURM_STEP_NODELIST"]).split(",")[0]
    # A port of its own for each job step, above those of services and below those of outgoing connections.
    number = int(environment["SLURM_JOB_ID"]) * 7 + int(environment.get("SLURM_STEP_ID", 0))
    host = environment.get("MASTER_ADDR", first)
    return World(
        int(environment["SLURM_PROCID"]),
        int(environment["SLURM_STEP_NUM_TASKS"]),
        int(environment.get("SLURM_LOCALID", 0)),
        _tasks_here(environment),
        f"tcp://{host}:{environment.get('MASTER_PORT', 15_000 + number % 15_000)}",
        own_share=True,
    )


def _tasks_here(environment: Mapping[str, str]) -> int:
    """Return the number of this node's tasks, from a list such as ``2(x3),1``."""
    counts: list[int] = []
    for part in environment.get("SLURM_STEP_TASKS_PER_NODE", environment["SLURM_STEP_NUM_TASKS"]).split(","):
        count, _, times = part.rstrip(")").partition("(x")
        counts += [int(count)] * min(int(times or 1), 100_000)
    return counts[int(environment.get("SLURM_NODEID", 0))] if len(counts) > 1 else counts[0]


def _checked(world: World) -> World:
    if not (0 <= world.rank < world.size and 0 <= world.local_rank < world.local_size <= world.size):
        raise ValueError
    return world
