"""Weights and resumable training state as safetensors with JSON metadata; a file is there completely or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from braggworks.config import NetworkConfig
from braggworks.errors import FileError
from braggworks.files import atomic_path
from braggworks.networks import Network, build
from braggworks.training import normalisation

_KEY = "braggworks"  # one metadata entry with sorted JSON, so that equal content gives equal bytes
_WEIGHTS = "weights"
_STATE = "training state"

NetworkT = TypeVar("NetworkT", bound=Network)


@dataclass(frozen=True)
class Weights:
    """Trained weights and what is needed to use them.

    Parameters
    ----------
    network
        Which network.
    patch
        Voxels per axis of the patches that it was trained on.
    widths_px
        Narrowest and widest gap that it was trained on, in pixels; None for the task phase.
    tensors
        The weights.
    provenance
        What made them, as JSON values; None where the files beside them say it.
    """

    network: NetworkConfig
    patch: int
    widths_px: tuple[int, int] | None
    tensors: dict[str, Tensor]
    provenance: Mapping[str, Any] | None = None


def write_weights(path: str | Path, weights: Weights) -> None:
    """Write trained weights. Raises `FileError` if the disk is full or the folder cannot be written."""
    about: dict[str, Any] = {
        "kind": _WEIGHTS,
        "task": weights.network.task,
        "network": weights.network.model_dump(mode="json"),
        "normalisation": normalisation.NAMES[weights.network.task],
        "patch": weights.patch,
    }
    if weights.widths_px:
        about["widths_px"] = list(weights.widths_px)
    if weights.provenance:
        about["provenance"] = dict(weights.provenance)
    _write(path, about, weights.tensors)


def read_weights(path: str | Path) -> Weights:
    """Read trained weights.

    Raises
    ------
    FileError
        If they are missing, damaged, foreign, or made for another normalisation.
    """
    about, tensors = _read(path)
    try:
        network, patch = NetworkConfig.model_validate(about["network"]), int(about["patch"])
        if about["kind"] != _WEIGHTS or about["normalisation"] != normalisation.NAMES[network.task]:
            raise ValueError
        widths = tuple(map(int, about["widths_px"])) if network.task == "inpaint" else None
    except (KeyError, TypeError, ValueError, ValidationError):
        raise FileError(
            f"{path} holds no weights that this version can use: give a file that `braggworks train` wrote."
        ) from None
    return Weights(network, patch, widths, tensors, about.get("provenance"))  # type: ignore[arg-type]


def load_network(path: str | Path, kind: type[NetworkT]) -> tuple[NetworkT, Weights]:
    """Read trained weights and build their network.

    Parameters
    ----------
    path
        Safetensors file.
    kind
        Class of the wanted networks, which says their task.

    Raises
    ------
    FileError
        As `read_weights` does, or if they are for another task.
    """
    weights = read_weights(path)
    network = build(weights.network)
    if not isinstance(network, kind):
        wanted = getattr(kind, "task", "inpaint")
        raise FileError(
            f"{path} holds weights for the task {network.task}, and the task {wanted} is wanted: give others."
        )
    try:
        network.load_state_dict(weights.tensors)
    except RuntimeError:
        raise FileError(
            f"{path} holds weights that do not fit the network it names: delete it and run `braggworks train` again."
        ) from None
    return network, weights


def write_state(path: str | Path, identity: str, progress: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write resumable training state.

    Parameters
    ----------
    path
        File; a kill at any moment leaves either the old or the new one.
    identity
        Names the run that the state belongs to: its recipe and data.
    progress
        Where training stands, as JSON values.
    tensors
        Weights, the optimiser's moments, loss history.

    Raises
    ------
    FileError
        If the disk is full or the folder cannot be written.
    """
    _write(path, {"kind": _STATE, "identity": identity, "progress": dict(progress)}, tensors)


def read_state(path: str | Path, identity: str) -> tuple[dict[str, Any], dict[str, Tensor]] | str | None:
    """Read resumable training state.

    Returns
    -------
    tuple, str or None
        Progress and tensors as given to `write_state`; a sentence that says why the state cannot be used; or ``None``
        if there is no state yet.
    """
    if not Path(path).exists():
        return None
    try:
        about, tensors = _read(path)
    except FileError as error:
        return str(error)
    if about.get("kind") != _STATE:
        return f"{path} holds no training state."
    if about.get("identity") != identity:
        return f"{path} belongs to another recipe or other data."
    return about["progress"], tensors


def _write(path: str | Path, about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    data = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        {_KEY: json.dumps(about, sort_keys=True)},
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not Path(path).is_file():
        raise FileError(f"{path} does not exist: check the path, or run `braggworks train`.")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise FileError(
            f"{path} is damaged or is no safetensors file ({error}): give the file that `braggworks train` wrote."
        ) from None
    return about, tensors
