"""Whether a configuration's own data suffice: measured scans, and particles in every split."""

from __future__ import annotations

from braggworks.config import Config
from braggworks.datasets.splits import split_of
from braggworks.errors import UserError
from braggworks.targets import missing_scans


def check_scans(config: Config) -> None:
    """Raise `UserError` where a scan that a campaign is cut from is absent."""
    missing = missing_scans(config)
    if missing:
        raise UserError(
            f"The scan {missing[0]}, which a campaign is cut from, is absent: set BRAGGWORKS_TEST_DATA to its folder, "
            "write its absolute path into the campaign, or leave the campaign out."
        )


def check_splits(config: Config) -> None:
    """Raise `UserError` where training would find a split without particles."""
    if config.training is None:
        return
    release = config.release(config.training.release)
    found = {
        split_of(name, index, config.splits, release.held_out)
        for name in release.campaigns
        for index in range(min(config.campaign(name).count, 10_000))
    }
    wanted = {"train": 1.0, "validation": config.splits.validation, "test": config.splits.test}
    for name in (name for name, share in wanted.items() if share and name not in found):
        raise UserError(
            f"Release {release.name!r} has no particle in split {name!r}: raise a campaign's count or "
            f"splits.{name if name != 'train' else 'seed'}, or use another splits.seed."
        )
