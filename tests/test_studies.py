"""Studies: networks that are trained alike but for some keys, from the configuration to the report."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from planned_project import copy_project
from workflow_project import ROOT, braggworks, make_project, needs_environments

from braggworks.config import Config, load_config
from braggworks.errors import ConfigError
from braggworks.monitoring.graph import JobGraph
from braggworks.targets import figure_inputs, figure_names


@pytest.fixture
def config(tmp_path: Path) -> Config:
    shutil.copytree(ROOT / "config", tmp_path / "config")
    return load_config(tmp_path / "config" / "studies-2d.yaml")


def changed(folder: Path, **changes: object) -> Config:
    values = yaml.safe_load((ROOT / "config" / "studies-2d.yaml").read_text()) | changes
    values = {key: value for key, value in values.items() if value is not None}
    shutil.copytree(ROOT / "config" / "campaigns", folder / "campaigns")
    (folder / "run.yaml").write_text(yaml.safe_dump(values))
    return load_config(folder / "run.yaml")


def study(**variants: object) -> list[dict[str, object]]:
    return [{"name": "one", "variants": {"same": {}, **variants}}]


def test_a_variant_differs_in_what_it_names_alone(config: Config) -> None:
    base, varied = config.training, config.variant("losses", "mae")
    assert base is not None
    assert (varied.loss.error, varied.loss.gap, varied.loss.ssim, varied.loss.gradient) == ("mae", 1, 0, 0)
    assert varied.network == base.network
    assert varied.model_copy(update={"loss": base.loss}) == base
    network = config.variant("networks", "modified-unet").network
    assert (network.name, network.width) == ("modified_unet_2d", 0.25)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"training": None}, "studies need training"),
        ({"studies": study(other={"los": {}})}, "variant other: unknown key 'los': did you mean 'loss'?"),
        ({"studies": study(other={"loss": {"error": "mad"}})}, "variant other: loss.error: 'mad' is none of"),
        ({"studies": study(other={"release": "absent"})}, "variant other of study one needs a network and a release"),
        ({"studies": study()}, "studies.0.variants"),
        ({"studies": study(**{"../up": {}})}, "studies.0.variants"),
        ({"studies": study(a={}) * 2}, "studies names 'one' twice"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        changed(tmp_path, **changes)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_variants_are_scored_on_the_same_particles(tmp_path: Path) -> None:
    values = yaml.safe_load((ROOT / "config" / "studies-phases-2d.yaml").read_text())
    shutil.copytree(ROOT / "config" / "campaigns", tmp_path / "campaigns")
    values["studies"] = study(high={"release": "high"}, more={"release": "low-more"})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
    told = "study one compares variants on different test particles, of the releases high and low-more: let these"
    with pytest.raises(ConfigError, match=told):
        load_config(tmp_path / "run.yaml")


def test_jobs_and_figures_of_a_study(config: Config) -> None:
    jobs = [job for job in JobGraph(config).jobs if job.rule in {"train_variant", "evaluate_variant"}]
    assert sorted(job.of for job in jobs if job.rule == "train_variant") == sorted(
        f"{each.name}/{variant}" for each in config.studies for variant in each.variants
    )
    assert {"study-losses", "study-networks"} <= set(figure_names(config))
    assert [Path(path).parent.name for path in figure_inputs(config, "study-networks")] == [
        "unet",
        "modified-unet",
        "msd-net",
    ]


def test_a_changed_variant_trains_itself_alone(tmp_path: Path) -> None:
    pytest.importorskip("snakemake", reason="the plan needs Snakemake")
    from test_dag import snakemake

    copy_project(tmp_path)
    options = ("--configfile", "config/studies-2d.yaml")
    for line in snakemake(tmp_path, *options, "--summary").splitlines()[1:]:
        output = tmp_path / line.split("\t")[0]
        output.parent.mkdir(parents=True, exist_ok=True)
        output.touch()
    snakemake(tmp_path, *options, "--touch", "--forceall")
    path = tmp_path / "config" / "studies-2d.yaml"
    text = path.read_text()
    assert "mse: {loss: {error: mse, ssim: 0, gradient: 0}}" in text
    path.write_text(text.replace("mse: {loss: {error: mse, ssim: 0,", "mse: {loss: {error: mse, ssim: 2,"))
    said = snakemake(tmp_path, *options, "--dry-run", "--quiet", "host")
    found = dict(re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE))
    assert {rule: found.get(rule) for rule in ("train_variant", "evaluate_variant", "draw_figure")} == {
        "train_variant": "1",
        "evaluate_variant": "1",
        "draw_figure": "1",
    }
    assert "train_network" not in found


@pytest.mark.slow
@pytest.mark.alone
@needs_environments
def test_a_study_in_two_dimensions_runs_to_its_report(tmp_path: Path) -> None:
    folder = make_project(tmp_path)
    campaign = {"family": "polygon2d", "count": 12, "batch_size": 6, "task": "inpaint"}
    campaign |= {"patches": {"size": 64, "per_pattern": 1}, "gaps": {"shapes": {"vertical": 1}, "widths_px": [3]}}
    campaign["sampling"] = {"grid": 64}
    (folder / "campaigns" / "tiny.yaml").write_text(yaml.safe_dump(campaign))
    run = yaml.safe_load((folder / "run.yaml").read_text())
    run["splits"] = {"validation": 0.2, "test": 0.4, "seed": 1}
    run["training"] = {"release": "tiny", "network": {"name": "msd_net_2d", "width": 0.2}, "epochs": 1}
    run["evaluation"] = {"gap_widths_px": [3, 6], "must_beat": None}
    run["studies"] = [{"name": "losses", "variants": {"mae": {"loss": {"error": "mae"}}, "mse": {}}}]
    run["sweeps"] = [{"kind": "position", "gap_px": 5, "step_px": 16}]
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    done = braggworks(folder, "workflow", "run", "run.yaml", "--cores", "2")
    assert done.returncode == 0, done.stderr
    names = {record["name"] for record in json.loads((folder / "results" / "summary.json").read_text())["records"]}
    assert {f"study.losses.{variant}.{width}px" for variant in ("mae", "mse") for width in (3, 6)} <= names
    assert {f"sweep.position.{method}.5px" for method in ("network", "linear")} <= names
    assert "Study: losses" in (folder / "results" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.alone
@needs_environments
def test_networks_for_phases_run_to_their_report(tmp_path: Path) -> None:
    folder = make_project(tmp_path)
    campaign = {"family": "polygon2d", "count": 12, "batch_size": 6, "task": "phase"}
    campaign |= {"patches": {"size": 64, "per_pattern": 1}, "sampling": {"grid": 64}}
    (folder / "campaigns" / "tiny.yaml").write_text(yaml.safe_dump(campaign))
    run = yaml.safe_load((folder / "run.yaml").read_text())
    run["splits"] = {"validation": 0.2, "test": 0.4, "seed": 1}
    network = {"name": "rsp_unet_2d", "width": 0.1}
    run["training"] = {"release": "tiny", "network": network, "phase_loss": {}, "epochs": 1}
    run["evaluation"] = {"must_beat": None}
    run["studies"] = [{"name": "losses", "variants": {"object": {"phase_loss": {"kind": "object"}}, "wca": {}}}]
    (folder / "run.yaml").write_text(yaml.safe_dump(run))
    done = braggworks(folder, "workflow", "run", "run.yaml", "--cores", "2")
    assert done.returncode == 0, done.stderr
    records = json.loads((folder / "results" / "summary.json").read_text())["records"]
    found = {record["name"]: record for record in records}
    assert found["phase.wca.network"]["published"] == 0.47
    assert 0 < found["study.losses.wca.wca"]["value"] < 1
    assert 0 < found["study.losses.truth.isotropy"]["value"] < 1
    assert 0.5 < found["study.losses.flat-phase.wca"]["value"] < 1
    assert found["phase.parameters"]["value"] > 0
    page = (folder / "results" / "report.html").read_text()
    assert "Study: losses" in page
    assert "Phases of held-out patterns" in page
    card = json.loads((folder / "results" / "releases" / "tiny" / "phase" / "card.json").read_text())
    assert card["task"] == "phase"
    assert "whose phase spans" in card["limits"]
