"""The one training loop: Adam on shuffled batches, a learning rate that drops on plateaus, and a state that resumes."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau

from braggworks.config import TrainingConfig
from braggworks.datasets.order import bounded_order, epoch_order
from braggworks.errors import ConfigError, UserError
from braggworks.networks import Network
from braggworks.training.exchange import Group
from braggworks.training.objectives import objective
from braggworks.training.progress import Clock, EpochRecord, Progress
from braggworks.training.samples import Sample, Samples

_WARM_UP = 0.01  # share of the training


class DivergedError(UserError):
    """The loss became infinite or no number."""


class Trainer:
    """A network in training, which can be taken apart and put together again at any step.

    On a CPU and with one number of threads, the same steps give the same losses to the last bit, whether or not they
    were interrupted: `tensors` and `progress` hold everything that the next step depends on. Several processes take
    the same steps as one: each computes its part of a batch, and losses and gradients are summed. They hold the same
    state at any time, so that another number of processes may go on from it. With ``micro_batch``, a batch is computed
    in the same pieces and summed in float64 by any number of processes, so that rounding does not differ either.

    Parameters
    ----------
    network
        With fresh or given weights; it is trained in place.
    config
        How to train.
    device
        Where to train.
    group
        The processes that train together; ``None`` for this one alone.

    Raises
    ------
    ConfigError
        If a layer of the network would behave differently in several processes.
    """

    def __init__(
        self, network: Network, config: TrainingConfig, device: torch.device, group: Group | None = None
    ) -> None:
        self.network, self.config, self.device = network.to(device), config, device
        self.group = group or Group()
        self._predict, self._mean_loss = objective(self.network, config)
        if self.group.size > 1:
            _check_layers(network)
        self._trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = Adam(self.network.parameters(), lr=config.learning_rate)
        self.scheduler = ReduceLROnPlateau(
            self.optimizer, factor=config.plateau_factor, patience=config.plateau_patience, threshold=0.0
        )
        self.progress = Progress(learning_rate=config.learning_rate)
        self.step_losses: list[float] = []
        self.best = self._weights()
        self._asked_to_stop: Callable[[], bool] = lambda: False
        self.told_to_stop = False  # whether any process was; all learn it in the same step

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

    def digest(self) -> str:
        """Return the SHA-256 of all that the next step depends on; wall times do not count."""
        progress = {name: value for name, value in self.progress.to_json().items() if "seconds" not in name}
        digest = hashlib.sha256(json.dumps(progress, sort_keys=True).encode())
        for name, tensor in sorted(self.tensors().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    # --- training -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        train: Samples,
        validation: Samples,
        *,
        save: Callable[[], None],
        stopping: Callable[[], bool] = lambda: False,
        last_step: int | None = None,
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
            Asked in every step, also of the validation; one process that says yes stops all, after the same step.
        last_step
            Stop after this many steps since the start of training.
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
        clock = Clock(self.progress, self.config.checkpoint_seconds, save)
        self._asked_to_stop, self.told_to_stop = stopping, False
        if self.progress.starting_loss is None:
            self.progress.starting_loss = self.validate(validation)
        while self.progress.epoch < self.config.epochs and not self.told_to_stop:
            for batch in self._timed(train.batches(self.progress.epoch, self._remaining(len(train)), self._shares)):
                samples = min(self.config.batch_size, len(train) - self.progress.position)
                self._follow_schedule(len(train))
                report(samples, self.step(batch, samples))
                if self.told_to_stop or len(self.step_losses) == last_step:
                    clock.save()
                    return False
                clock.save_if_due()
            loss_after = self.validate(validation)
            if loss_after is not None:
                self._end_epoch(len(train), loss_after)
                clock.save()
        if self.told_to_stop:
            clock.save()
        return self.progress.epoch == self.config.epochs

    def _follow_schedule(self, samples: int) -> None:
        """Set the learning rate, where it follows from how much of the training is done."""
        if self.config.schedule == "cosine":
            done = (self.progress.epoch + self.progress.position / samples) / self.config.epochs
            rising = min(1.0, max(done, _WARM_UP / 100) / _WARM_UP)
            rate = self.config.learning_rate * rising * (1 + math.cos(math.pi * done)) / 2
            self.progress.learning_rate = self.optimizer.param_groups[0]["lr"] = rate

    def step(self, batch: Sample, samples: int | None = None) -> float:
        """Take one optimiser step and return the loss before it.

        Parameters
        ----------
        batch
            This process's part of the batch; it may hold no sample if another's does.
        samples
            Samples of all parts together; ``None`` if this is the only one.
        """
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        samples = samples or len(batch.truth)
        sums: list[Tensor] = []
        mine = 0.0
        for piece in self._pieces(batch):
            tensor, share = self._loss(piece), len(piece.truth)
            mine += tensor.item() * share
            (tensor * (share / samples)).backward()  # type: ignore[no-untyped-call]
            self._take_gradients(sums)
        total = self._shared_sum(mine)
        loss = total / samples
        if not math.isfinite(loss):
            raise DivergedError(
                f"The training loss is {loss} at step {len(self.step_losses) + 1}: lower the learning rate (now "
                f"{self.progress.learning_rate:g}), or check the data with `braggworks verify`."
            )
        self._sum_gradients(sums)
        if self.config.gradient_norm:
            self._clip(self.config.gradient_norm)
        self.optimizer.step()
        self.step_losses.append(loss)
        self.progress.position += samples
        self.progress.loss_total += total
        return loss

    def _clip(self, norm: float) -> None:
        """Shorten the gradient to a norm; before the weights are changed, raise `DivergedError` if it has none."""
        found = float(nn.utils.clip_grad_norm_(self._trained, norm))
        if not math.isfinite(found):
            raise DivergedError(
                f"The gradient is {found} at step {len(self.step_losses) + 1}; the state saved before is whole: run "
                "the same command again to go on from it, and with precision: float32 if it happens there again."
            )

    def validate(self, samples: Samples) -> float | None:
        """Return the mean loss over all samples, in float32; ``None`` if someone wants to stop before it is known."""
        self.network.eval()
        total = 0.0
        with torch.inference_mode():
            for batch in self._timed(samples.batches(0, np.arange(len(samples)), self._shares)):
                mine = sum(self._loss(piece).item() * len(piece.truth) for piece in self._pieces(batch))
                total += self._shared_sum(mine)
                if self.told_to_stop:
                    return None
        return total / len(samples)

    def _loss(self, batch: Sample) -> Tensor:
        batch = type(batch)(*(part.to(self.device, non_blocking=True) for part in batch))
        reduced = self.network.training and self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=reduced):
            prediction = self._predict(batch)
        return self._mean_loss(prediction.float(), batch)

    # --- parts and pieces ---------------------------------------------------------------------------------------------

    def _remaining(self, samples: int) -> NDArray[np.int64]:
        """Return what the running epoch has not seen, in order."""
        seed, epoch, buffer = self.config.seed, self.progress.epoch, self.config.shuffle_buffer
        order = bounded_order(samples, seed, epoch, buffer=buffer) if buffer else epoch_order(samples, seed, epoch)
        return order[self.progress.position :]

    def _shares(self, order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Yield this process's part of each batch."""
        size = self.config.batch_size
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            yield batch[self.group.part(len(batch), self.config.micro_batch or 1)]

    def _pieces(self, part: Sample) -> Iterator[Sample]:
        """Yield what is computed at once of this process's part of a batch."""
        samples = len(part.truth)
        size = self.config.micro_batch or max(1, samples)
        for start in range(0, samples, size):
            yield type(part)(*(tensor[start : start + size] for tensor in part))

    def _shared_sum(self, mine: float) -> float:
        """Return the sum over all processes, and learn whether one of them wants to stop."""
        total, stop = self.group.sums(mine, self._asked_to_stop())
        self.told_to_stop = stop > 0
        return total

    def _take_gradients(self, sums: list[Tensor]) -> None:
        """Move the gradients of a piece into sums in float64, whose rounding does not depend on the number of parts."""
        if not self.config.micro_batch:
            return
        found = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._trained]
        for number, gradient in enumerate(found):
            if len(sums) <= number:
                sums.append(torch.zeros_like(gradient, dtype=torch.float64))
            sums[number] += gradient
        self.optimizer.zero_grad(set_to_none=True)

    def _sum_gradients(self, sums: list[Tensor]) -> None:
        """Add the gradients of all pieces and processes, in one exchange."""
        if self.group.size == 1 and not self.config.micro_batch:
            return
        kind = torch.float64 if self.config.micro_batch else torch.float32
        found = sums or [torch.zeros_like(p) if p.grad is None else p.grad for p in self._trained]
        flat = torch.cat([gradient.reshape(-1).to(kind) for gradient in found])
        self.group.add(flat)
        for parameter, part in zip(self._trained, torch.split(flat, [p.numel() for p in self._trained]), strict=True):
            # In the memory order of the parameter, as backward leaves it.
            parameter.grad = torch.empty_like(parameter, requires_grad=False).copy_(part.view(parameter.shape))

    def _timed(self, batches: Iterator[Sample]) -> Iterator[Sample]:
        while True:
            begun = time.monotonic()
            batch = next(batches, None)
            self.progress.reading_seconds += time.monotonic() - begun
            if batch is None:
                return
            yield batch

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
        if self.config.schedule == "plateau":
            self.scheduler.step(validation_loss)
            progress.bad_epochs = self.scheduler.num_bad_epochs
            progress.learning_rate = self.optimizer.param_groups[0]["lr"]
        progress.position, progress.loss_total = 0, 0.0

    def _weights(self) -> dict[str, Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}


def _check_layers(network: nn.Module) -> None:
    # Their base classes are private to torch.
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.Dropout, nn.Dropout2d, nn.Dropout3d)
    for name, layer in network.named_modules():
        if isinstance(layer, kinds):
            raise ConfigError(
                f"Layer {name} ({type(layer).__name__}) depends on how a batch is cut into parts, so that several "
                "processes would train another network than one: set training.processes to 1."
            )


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
