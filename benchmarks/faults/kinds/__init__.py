"""Every kind of fault, by name."""

from __future__ import annotations

from benchmarks.faults.kinds.base import Event, Fault
from benchmarks.faults.kinds.cluster import CLUSTER
from benchmarks.faults.kinds.damage import DAMAGE
from benchmarks.faults.kinds.disks import DISKS
from benchmarks.faults.kinds.kills import KILLS
from benchmarks.faults.kinds.limits import LIMITS
from benchmarks.faults.kinds.locks import LOCKS

__all__ = ["FAULTS", "Event", "Fault"]

FAULTS: dict[str, Fault] = {fault.name: fault for fault in (*KILLS, *DISKS, *DAMAGE, *LIMITS, *LOCKS, *CLUSTER)}
