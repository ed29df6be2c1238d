"""What goes wrong on a disk or in a process: damage is found, and the same command makes the same bytes again."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from workflow_project import ROOT, braggworks, make_project, needs_environments

from braggworks.files import sha256_of

pytestmark = [pytest.mark.slow, needs_environments]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset that the workflow has made."""
    folder = make_project(tmp_path_factory.mktemp("recovery"))
    done = braggworks(folder, "workflow", "run", "run.yaml", "--datasets")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def truncate(shard: Path, other: Path) -> None:
    with shard.open("r+b") as stream:
        stream.truncate(shard.stat().st_size * 2 // 3)


def flip(shard: Path, other: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 4
    shard.write_bytes(content)


def replace(shard: Path, other: Path) -> None:
    shutil.copy(other, shard)


@pytest.mark.parametrize("damage", [truncate, flip, replace])
def test_a_damaged_shard_is_found_and_made_again(finished: Path, damage: Callable[[Path, Path], None]) -> None:
    shards = sorted((finished / "results/campaigns/tiny/shards").glob("*.h5"))
    wanted = [sha256_of(shard) for shard in shards]
    damage(shards[1], shards[2])
    found = braggworks(finished, "scatter", "verify", "results")
    assert found.returncode == 2
    assert shards[1].name in found.stderr
    deleted = braggworks(finished, "scatter", "verify", "results", "--delete")
    assert deleted.returncode == 2
    assert "1 damaged shards of release 'tiny' are deleted: run `braggworks run` again" in deleted.stderr
    assert not shards[1].exists()
    assert braggworks(finished, "workflow", "run", "run.yaml", "--datasets").returncode == 0
    assert [sha256_of(shard) for shard in shards] == wanted
    assert braggworks(finished, "scatter", "verify", "results", "--delete").returncode == 0


def test_kills_change_no_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    from benchmarks import faults

    campaigns = {"fault-shapes": {**faults.CAMPAIGNS["fault-shapes"], "count": 4, "batch_size": 2}}
    records = {record.name: record.value for record in faults.measure(kills=2, campaigns=campaigns)}
    assert records == {"faults.kills": 2, "faults.shards_differing": 0}
