"""The configuration refuses what cannot work, and says what to write instead."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from braggworks.cli import main
from braggworks.config import Campaign, Config, Model, json_schema, load_campaign, load_config
from braggworks.errors import ConfigError
from braggworks.recipes import CrystalsRecipe, campaign_recipe, parse_recipe

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "config").glob("*.yaml"))
CAMPAIGNS = sorted((ROOT / "config" / "campaigns").glob("*.yaml"))


@pytest.fixture
def campaign_file(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Write a small campaign with changes, and return its path."""

    def write(**changes: object) -> Path:
        values = {"count": 4, "batch_size": 2, **changes}
        path = tmp_path / "trial.yaml"
        path.write_text(yaml.safe_dump(values))
        return path

    return write


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_load(path: Path) -> None:
    config = load_config(path)
    assert config.release(config.training.release).campaigns


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
        ({"diffraction": {"reflection": [1, 0, 0]}}, ["[1, 0, 0]", "forbidden", "three even or three odd"]),
        ({"diffraction": {"reflection": [0, 0, 0]}}, ["non-zero"]),
        ({"patches": {"gap_widths_px": [3, 40]}}, ["gap_widths_px holds 40", "patch of 32 px", "use 1 to 28"]),
        ({"patches": {"size": 128}}, ["exceeds diffraction.grid 64"]),
        ({"count": 5}, ["count 5", "batch_size 2", "use count 6"]),
        ({"detector": {"total_count": [1, 2]}}, ["unknown key 'detector.total_count'", "did you mean 'total_counts'?"]),
        ({"crystal": {"material": "Fe"}}, ["crystal.material", "Fe"]),
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
    more = Campaign.model_validate({**campaign.model_dump(), "count": campaign.count * 2})
    for stage in ("crystals", "relax", "scatter", "shard"):
        recipe = campaign_recipe(stage, campaign)
        assert recipe.to_json() == campaign_recipe(stage, more).to_json()
        assert type(recipe).model_validate_json(recipe.to_json()) == recipe


def test_recipe_of_another_stage_is_refused() -> None:
    campaign = load_campaign(ROOT / "config" / "campaigns" / "demo-free.yaml")
    with pytest.raises(ConfigError, match="--recipe"):
        parse_recipe(CrystalsRecipe, campaign_recipe("relax", campaign).to_json())


def test_config_is_frozen() -> None:
    config: Config = load_config(ROOT / "config" / "demo.yaml")
    with pytest.raises(ValueError, match="frozen"):
        config.results = "elsewhere"  # type: ignore[misc]
