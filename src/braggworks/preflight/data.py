"""Whether a configuration's own data suffice: measured scans, and particles in every split."""

from __future__ import annotations

from braggworks.config import Config, Release
from braggworks.datasets.splits import split_of
from braggworks.errors import UserError
from braggworks.targets import missing_scans

# No split of so many particles is empty.
_MOST_ASKED = 10_000


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
    for release, name in empty_splits(config):
        if release == config.training.release:
            raise UserError(
                f"Release {release!r} has no particle in split {name!r}: raise a campaign's count or "
                f"splits.{name if name != 'train' else 'seed'}, or use another splits.seed."
            )


def empty_splits(config: Config) -> list[tuple[str, str]]:
    """Return the releases and those of their splits that would have a share of the particles and get none."""
    wanted = {"train": 1.0, "validation": config.splits.validation, "test": config.splits.test}
    shares = [name for name, share in wanted.items() if share]
    found = {release.name: _splits(config, release) for release in config.releases}
    return [(release, name) for release, splits in found.items() for name in shares if name not in splits]


def _splits(config: Config, release: Release) -> set[str]:
    return {
        split_of(name, index, config.splits, release.held_out)
        for name in release.campaigns
        for index in range(min(config.campaign(name).count, _MOST_ASKED))
    }
