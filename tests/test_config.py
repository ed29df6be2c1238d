"""The configuration refuses what cannot work, and says what to write instead."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from braggworks.campaigns import FAMILIES, Model
from braggworks.cli import main
from braggworks.config import Config, json_schema, load_campaign, load_config
from braggworks.errors import ConfigError
from braggworks.recipes import STAGES, CrystalsRecipe, campaign_digest, campaign_recipe, parse_recipe

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "config").glob("*.yaml"))
CAMPAIGNS = sorted((ROOT / "config" / "campaigns").glob("*.yaml"))


@pytest.fixture
def campaign_file(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Write a small campaign with changes, and return its path."""

    def write(**changes: object) -> Path:
        values = {"family": "atomistic", "count": 4, "batch_size": 2, **changes}
        values = {key: value for key, value in values.items() if value is not None}
        path = tmp_path / "trial.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_load(path: Path) -> None:
    config = load_config(path)
    assert all(release.campaigns for release in config.releases)


@pytest.mark.parametrize("path", CAMPAIGNS, ids=lambda path: path.stem)
def test_shipped_campaigns_load_under_their_file_name(path: Path) -> None:
    assert load_campaign(path).name == path.stem


def test_schema_file_is_up_to_date() -> None:
    assert json.loads((ROOT / "config" / "schema.json").read_text()) == json_schema(), "run `make schema`"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_schema_accepts_shipped_configs(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), json_schema())


def test_schema_refuses_unknown_keys() -> None:
    values = yaml.safe_load((ROOT / "config" / "demo.yaml").read_text())
    values["training"]["epoch"] = 3
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, json_schema())


def all_models(model: type[Model] = Model) -> list[type[Model]]:
    return [model, *(nested for child in model.__subclasses__() for nested in all_models(child))]


