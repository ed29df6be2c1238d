"""What each figure is drawn from: the readers of `braggworks figure`, by the figure's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from braggworks.commands._figure_inputs import crystals, cuts, patterns, phases, results, shards, sweeps

READERS: dict[str, Callable[..., Any]] = {
    "crystal": crystals.read_crystals,
    "displacement": crystals.read_displaced,
    "diffraction": patterns.read_pattern,
    "isosurface": patterns.read_finest_pattern,
    "engines": patterns.read_engines,
    "steps": patterns.read_steps,
    "patches": cuts.read_cut_patches,
    "gallery": shards.read_gallery,
    "distributions": shards.read_distributions,
    "patch": results.read_examples,
    "phases": phases.read_examples,
    "phase-range": phases.read_range,
    "gap-width": results.read_gap_width,
    "intensity": sweeps.read_intensity,
    "sweep-phasing": phases.read_methods,
    "sweep-shells": phases.read_shells,
    "sweep-steps": phases.read_steps,
    "sweep-position": sweeps.read_positions,
    "sweep-oversampling": sweeps.read_oversampling,
    "sweep-skipped": sweeps.read_skipped,
    "sweep-consistency": sweeps.read_consistency,
    "sweep-strain": sweeps.read_artefacts,
    "sweep-masking": sweeps.read_strategies,
    "phase-study": phases.read_study,
    "study": results.read_study,
    "scan": results.read_scan,
    "baselines": results.read_baselines,
    "object": results.read_phased,
    "finetune": results.read_finetuned,
    "training": results.read_history,
    "rulegraph": results.read_rulegraph,
}
