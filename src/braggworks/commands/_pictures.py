"""Drawing from an environment that holds no matplotlib."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from braggworks.errors import FileError


def draw_with_figures(file: str, picture: str) -> None:
    """Let the environment that holds matplotlib draw what a command wrote."""
    program = Path(sys.prefix).parent / "figures" / "bin" / "braggworks"
    command = [str(program), "picture", file, "--output", picture]
    if not program.exists():
        print(
            f"no picture: there is no environment for figures here; {' '.join(['braggworks', *command[1:]])} draws it"
        )
        return
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FileError(done.stderr.strip().removeprefix("braggworks picture: ") or f"{picture} could not be drawn.")
    print(done.stdout.strip())
