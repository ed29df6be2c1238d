"""SIGKILL at random moments of a small campaign, to the workflow and to its jobs alike; the shards must not differ.

A run is started and, after a random time, either everything or one random process of its tree is killed. The same
command is given again and again until it ends well; the SHA-256 of every shard is then compared with that of a run
which nobody disturbed. Finished folders are deleted, so that kills reach every stage.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import yaml

from braggworks.config import load_config
from braggworks.files import sha256_of
from braggworks.records import Record
from braggworks.targets import release_shards

SEED = 0
KILLS = 20
CAMPAIGNS = {
    "fault-atoms": {
        "family": "atomistic",
        "count": 6,
        "batch_size": 2,
        "crystal": {"shapes": ["wulff", "random"], "atoms": [1500, 2500]},
        "diffraction": {"grid": 64, "patterns_per_particle": 2},
        "patches": {"per_pattern": 8},
    },
    "fault-shapes": {
        "family": "shape3d",
        "count": 24,
        "batch_size": 8,
        "task": "phase",
        "patches": {"size": 64, "per_pattern": 1},
    },
}


def measure(kills: int = KILLS, campaigns: dict[str, dict[str, object]] = CAMPAIGNS) -> Iterator[Record]:
    """Yield the number of kills, of workflows that they hit, and of shards that differ."""
    with tempfile.TemporaryDirectory(dir=".", prefix=".faults-") as folder:
        config = _write_config(Path(folder), campaigns)
        start = time.monotonic()
        _finish(config)
        undisturbed = time.monotonic() - start
        wanted = _hashes(config)
        chance, done, whole, differing, missing = random.Random(SEED), 0, 0, 0, 0
        while done < kills:
            shutil.rmtree(Path(folder) / "results")
            finished = False
            while not finished and done < kills:
                everything = chance.random() < 0.5
                finished = not _disturb(config, chance.uniform(0.05, 0.8) * undisturbed, everything, chance)
                done += not finished
                whole += everything and not finished
                print(f"  {done} of {kills} kills", flush=True)
            _finish(config)
            found = _hashes(config)
            differing += sum(found.get(name) not in {value, None} for name, value in wanted.items())
            missing += sum(name not in found for name in wanted)
    about = f"{len(wanted)} shards; {whole} kills of the whole process tree, {done - whole} of one process in it"
    yield Record("faults.kills", done, "kills", n=done, seed=SEED, source=about)
    yield Record("faults.shards_differing", differing + missing, "shards", n=len(wanted), seed=SEED, source=about)


def _write_config(folder: Path, campaigns: dict[str, dict[str, object]]) -> Path:
    (folder / "campaigns").mkdir()
    for name, values in campaigns.items():
        (folder / "campaigns" / f"{name}.yaml").write_text(yaml.safe_dump({"seed": SEED, **values}))
    config = folder / "faults.yaml"
    releases = [{"name": name, "campaigns": [name]} for name in campaigns]
    splits = {"validation": 0.0, "test": 0.0}
    results = os.path.relpath(folder / "results")
    config.write_text(
        yaml.safe_dump({"results": results, "campaigns": list(campaigns), "releases": releases, "splits": splits})
    )
    return config


def _command(config: Path) -> list[str]:
    return [".envs/workflow/bin/braggworks", "run", str(config), "--cores", "2", "--datasets"]


def _finish(config: Path) -> None:
    """Run to the end; one failure is allowed, of a job that was killed and left its sentence."""
    for _ in range(2):
        done = subprocess.run(_command(config), capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    raise RuntimeError(f"the run does not end after kills: {done.stdout}{done.stderr}")


def _disturb(config: Path, seconds: float, everything: bool, chance: random.Random) -> bool:
    """Start the run, kill after some seconds, and say whether the kill came before the end."""
    with subprocess.Popen(
        _command(config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        else:
            return False
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        victims = tree if everything else [chance.choice(tree)]
        for victim in victims:
            try:
                victim.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        process.wait()
        for orphan in psutil.wait_procs(tree, timeout=60)[1]:  # jobs outlive a runner that was killed alone
            orphan.kill()
    return True


def _hashes(config: Path) -> dict[str, str]:
    loaded = load_config(config)
    shards = [shard for release in loaded.releases for shard in release_shards(loaded, release.name)]
    return {shard: sha256_of(shard) for shard in shards if Path(shard).exists()}
