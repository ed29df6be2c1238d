"""What is missing is told before anything runs, with the next step."""

from collections import namedtuple
from pathlib import Path

import pytest
from workflow_project import ROOT

from braggworks.config import load_config
from braggworks.errors import ConfigError, UserError
from braggworks.paths import run_paths
from braggworks.preflight import Profile, read_profile
from braggworks.preflight.disk import check_disk, predicted_bytes
from braggworks.preflight.gpu import check_gpu

Usage = namedtuple("Usage", "total used free")


def room(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: Usage(10**15, 0, free))


def test_prediction_is_near_what_the_pilot_measured() -> None:
    assert 300e9 < predicted_bytes(load_config(ROOT / "config/paper.yaml")) < 454e9


def test_too_little_room_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(ROOT / "config/paper.yaml")
    room(monkeypatch, 1e9)
    with pytest.raises(UserError, match=r"results/paper need \d+ GB and .* has 1 GB free: make room, point"):
        check_disk(config)
    room(monkeypatch, 1e12)
    check_disk(config)


def test_kept_patterns_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(ROOT / "config/paper.yaml").model_copy(update={"keep_patterns": True})
    room(monkeypatch, 1e12)
    with pytest.raises(UserError, match="or set keep_patterns: false"):
        check_disk(config)


def test_what_is_there_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config(ROOT / "config/demo.yaml").model_copy(update={"results": str(tmp_path / "results")})
    assert predicted_bytes(config) > 0
    for campaign in config.campaigns:
        for batch in range(campaign.batches):
            shard = Path(run_paths(config).batch_file("shards", campaign.name, batch))
            shard.parent.mkdir(parents=True, exist_ok=True)
            shard.touch()
    assert predicted_bytes(config) == 0
    room(monkeypatch, 0)
    check_disk(config)


def test_a_gpu_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braggworks.preflight.gpu._DEVICES", ("/dev/none",))
    config = load_config(ROOT / "config/families.yaml")
    local = read_profile(ROOT / "workflow/profiles/local")
    check_gpu(config, local)
    there = [c.model_copy(update={"device": "cuda"} if c.name == "small-shape3d" else {}) for c in config.campaigns]
    asked = config.model_copy(update={"campaigns": there})
    with pytest.raises(UserError, match=r"Campaign 'small-shape3d' asks for the device cuda, and this machine has no"):
        check_gpu(asked, local)
    # On a cluster the jobs run elsewhere.
    check_gpu(asked, Profile(ROOT, {"executor": "slurm"}))
    monkeypatch.setattr("braggworks.preflight.gpu._DEVICES", ("/dev/null",))
    check_gpu(asked, local)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "There is no profile"), ("executor: [", "is not valid YAML"), ("- executor", "must hold options")],
)
def test_a_profile_that_cannot_be_read_is_told(tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(ConfigError, match=sentence):
        read_profile(tmp_path)


def test_what_a_profile_asks_for(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("executor: slurm\nsoftware_deployment_method: [apptainer, env-modules]\n")
    profile = read_profile(tmp_path)
    assert (profile.executor, profile.deployment) == ("slurm", ["apptainer", "env-modules"])
    assert read_profile(ROOT / "workflow/profiles/local").deployment == ["env-modules"]
