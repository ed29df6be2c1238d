"""`braggworks <verb>`: what the workflow's rules call, and what a person can call alone."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from braggworks import __version__
from braggworks.errors import UserError
from braggworks.files import disk_sentence

# Each verb with its environment and what it does; its module in braggworks.commands is imported when it is asked for.
VERBS = {
    "run": ("workflow", "run a configuration's whole workflow"),
    "status": ("workflow", "say what a run has done, does and has left to do"),
    "cost": ("workflow", "predict a run's core-hours, disk and memory from a pilot"),
    "crystals": ("particles", "cut one batch of crystals"),
    "relax": ("relax", "relax one batch of crystals with LAMMPS"),
    "scatter": ("scatter", "compute the diffraction of one batch"),
    "shard": ("scatter", "cut one batch's training samples"),
    "simulate": ("learn", "simulate one batch of bodies without atoms, straight to training samples"),
    "shard-scan": ("learn", "cut training samples out of measured scans"),
    "manifest": ("scatter", "define a release's dataset from its shards"),
    "verify": ("scatter", "check a release's dataset"),
    "train": ("learn", "train the inpainting network"),
    "evaluate": ("learn", "score the network and the interpolations on held-out particles"),
    "sweep": ("learn", "score the network against position, oversampling, feigned strain, masks or skipped pixels"),
    "gate": ("learn", "fail unless the network clears its bar"),
    "compare-engines": ("scatter", "compare the scattering engines on one batch"),
    "simulate-scan": ("learn", "write a simulated scan"),
    "scan": ("learn", "say what a scan holds, correct it and crop it"),
    "picture": ("figures", "draw a filled scan, or a phased object"),
    "phase": ("learn", "phase a scan"),
    "finetune": ("learn", "train the plane network on one scan"),
    "inpaint": ("learn", "fill the gaps of a scan"),
    "figure": ("figures", "draw one figure"),
    "gallery": ("figures", "show samples of every campaign in a results folder"),
    "report": ("figures", "write the report and its records"),
    "schema": ("workflow", "print the JSON schema of a configuration"),
}


class _Parser(argparse.ArgumentParser):
    """Says in one sentence what is wrong with the options."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` lists the options.\n")


def _verb_parser(verb: str, prog: str) -> argparse.ArgumentParser:
    module = importlib.import_module(f"braggworks.commands.{verb.replace('-', '_')}")
    parser = _Parser(
        prog=f"{prog} {verb}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    parser.set_defaults(run=module.run)
    return parser


def _usage(prog: str) -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {what}  [{stage}]" for verb, (stage, what) in VERBS.items()]
    return "\n".join(
        [
            f"usage: {prog} VERB [options]        {prog} VERB --help shows a verb's options and an example",
            "",
            *lines,
            "",
            f"In brackets: the environment that has what the verb needs, as in .envs/learn/bin/{prog} scan SCAN.",
        ]
    )


_MEMORY = "free some, allow more, or run fewer jobs at a time (--cores), and run the same command again"
# Verbs for one scan, of which a stopped one has kept nothing.
_WHOLE = {"scan", "inpaint", "finetune", "phase"}
# Options that name files to write; every other option or argument that names a file is read.
_WRITTEN = ("output", "picture", "steps", "scores", "sidecar", "examples", "history", "card", "summary")


def _refuse_overwriting(parsed: argparse.Namespace) -> None:
    """Raise `UserError` if a file to write is one of those to read, or is to be written twice."""
    named: dict[Path, str] = {}
    for option in sorted(vars(parsed), key=_WRITTEN.__contains__):
        values = getattr(parsed, option)
        for value in values if isinstance(values, list) else [values]:
            if not isinstance(value, str) or not value or "\0" in value or len(value) > 4096:
                continue
            path = Path(value).resolve()
            if option in _WRITTEN and path in named:
                raise UserError(
                    f"{value} is given as --{option} and as {named[path]}, so that it would be overwritten: "
                    f"give --{option} another name."
                )
            named[path] = option


def main(argv: Sequence[str] | None = None) -> int:  # noqa: PLR0911
    """Run one verb.

    Parameters
    ----------
    argv
        Arguments without the program's name; ``None`` takes the process's own.

    Returns
    -------
    int
        0, or 2 after a mistake that one sentence on standard error explains.
    """
    # Waiting threads of OpenMP spin by default: beside any other process, a training is then many times slower.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    prog = "braggworks"
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_usage(prog))
        return 0
    verb, *rest = arguments
    if verb == "--version":
        print(f"{prog} {__version__}")
        return 0
    if verb not in VERBS:
        print(f"braggworks: unknown verb {verb!r}; `{prog} --help` lists the verbs.", file=sys.stderr)
        return 2
    try:
        parsed = _verb_parser(verb, prog).parse_args(rest)
        _refuse_overwriting(parsed)
        return int(parsed.run(parsed) or 0)
    except UserError as error:
        print(f"braggworks {verb}: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        print(f"braggworks {verb}: there is not enough memory: {_MEMORY}.", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` does; Python would complain when it closes the output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if (sentence := disk_sentence(error, Path(error.filename or ".").parent)) is None:
            raise
        print(f"braggworks {verb}: {sentence}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(
            f"braggworks {verb}: the Python module {error.name!r} is not in this environment; "
            f"run `make envs` and call .envs/{VERBS[verb][0]}/bin/{prog} {verb}.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        again = "from the start" if verb in _WHOLE else "to go on"
        print(f"braggworks {verb}: interrupted; run the same command again {again}.", file=sys.stderr)
        return 130
