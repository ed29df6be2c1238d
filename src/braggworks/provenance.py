"""Provenance: which stage, recipe, tools and packages made a file, and the files before it."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braggworks.recipes import Recipe


@functools.cache
def environment_digest() -> str:
    """Return the SHA-256 of Python's version and of every installed package with its version."""
    packages = {
        f"{distribution.metadata['Name'].lower()}=={distribution.version}"
        for distribution in importlib.metadata.distributions()
        if distribution.metadata["Name"]
    }
    text = "\n".join([f"python=={platform.python_version()}", *sorted(packages)])
    return hashlib.sha256(text.encode()).hexdigest()


def lineage(previous: str | bytes | None, stage: str, recipe: Recipe, tools: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the history of a file: that of the file that it was made from, and this stage.

    Parameters
    ----------
    previous
        The input's root attribute ``lineage`` (JSON), or None for the first stage.
    stage
        The verb that makes the file.
    recipe
        What it was told, with its stage's version and seed.
    tools
        Versions of the libraries that compute, and hashes of the data that they read, by name.
    """
    before: list[dict[str, Any]] = json.loads(previous) if previous else []
    entry = {
        "stage": stage,
        "recipe": json.loads(recipe.to_json()),
        "tools": dict(sorted(tools.items())),
        "environment": environment_digest(),
    }
    return [*before, entry]
