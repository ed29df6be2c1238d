"""Where training stands, and when it was last saved."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class EpochRecord:
    """Losses of one epoch."""

    epoch: int  # from 1
    step: int  # optimiser steps since the start
    train_loss: float
    validation_loss: float
    learning_rate: float


@dataclass
class Progress:
    """Where training stands; JSON values only."""

    epoch: int = 0  # complete epochs
    position: int = 0  # samples of the running epoch that are done
    loss_total: float = 0.0  # their losses, summed
    starting_loss: float | None = None  # validation loss before the first step
    best_loss: float | None = None
    best_epoch: int = 0
    bad_epochs: int = 0  # epochs without progress
    learning_rate: float = 0.0
    seconds: float = 0.0  # wall time of all pieces
    reading_seconds: float = 0.0  # of those, waiting for samples
    epochs: list[EpochRecord] = field(default_factory=list)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Progress:
        """Rebuild from what `to_json` gave."""
        return cls(**{**values, "epochs": [EpochRecord(**record) for record in values["epochs"]]})

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


class Clock:
    """Adds wall time to the progress, and saves when it is time."""

    def __init__(self, progress: Progress, every: float, save: Callable[[], None]) -> None:
        self._progress, self._every, self._save = progress, every, save
        self._counted = self._saved = time.monotonic()

    def save(self) -> None:
        """Save."""
        now = time.monotonic()
        self._progress.seconds += now - self._counted
        self._counted = now
        self._save()
        self._saved = time.monotonic()

    def save_if_due(self) -> None:
        """Save if the last time is long enough ago."""
        if time.monotonic() - self._saved >= self._every:
            self.save()
