"""The configuration: every key with unit, default and bound; unknown keys are errors; only this package reads it."""

from __future__ import annotations

from braggworks.config.datasets import Release, SplitConfig
from braggworks.config.evaluation import (
    BarConfig,
    ComparisonConfig,
    EvaluationConfig,
    FigureConfig,
    Interpolation,
    ScanConfig,
)
from braggworks.config.phasing import PhasingConfig
from braggworks.config.reading import data_folder, json_schema, load_campaign, load_config
from braggworks.config.run import Config
from braggworks.config.sweeps import (
    AnySweep,
    ConsistencySweep,
    MaskingSweep,
    OversamplingSweep,
    PhaseSweep,
    PhasingSweep,
    PositionSweep,
    ShellSweep,
    SkippedSweep,
    StepSweep,
    StrainSweep,
)
from braggworks.config.training import (
    LossConfig,
    NetworkConfig,
    PhaseLossConfig,
    SlabConfig,
    StudyConfig,
    TrainingConfig,
)

__all__ = [
    "AnySweep",
    "BarConfig",
    "ComparisonConfig",
    "Config",
    "ConsistencySweep",
    "EvaluationConfig",
    "FigureConfig",
    "Interpolation",
    "LossConfig",
    "MaskingSweep",
    "NetworkConfig",
    "OversamplingSweep",
    "PhaseLossConfig",
    "PhaseSweep",
    "PhasingConfig",
    "PhasingSweep",
    "PositionSweep",
    "Release",
    "ScanConfig",
    "ShellSweep",
    "SkippedSweep",
    "SlabConfig",
    "SplitConfig",
    "StepSweep",
    "StrainSweep",
    "StudyConfig",
    "TrainingConfig",
    "data_folder",
    "json_schema",
    "load_campaign",
    "load_config",
]
