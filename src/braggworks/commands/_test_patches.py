"""The samples of a release that training never saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from braggworks.errors import FileError

if TYPE_CHECKING:
    from braggworks.evaluation.sweeps import Patches


def test_patches(manifest: str) -> Patches:
    """Return the samples of the test split, without gaps.

    Raises
    ------
    FileError
        If there are none, or they are of another task.
    """
    from braggworks.datasets.manifests import load_samples, read_manifest, select_samples
    from braggworks.evaluation.sweeps import Patches

    table = select_samples(read_manifest(manifest), "test")
    if not len(table):
        raise FileError(
            f"{manifest} has no particle in its test split, so there is nothing to score: "
            "raise splits.test, or the campaigns' count."
        )
    if table.task != "inpaint":
        raise FileError(f"{manifest} holds samples for the task {table.task}: give that of a release for inpaint.")
    counts, _ = load_samples(table)
    if counts.ndim == 3:
        counts = counts[:, None]
    return Patches(counts, table.columns["particle"], table.campaign, table.columns["oversampling"].min(axis=1))
