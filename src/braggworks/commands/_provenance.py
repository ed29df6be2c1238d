"""What a command that a person calls writes down about itself."""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from braggworks import __version__
from braggworks.files import sha256_of
from braggworks.provenance import environment_digest


def command_provenance(scan: str, weights: str | None = None, mask: str | None = None, **more: Any) -> dict[str, Any]:
    """Return what made a result: the command, the scan, weights and mask by their hashes, and the software."""
    file = Path(scan)
    found: dict[str, Any] = {
        "command": shlex.join(["braggworks", *sys.argv[1:]]),
        "scan": file.name,
        # A folder of frames has no hash of its own.
        "scan_sha256": sha256_of(file) if file.is_file() else None,
    }
    if weights:
        found["weights_sha256"] = sha256_of(weights)
    if mask and Path(mask).is_file():  # and no detector's name
        found["mask_sha256"] = sha256_of(mask)
    return found | {
        "braggworks": __version__,
        "torch": version("torch"),
        "environment": environment_digest(),
        **more,
    }
