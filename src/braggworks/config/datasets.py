"""Datasets: releases of campaigns, and their splits."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from braggworks.campaigns import Fraction, Model, Name


class Release(Model):
    """One entry of the append-only list of datasets."""

    name: Name = Field(description="Name of the dataset.")
    campaigns: list[Name] = Field(min_length=1, description="Campaigns whose shards make the dataset.")
    held_out: list[Name] = Field([], description="Those of the campaigns whose particles are all in the test split.")
    warm_start: Name | None = Field(None, description="Release whose weights training starts from.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self.held_out:
            if name not in self.campaigns:
                raise ValueError(f"held_out names {name!r}, which is not among the campaigns: add it there")
        return self


class SplitConfig(Model):
    """Shares of the particles; a particle's split follows from its identity alone."""

    validation: Fraction = Field(0.04, description="Share that steers the learning rate.")
    test: Fraction = Field(0.025, description="Share that training never sees.")
    seed: int = Field(0, ge=0, description="Part of the identity that decides the split.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test leave nothing to train on: let their sum stay below 1")
        return self