def test_every_number_has_bounds_or_a_check() -> None:
    """A number without a bound lets one mistyped digit through; ranges are checked by their model's validator."""
    for model in all_models():
        for name, field in model.model_fields.items():
            if field.annotation in {int, float} and name not in {"version", "seed"}:
                assert field.metadata, f"{model.__name__}.{name} has no bound"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"diffraction": {"oversampling": [1.5, 3]}}, ["diffraction", "oversampling starts at 1.5", "use 2 or more"]),
        ({"diffraction": {"oversampling": [4, 3]}}, ["low 4 above high 3"]),
        ({"diffraction": {"reflections": [[1, 0, 0]]}}, ["[1, 0, 0]", "forbidden", "three even or three odd"]),
        ({"diffraction": {"reflections": [[1, 1, 1], [0, 0, 0]]}}, ["non-zero"]),
        ({"gaps": {"widths_px": [3, 40]}}, ["gaps.widths_px holds 40", "patch of 32 px", "use 1 to 28"]),
        ({"patches": {"size": 128}}, ["exceeds diffraction.grid 64"]),
        ({"count": 5}, ["count 5", "batch_size 2", "use count 6"]),
        ({"detector": {"total_count": [1, 2]}}, ["unknown key 'detector.total_count'", "did you mean 'total_counts'?"]),
        ({"crystal": {"materials": ["Fe"]}}, ["crystal.materials", "Fe"]),
        ({"family": "atomic"}, ["there is no family 'atomic'", "did you mean atomistic?"]),
        ({"family": None}, ["there is no family:", "polygon2d"]),
        ({"family": "scan", "scans": ["a.cxi"]}, ["count 4 must be the number of scans, 1"]),
        ({"family": "scan", "scans": list("abcd"), "task": "phase"}, ["no detector records the phase"]),
        ({"family": "shape3d", "sampling": {"grid": 32}, "patches": {"size": 32}}, ["whole pattern", "per_pattern 1"]),
        ({"family": "autophasenn", "diffraction": {"grid": 48}}, ["less than twice object_grid 32", "use 64"]),
        ({"family": "polygon2d", "body": {"phase_range": [9, 3]}}, ["phase_range", "swap the two"]),
        ({"family": "polygon2d", "crystal": {}}, ["unknown key 'crystal'"]),
        ({"relaxation": {"strain": {"protocol": "frozen"}}}, ["relaxation.strain", "'free', 'clamped', 'stopped'"]),
        (
            {"relaxation": {"strain": {"protocol": "free", "thickness": 3}}},
            ["unknown key 'relaxation.strain.thickness'", "accepted keys of free are", "belongs to clamped"],
        ),
        ({"gaps": {"shapes": {"vertical": 0}}}, ["not all 0"]),
        ({"crystal": {"atoms": [10, 20]}}, ["atoms must lie between"]),
        ({"relaxation": {"potential": "../Au_u3.eam"}}, ["relaxation.potential"]),
        ({"diffraction": {"grid": 63}}, ["diffraction.grid", "multiple of 2"]),
        ({"seed": float("nan")}, ["seed"]),
    ],
)
def test_campaign_mistakes_are_one_sentence(campaign_file, changes: dict[str, object], words: list[str]) -> None:  # type: ignore[no-untyped-def]
    path = campaign_file(**changes)
    with pytest.raises(ConfigError) as error:
        load_campaign(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epochs:", "epoch:", ["unknown key 'training.epoch'", "did you mean 'epochs'?"]),
        ("release: demo", "release: dmeo", ["training.release names 'dmeo'", "use one of demo"]),
        (
            "    campaigns: [demo-free, demo-clamped]\n",
            "    campaigns: [demo-free]\n    warm_start: demo\n",
            ["warm_start of"],
        ),
        ("results: results/demo", "results: 'res ults'", ["results"]),
        ("demo-clamped]\n\nreleases", "demo-clamped, demo-free]\n\nreleases", ["names 'demo-free' twice"]),
        ("demo-clamped]\n\n# This", "demo-clamped]\n    held_out: [x]\n\n# This", ["held_out names 'x'"]),
        ("campaigns: [demo-free, demo-clamped]\n\n", "campaigns: [demo-fre]\n\n", ["demo-fre.yaml does not exist"]),
        ("campaigns: [demo-free, demo-clamped]\n\n", "campaigns: 7\n\n", ["campaigns must list names"]),
        ("results:", "results: [", ["not valid YAML"]),
    ],
)
def test_config_mistakes_are_one_sentence(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    (tmp_path / "campaigns").mkdir()
    for campaign in CAMPAIGNS:
        (tmp_path / "campaigns" / campaign.name).write_text(campaign.read_text())
    text = (ROOT / "config" / "demo.yaml").read_text()
    assert old in text
    path = tmp_path / "run.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_release_of_two_shapes_of_samples_is_refused(tmp_path: Path) -> None:
    (tmp_path / "campaigns").mkdir()
    for name, family in (("flat", "polygon2d"), ("deep", "shape3d")):
        text = f"family: {family}\ncount: 2\nbatch_size: 2\npatches: {{size: 64, per_pattern: 1}}\n"
        (tmp_path / "campaigns" / f"{name}.yaml").write_text(text)
    path = tmp_path / "run.yaml"
    path.write_text("results: r\ncampaigns: [flat, deep]\nreleases: [{name: both, campaigns: [flat, deep]}]\n")
    with pytest.raises(ConfigError, match="mixes samples of different shapes \\(flat, deep\\)"):
        load_config(path)


def test_a_campaign_or_a_folder_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a campaign"):
        load_config(CAMPAIGNS[0])
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_run_tells_a_typo_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.yaml"
    path.write_text((ROOT / "config" / "demo.yaml").read_text().replace("campaigns: [demo-free, demo-clamped]\n\n", ""))
    assert main(["run", str(path)]) == 2
    assert "campaigns must list names" in capsys.readouterr().err


def test_recipes_hold_no_counts_and_survive_json() -> None:
    campaign = load_campaign(ROOT / "config" / "campaigns" / "demo-free.yaml")
    more = FAMILIES[campaign.family].model_validate({**campaign.model_dump(), "count": campaign.count * 2})
    assert campaign_digest(campaign) == campaign_digest(more)
    for stage in STAGES[campaign.family]:
        recipe = campaign_recipe(stage, campaign)
        assert recipe.to_json() == campaign_recipe(stage, more).to_json()
        assert type(recipe).model_validate_json(recipe.to_json()) == recipe


def test_digest_follows_every_stage() -> None:
    campaign = load_campaign(ROOT / "config" / "campaigns" / "demo-free.yaml")
    for part in ("crystal", "relaxation", "diffraction", "detector", "patches", "gaps"):
        model = getattr(campaign, part)
        changed = {"crystal": {"atoms": (500, 900)}, "relaxation": {"max_steps": 7}, "diffraction": {"grid": 96}}
        changed |= {"detector": {"hot_fraction": 0.01}, "patches": {"per_pattern": 3}, "gaps": {"widths_px": [5]}}
        other = campaign.model_copy(update={part: model.model_copy(update=changed[part])})
        assert campaign_digest(other) != campaign_digest(campaign), part


def test_a_family_has_no_stage_of_another() -> None:
    campaign = load_campaign(ROOT / "config" / "campaigns" / "demo-free.yaml")
    with pytest.raises(ConfigError, match="simulate is not among them"):
        campaign_recipe("simulate", campaign)


def test_recipe_of_another_stage_is_refused() -> None:
    campaign = load_campaign(ROOT / "config" / "campaigns" / "demo-free.yaml")
    with pytest.raises(ConfigError, match="--recipe"):
        parse_recipe(CrystalsRecipe, campaign_recipe("relax", campaign).to_json())


def test_config_is_frozen() -> None:
    config: Config = load_config(ROOT / "config" / "demo.yaml")
    with pytest.raises(ValueError, match="frozen"):
        config.results = "elsewhere"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"crystal": {"atoms": [1, 2, 3]}},
            "crystal.atoms: needs a list of 2 whole numbers, such as [2000, 20000], got [1, 2, 3].",
        ),
        (
            {"crystal": {"atoms": [900]}},
            "crystal.atoms: needs a list of 2 whole numbers, such as [2000, 20000], got [900].",
        ),
        ({"crystal": {"atoms": 5}}, "crystal.atoms: needs a list of 2 whole numbers, such as [2000, 20000], got 5."),
        (
            {"crystal": {"atoms": ["a", 3]}},
            "crystal.atoms: needs a list of 2 whole numbers, such as [2000, 20000], got 'a' in it.",
        ),
        (
            {"diffraction": {"reflections": [[1, 1, 1], [1, 1]]}},
            "diffraction.reflections.1: needs a list of 3 whole numbers, such as [1, 1, 1], got [1, 1].",
        ),
        (
            {"diffraction": {"reflections": []}},
            "diffraction.reflections: List should have at least 1 item, not 0, got [].",
        ),
        (
            {"relaxation": {"strain": {"protocol": "fre"}}},
            "relaxation.strain: protocol 'fre' is none of 'free', 'clamped', 'stopped', 'field': did you mean 'free'?",
        ),
        (
            {"relaxation": {"strain": {"prestrain": 0.01}}},
            "relaxation.strain: the key 'protocol' is missing: add it, with one of free, clamped, stopped, field.",
        ),
        ({"relaxation": {"strain": "free"}}, "relaxation.strain: needs keys and values, got 'free'."),
        (
            {"relaxation": {"strain": {"protocol": "free", "prestrian": 0}}},
            "unknown key 'relaxation.strain.prestrian': did you mean 'prestrain'?",
        ),
        ({"gaps": {"widths_px": 3}}, "gaps.widths_px: needs a list, such as [3, 6, 9, 12], got 3."),
        (
            {"gaps": {"position": "center"}},
            "gaps.position: 'center' is none of 'centre', 'anywhere': did you mean 'centre'?",
        ),
        ({"count": "many"}, "count: needs a whole number, got 'many'."),
        ({"count": None}, "the key 'count' is missing: add it."),
        ({"count": None, "coutn": 4}, "unknown key 'coutn': did you mean 'count'?"),
        ({"diffraction": {"grid": 5000}}, "diffraction.grid: must be less than or equal to 512, got 5000."),
    ],
)
def test_mistakes_are_told_in_plain_words(campaign_file, changes: dict[str, object], told: str) -> None:  # type: ignore[no-untyped-def]
    path = campaign_file(**changes)
    with pytest.raises(ConfigError) as error:
        load_campaign(path)
    assert str(error.value) == f"{path}: {told}"


def test_a_recipes_mistake_names_its_key() -> None:
    text = campaign_recipe("crystals", load_campaign(ROOT / "config" / "campaigns" / "demo-free.yaml")).to_json()
    with pytest.raises(ConfigError, match=r"--recipe: crystal\.atoms: needs a list of 2 whole numbers, such as"):
        parse_recipe(CrystalsRecipe, re.sub(r'"atoms":\[[^]]*\]', '"atoms":[1]', text))
