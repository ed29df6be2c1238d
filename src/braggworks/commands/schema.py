"""Print the JSON schema of a configuration, for editors and checks.

example:
    braggworks schema --output config/schema.json
"""

from __future__ import annotations

import argparse
import json

from braggworks.config import json_schema
from braggworks.files import write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("--output", metavar="JSON", help="write the schema to this file instead of printing it")


def run(args: argparse.Namespace) -> None:
    """Print or write the schema."""
    if args.output:
        write_json(args.output, json_schema())
    else:
        print(json.dumps(json_schema(), indent=2, sort_keys=True))
