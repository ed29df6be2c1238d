"""Errors that a person can act on: one sentence on what is wrong, where, and what to do."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in a configuration, a file or the machine's set-up, told in one sentence and without a traceback."""


class ConfigError(UserError):
    """A configuration that cannot be used."""


class FileError(UserError):
    """A file that is missing, damaged, foreign, or cannot be written."""


class MissingToolError(UserError):
    """A program, library or potential that the stage needs and the machine lacks."""


class ScanError(UserError):
    """A measurement that cannot be used as it is."""


class PhasingError(UserError):
    """A pattern that cannot be phased, or whose runs all failed."""
