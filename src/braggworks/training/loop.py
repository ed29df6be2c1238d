"""The one training loop: Adam on shuffled batches, a learning rate that drops on plateaus, and a state that resumes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau

from braggworks.config import TrainingConfig
from braggworks.datasets.order import epoch_order
from braggworks.errors import UserError
from braggworks.losses import inpainting_loss
from braggworks.networks import Network
from braggworks.training.samples import Sample, Samples


class DivergedError(UserError):
    """The loss became infinite or no number."""


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
    epochs: list[EpochRecord] = field(default_factory=list)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Progress:
        """Rebuild from what `to_json` gave."""
        return cls(**{**values, "epochs": [EpochRecord(**record) for record in values["epochs"]]})

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


class Trainer:
    """A network in training, which can be taken apart and put together again at any step.

    On a CPU and with one number of threads, the same steps give the same losses to the last bit, whether or not they
    were interrupted: `tensors` and `progress` hold everything that the next step depends on.

    Parameters
    ----------
    network
        With fresh or given weights; it is trained in place.
    config
        How to train.
    device
        Where to train.
    """

    def __init__(self, network: Network, config: TrainingConfig, device: torch.device) -> None:
        self.network, self.config, self.device = network.to(device), config, device
        self.optimizer = Adam(self.network.parameters(), lr=config.learning_rate)
        self.scheduler = ReduceLROnPlateau(
            self.optimizer, factor=config.plateau_factor, patience=config.plateau_patience, threshold=0.0
        )
        self.progress = Progress(learning_rate=config.learning_rate)
        self.step_losses: list[float] = []
        self.best = self._weights()

    # --- state --------------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Return weights, best weights, Adam's moments and the loss of every step."""
        found = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        found |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"adam.{key}.{name}"] = value
        found["step_losses"] = torch.tensor(self.step_losses, dtype=torch.float64)
        return found

    def restore(self, progress: Progress, tensors: dict[str, Tensor]) -> None:
        """Continue from what `progress` and `tensors` held."""
        self.network.load_state_dict(_under("network.", tensors))
        self.best = _under("best.", tensors)
        for name, parameter in self.network.named_parameters():
            if f"adam.step.{name}" in tensors:
                # Moments in the memory order of their parameter, or rounding would differ.
                self.optimizer.state[parameter] = {
                    "step": tensors[f"adam.step.{name}"],
                    **{
                        key: torch.empty_like(parameter, requires_grad=False).copy_(tensors[f"adam.{key}.{name}"])
                        for key in ("exp_avg", "exp_avg_sq")
                    },
                }
        self.step_losses = tensors["step_losses"].tolist()
        self.progress = progress
        self.optimizer.param_groups[0]["lr"] = progress.learning_rate
        self.scheduler.best = math.inf if progress.best_loss is None else progress.best_loss
        self.scheduler.num_bad_epochs = progress.bad_epochs

    # --- training -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        train: Samples,
        validation: Samples,
        *,
        save: Callable[[], None],
        stopping: Callable[[], bool] = lambda: False,
        report: Callable[[int, float], None] = lambda samples, loss: None,
    ) -> bool:
        """Train until all epochs are done or someone wants to stop.

        Parameters
        ----------
        train, validation
            Samples to learn from, and to steer the learning rate by.
        save
            Called when the state is due to be saved: every ``checkpoint_seconds``, after each epoch, and before
            stopping.
        stopping
            Asked after every step.
        report
            Told the number of samples and the loss of every step.

        Returns
        -------
        bool
            Whether all epochs are done.

        Raises
        ------
        DivergedError
            If the loss is no longer finite.
        """
        clock = _Clock(self.progress, self.config.checkpoint_seconds, save)
        if self.progress.starting_loss is None:
            self.progress.starting_loss = self.validate(validation)
        while self.progress.epoch < self.config.epochs:
            order = epoch_order(len(train), self.config.seed, self.progress.epoch)[self.progress.position :]
            for batch in train.batches(self.progress.epoch, order, self.config.batch_size):
                report(len(batch.truth), self.step(batch))
                if stopping():
                    clock.save()
                    return False
                clock.save_if_due()
            self._end_epoch(len(train), self.validate(validation))
            clock.save()
        return True

    def step(self, batch: Sample) -> float:
        """Take one optimiser step and return the loss before it."""
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        tensor = self._loss(batch)
        loss = tensor.item()
        if not math.isfinite(loss):
            raise DivergedError(
                f"The training loss is {loss} at step {len(self.step_losses) + 1}: lower training.learning_rate "
                f"(now {self.progress.learning_rate:g}), or check the data with `braggworks verify`."
            )
        tensor.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.step_losses.append(loss)
        self.progress.position += len(batch.truth)
        self.progress.loss_total += loss * len(batch.truth)
        return loss

    def validate(self, samples: Samples) -> float:
        """Return the mean loss over all samples."""
        self.network.eval()
        total = 0.0
        with torch.inference_mode():
            for batch in samples.batches(0, range(len(samples)), self.config.batch_size):
                total += self._loss(batch).item() * len(batch.truth)
        return total / len(samples)

    def _loss(self, batch: Sample) -> Tensor:
        values, truth, mask = (part.to(self.device) for part in batch)
        return inpainting_loss(self.network(values, mask), truth, mask, self.config.loss)

    def _end_epoch(self, samples: int, validation_loss: float) -> None:
        progress = self.progress
        progress.epoch += 1
        progress.epochs.append(
            EpochRecord(
                progress.epoch,
                len(self.step_losses),
                progress.loss_total / samples,
                validation_loss,
                progress.learning_rate,
            )
        )
        if progress.best_loss is None or validation_loss < progress.best_loss:
            progress.best_loss, progress.best_epoch = validation_loss, progress.epoch
            self.best = self._weights()
        self.scheduler.step(validation_loss)
        progress.bad_epochs = self.scheduler.num_bad_epochs
        progress.learning_rate = self.optimizer.param_groups[0]["lr"]
        progress.position, progress.loss_total = 0, 0.0

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}


class _Clock:
    """Adds wall time to the progress, and saves when it is time."""

    def __init__(self, progress: Progress, every: float, save: Callable[[], None]) -> None:
        self._progress, self._every, self._save = progress, every, save
        self._counted = self._saved = time.monotonic()

    def save(self) -> None:
        now = time.monotonic()
        self._progress.seconds += now - self._counted
        self._counted = now
        self._save()
        self._saved = time.monotonic()

    def save_if_due(self) -> None:
        if time.monotonic() - self._saved >= self._every:
            self.save()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
