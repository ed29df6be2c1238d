"""What goes wrong on a disk or in a process: damage is found, and the same command makes the same bytes again."""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from workflow_project import ROOT, braggworks, make_project, needs_environments

from braggworks.cli import main
from braggworks.errors import FileError
from braggworks.files import atomic_path, sha256_of, write_text
from braggworks.preflight.results import folder_identity, watch_results
from braggworks.runlock import hold_run_lock


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


@pytest.mark.slow
@needs_environments
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


@pytest.mark.slow
@needs_environments
def test_a_damaged_manifest_is_found_and_made_again(finished: Path) -> None:
    manifest = finished / "results/releases/tiny/manifest.json"
    wanted = manifest.read_bytes()
    text = wanted.decode()
    environment = json.loads(text)["campaigns"][0]["provenance"][0]["environment"]
    for damage in (wanted[: len(wanted) // 2], text.replace(environment, environment[::-1]).encode()):
        manifest.write_bytes(damage)
        assert braggworks(finished, "scatter", "verify", "results").returncode == 2
        deleted = braggworks(finished, "scatter", "verify", "results", "--delete")
        assert "the damaged manifest results/releases/tiny/manifest.json" in deleted.stderr
        assert not manifest.exists()
        assert braggworks(finished, "workflow", "run", "run.yaml", "--datasets").returncode == 0
        assert manifest.read_bytes() == wanted
        assert braggworks(finished, "scatter", "verify", "results", "--delete").returncode == 0


def test_what_a_killed_process_left_is_removed_by_the_next_writer(tmp_path: Path) -> None:
    final = tmp_path / "batch.h5"
    script = f"""
import os
from braggworks.files import atomic_path
with atomic_path({str(final)!r}) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 1
    assert left[0].endswith(".part")
    others = [tmp_path / f".batch.h5.elsewhere.{os.getpid()}.part", tmp_path / f".batch.h5.{platform.node()}.1.part"]
    for other in others:
        other.write_bytes(b"of a process that lives")
    write_text(final, "whole")
    assert sorted(tmp_path.iterdir()) == sorted([final, *others])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "is full: free some space and run the same command again"),
        (errno.EROFS, "cannot be written .* make it writable and run the same command again"),
        (errno.EACCES, "cannot be written"),
        (errno.ESTALE, "went away: mount it again and run the same command again"),
        (errno.EIO, "went away"),
    ],
)
def test_a_failing_disk_is_told_with_the_way_back(tmp_path: Path, code: int, words: str) -> None:
    with pytest.raises(FileError, match=words), atomic_path(tmp_path / "x"):
        raise OSError(code, os.strerror(code))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_vanishes_while_a_file_is_written_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    with pytest.raises(FileError, match="went away"), atomic_path(folder / "x") as temporary:
        temporary.write_text("whole")
        shutil.rmtree(folder)


def test_too_little_memory_and_a_full_disk_are_sentences(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for error, words in (
        (MemoryError(), "there is not enough memory"),
        (OSError(errno.ENOSPC, "No space left on device", "results/x"), "The disk that holds results is full"),
    ):

        def fail(*_: object, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr("braggworks.commands.verify.run", fail)
        assert main(["verify", "results"]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert len(said.strip().splitlines()) == 1


def test_a_run_is_told_when_its_results_go_away(tmp_path: Path) -> None:
    lock = tmp_path / "results" / ".run-lock"
    with hold_run_lock(lock) as held, watch_results(lock, held.descriptor):
        pass
    with (
        hold_run_lock(lock) as held,
        pytest.raises(FileError, match="went away while the run was on"),
        watch_results(lock, held.descriptor),
    ):
        shutil.rmtree(tmp_path / "results")
        raise FileError("a job failed")


def test_a_run_is_told_when_its_results_went_away_while_it_was_planned(tmp_path: Path) -> None:
    lock = tmp_path / "results" / ".run-lock"
    assert folder_identity(lock.parent) is None
    with hold_run_lock(lock) as held, watch_results(lock, held.descriptor, folder_identity(lock.parent)):
        planned = folder_identity(lock.parent)
    lock.parent.rename(tmp_path / "away")
    with (
        hold_run_lock(lock) as held,
        pytest.raises(FileError, match="went away while the run was on"),
        watch_results(lock, held.descriptor, planned),
    ):
        raise AssertionError("the run began in another folder")


@needs_environments
def test_another_way_to_find_the_software_makes_nothing_anew(finished: Path) -> None:
    others = ["apptainer"] if (finished / ".envs" / "apptainer").exists() or shutil.which("apptainer") else []
    for profile in ("slurm", "local", *others):
        done = braggworks(
            finished,
            "workflow",
            "run",
            "run.yaml",
            "--datasets",
            "--dry-run",
            "--profile",
            f"workflow/profiles/{profile}",
        )
        assert "Nothing is to be done" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.alone
@needs_environments
def test_kills_change_no_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil")
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    from benchmarks import kills

    records = {record.name: record for record in kills.measure(kills=2, names=("fault-scan",))}
    assert {name: record.value for name, record in records.items()} == {
        "faults.kills": 2,
        "faults.shards_differing": 0,
    }
    assert "rules that ran or were hit: " in str(records["faults.kills"].source)
