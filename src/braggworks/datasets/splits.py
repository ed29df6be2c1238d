"""Splits by particle: which one a particle belongs to follows from its identity alone."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

from braggworks.seeds import unit_interval

if TYPE_CHECKING:
    from braggworks.config import SplitConfig

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def split_of(campaign: str, index: int, splits: SplitConfig, held_out: Collection[str] = ()) -> Split:
    """Return the split of a particle, whatever other particles there are.

    A number in [0, 1) that belongs to the identity is compared with the fractions; test takes the lower end and
    validation the upper one, so that a larger fraction takes particles from train only.

    Parameters
    ----------
    campaign
        Name of the campaign.
    index
        Index of the particle in it.
    splits
        Fractions and seed.
    held_out
        Campaigns of the release whose particles are all in the test split, whatever the fractions.
    """
    if campaign in held_out:
        return "test"
    place = unit_interval(campaign, index, splits.seed, "split")
    if place < splits.test:
        return "test"
    return "validation" if place >= 1 - splits.validation else "train"
