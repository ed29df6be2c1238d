"""Reading a configuration, and saying what is wrong with it."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import ValidationError

from braggworks.campaigns import FAMILIES, Campaign, Model
from braggworks.config.run import Config
from braggworks.errors import ConfigError
from braggworks.mistakes import mistake_sentence

ModelT = TypeVar("ModelT", bound=Model)


def load_config(path: str | Path) -> Config:
    """Read a configuration and the campaign files that it names.

    Parameters
    ----------
    path
        YAML file; each entry of its ``campaigns`` names a file ``campaigns/NAME.yaml`` beside it.

    Raises
    ------
    ConfigError
        If a file is missing, is no YAML, or holds a value that is not accepted.
    """
    path = Path(path)
    values = _read_yaml(path)
    if "count" in values and "campaigns" not in values:
        raise ConfigError(f"{path} is a campaign: name it, without .yaml, in the campaigns of a run such as demo.yaml.")
    names = values.get("campaigns")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{path}: campaigns must list names of files in {path.parent / 'campaigns'}, without .yaml.")
    campaigns = [load_campaign(path.parent / "campaigns" / f"{name}.yaml") for name in names]
    return _build(Config, {**values, "campaigns": campaigns}, path)


def load_campaign(path: str | Path) -> Campaign:
    """Read one campaign file; its name is the campaign's name. Raises `ConfigError` as `load_config` does."""
    path = Path(path)
    values = _read_yaml(path)
    family = values.get("family")
    if family not in FAMILIES:
        near = difflib.get_close_matches(str(family), FAMILIES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(FAMILIES)}."
        told = "there is no family" if family is None else f"there is no family {family!r}"
        raise ConfigError(f"{path}: {told}: {hint}")
    return cast(Campaign, _build(FAMILIES[family], {**values, "name": path.stem}, path))


def data_folder() -> Path | None:
    """Return the folder that holds measured scans, from the setting BRAGGWORKS_TEST_DATA."""
    folder = os.environ.get("BRAGGWORKS_TEST_DATA")
    return Path(folder) if folder else None


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration file, in which campaigns are names."""
    schema = Config.model_json_schema()
    schema["properties"]["campaigns"] = {"type": "array", "minItems": 1, "items": {"type": "string"}}
    return schema


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: check the path, or the name in campaigns.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): give a YAML file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise ConfigError(f"{path} is not valid YAML: {reason}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold keys and values, as config/demo.yaml does.")
    return values


def _build(model: type[ModelT], values: dict[str, Any], path: Path) -> ModelT:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(mistake_sentence(error, str(path), model)) from None
