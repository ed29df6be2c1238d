"""The report: complete, self-contained, and opened by a browser without a complaint."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("plotly", reason="the report is made in the environment with plotly")

from dataset_inputs import write_shard
from phasing_inputs import write_object

from braggworks.cli import main
from braggworks.config import Config, load_config
from braggworks.datasets.manifests import build_manifest
from braggworks.paths import Paths, run_paths
from braggworks.records import Record, read_records
from braggworks.reporting.benchmarks import read_costs
from braggworks.reporting.gather import campaign_rows
from braggworks.reporting.gather_phases import success_rows
from braggworks.reporting.sections import Findings, sections
from braggworks.targets import figure_names

ROOT = Path(__file__).parents[1]
WIDTHS = [3, 6, 9, 12]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c63606060600000000500"
    "01a5f645400000000049454e44ae426082"
)


def write_evaluation(path: Path) -> None:
    import xarray as xr

    methods = ["network", "nearest", "linear", "cubic"]
    shape = (len(methods), len(WIDTHS))
    dims = ("method", "gap_width")
    data = xr.Dataset(
        {name: (dims, np.full(shape, value)) for name, value in (("mean", 0.9), ("low", 0.88), ("high", 0.92))},
        coords={"method": methods, "gap_width": WIDTHS, "stratum": [0, 1]},
        attrs={"seed": 0, "particles": 5},
    )
    for name, value in (("mean", 0.8), ("low", 0.7), ("high", 0.9)):
        data[f"stratum_{name}"] = ((*dims, "stratum"), np.full((*shape, 2), value))
    data["scored"] = ("gap_width", np.full(len(WIDTHS), 100))
    data["stratum_scored"] = (("gap_width", "stratum"), np.full((len(WIDTHS), 2), 50))
    data["stratum_mean_counts"] = ("stratum", [1.0, 10.0])
    data.to_netcdf(path, engine="h5netcdf")


def write_manifests(config: Config, paths: Paths) -> None:
    """Manifests in which each campaign holds all its particles, with 3 rejected patterns."""
    for release in config.releases:
        campaigns = [config.campaign(name) for name in release.campaigns]
        entries = [
            {
                "name": campaign.name,
                "particles": campaign.count,
                "samples": campaign.count * 2 * campaign.patches.per_pattern,
                "rejected": 3,
            }
            for campaign in campaigns
        ]
        samples = sum(entry["samples"] for entry in entries)
        manifest = {
            "shape": [campaigns[0].patches.size] * (2 if campaigns[0].family == "polygon2d" else 3),
            "samples": samples,
            "bytes": 1000 * samples,
            "campaigns": entries,
            "splits": {
                "train": {"particles": 3, "samples": samples - 9},
                "test": {"particles": 1, "samples": 9},
            },
        }
        Path(paths.manifest(release.name)).parent.mkdir(parents=True, exist_ok=True)
        Path(paths.manifest(release.name)).write_text(json.dumps(manifest))


def write_figures(config: Config, paths: Paths) -> None:
    for name in figure_names(config):
        Path(paths.figure(name)).parent.mkdir(parents=True, exist_ok=True)
        Path(paths.figure(name)).write_bytes(PNG)


MESH = {
    "label": "cube",
    "level": 0.3,
    "vertices": [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]],
    "faces": [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]],
    "phase": [0.1, -0.2, 0.0, 0.3],
}


@pytest.fixture
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder that holds small, valid inputs of the report."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "config", tmp_path / "config")
    shutil.copytree(ROOT / "workflow" / "report", tmp_path / "workflow" / "report")
    config = load_config("config/demo.yaml")
    paths, release = run_paths(config), config.training.release
    files = {
        paths.model_card(release): {
            "parameters": 12345,
            "seconds": 60.5,
            "patches_per_second": 50.0,
            "losses": {"best_validation": 0.1},
        },
        paths.gate(release): {
            "must_beat": {"baseline": "linear", "gap_px": 6},
            "margin": 0.02,
            "low": 0.01,
            "high": 0.03,
            "n": 100,
            "seed": 0,
        },
        paths.scan_scores: {
            "simulated": True,
            "voxels": 1000,
            "gap": {"width_px": 6},
            "pcc": {"network": 0.8, "linear": 0.7},
            "strata": [{"mean_counts": 0.5, "voxels": 40, "pcc": {"network": 0.1, "linear": None}}],
            "seconds": 4.2,
        },
        paths.isosurface: MESH,
    }
    for name, value in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(json.dumps(value))
    write_evaluation(Path(paths.evaluation(release)))
    write_object(Path(paths.phased_scan))
    write_manifests(config, paths)
    write_figures(config, paths)
    table = Path(paths.benchmark("relax_batch", "demo-free", "00000"))
    table.parent.mkdir(parents=True)
    table.write_text("s\th:m:s\tmax_rss\tcpu_time\n2.5\t0:00:02\t120.5\t2.0\n")
    short = Path(paths.benchmark("check_network", "demo"))
    short.parent.mkdir(parents=True)
    short.write_text("s\th:m:s\tmax_rss\tcpu_time\n0.1\t0:00:00\tNA\tNA\n")
    return tmp_path


def write_report(config: str = "config/demo.yaml") -> tuple[str, Path]:
    assert main(["report", config, "--output", "report.html", "--summary", "summary.json"]) == 0
    return Path("report.html").read_text(), Path("summary.json")


class Addresses(HTMLParser):
    """Collects every address that an element of the page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"img", "script", "link", "iframe", "source"}:
            self.found += [value for name, value in attrs if name in {"src", "href"} and value]


def test_page_loads_nothing_from_outside(run_folder: Path) -> None:
    html, _ = write_report()
    page = Addresses()
    page.feed(html)
    assert len(page.found) >= len(figure_names(load_config("config/demo.yaml")))
    assert [address for address in page.found if not address.startswith("data:")] == []


def test_page_and_summary_hold_the_same_numbers(run_folder: Path) -> None:
    html, summary = write_report()
    records = {record.name: record for record in read_records(summary)}
    for name, record in records.items():
        assert name in html or name.startswith("cost.")
        assert record.command == "braggworks run config/demo.yaml"
        assert record.machine
    assert records["inpaint.pcc.network.6px"].published == 0.9767
    assert "J. Appl. Cryst. 2024" in (records["inpaint.pcc.network.6px"].source or "")
    assert records["scan.simulated.pcc.network.6px"].value == 0.8
    assert records["scan.simulated.pcc.network.6px.stratum1"].value == 0.1
    assert records["inpaint.pcc.linear.6px.stratum2"].n == 50
    assert "oversampling 2.2 to 5" in (records["inpaint.pcc.network.6px"].source or "")
    config = load_config("config/demo.yaml")
    assert config.training is not None
    release = config.release(config.training.release)
    wanted = sum(2 * c.count * c.patches.per_pattern for c in map(config.campaign, release.campaigns))
    assert records["dataset.samples"].value == wanted
    assert records["dataset.samples.train"].value == wanted - 9
    assert records[f"dataset.bytes_per_sample.{release.name}"].value == 1000
    rejected = records[f"dataset.rejected.{release.campaigns[0]}"]
    assert (rejected.value, rejected.n) == (3, 2 * config.campaign(release.campaigns[0]).count + 3)
    assert records["cost.relax_batch.peak_memory"].value == 120.5
    assert "cost.check_network.peak_memory" not in records


def test_a_run_that_phases_a_scan_shows_the_benchmarks_of_both_networks(run_folder: Path) -> None:
    html, _ = write_report()
    assert 'id="package"' not in html
    Path("benchmarks/results").mkdir(parents=True)
    for name in ("inpainting", "phasing"):
        shutil.copy(ROOT / "benchmarks" / "results" / f"{name}.json", "benchmarks/results")
    html, summary = write_report()
    shown = html[html.index('id="package"') :]
    assert "<td>inpaint.pcc.gap6</td>" in shown
    assert "<td>phase.wca.high_strain</td>" in shown
    assert "network er best view" in shown
    found = {record.name: record for record in read_records("benchmarks/results/phasing.json")}
    name = next(name for name in found if name.startswith("sweep.phasing.") and name.endswith("best_start.success"))
    share = found[name]
    assert f"<td>{100 * share.value:.0f} % ({100 * share.low:.0f}–{100 * share.high:.0f})</td>" in shown
    assert not any(record.name.startswith("sweep.phasing") for record in read_records(summary))


def test_costs_are_shown_by_campaign_with_the_use_of_cores(run_folder: Path) -> None:
    html, _ = write_report()
    row = "".join(f"<td>{cell}</td>" for cell in ("relax_batch", "demo-free", 1, 2.5, "2.0", "80 %", 120))
    assert row in html
    assert "<td>check_network</td><td>demo</td><td>1</td><td>0.1</td><td>0.0</td><td>–</td><td>–</td>" in html


def test_simulated_scan_is_labelled(run_folder: Path) -> None:
    html, _ = write_report()
    assert "This scan is simulated" in html


def test_missing_input_is_one_sentence_and_writes_nothing(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config("config/demo.yaml")
    Path(run_paths(config).scan_scores).unlink()
    assert main(["report", "config/demo.yaml", "--output", "report.html", "--summary", "summary.json"]) == 2
    assert "scores.json does not exist" in capsys.readouterr().err
    assert not Path("report.html").exists()
    assert not Path("summary.json").exists()


def test_every_figure_of_a_run_has_a_section(run_folder: Path, tmp_path: Path) -> None:
    scores = {"simulated": False}
    engines = {"patterns": 1, "max_error": 1e-6, "seconds_reference": 1, "seconds_other": 2, "threads_other": 1}
    demo, plain = load_config("config/demo.yaml"), load_config(dataset_only(tmp_path))
    for config in (demo, plain, full_run(demo, plain)):
        names = figure_names(config)
        found = sections(names, Findings(config, scores, engines))
        assert [section.figure for section in found] == names
        assert all(section.title and section.caption for section in found)
    with pytest.raises(KeyError, match="portrait"):
        sections(["portrait"], Findings(demo, scores, engines))


def full_run(demo: Config, plain: Config) -> Config:
    """A run with every campaign and every figure."""
    comparison = {"when": "always", "campaign": demo.campaigns[0].name}
    campaigns = [campaign.model_dump() for campaign in (*demo.campaigns, *plain.campaigns)]
    changed = {**demo.model_dump(), "campaigns": campaigns, "comparison": comparison}
    config = Config.model_validate(changed)
    assert {"engines", "steps", "patches", "scan", "gap-width"} <= set(figure_names(config))
    return config


def dataset_only(folder: Path) -> str:
    """Write the configuration of a run without training."""
    campaigns = {
        "flat": "family: polygon2d\ncount: 4\nbatch_size: 4\ntask: phase\nsampling: {grid: 64}\n"
        "patches: {size: 64, per_pattern: 1}\n",
        "cubes": "family: autophasenn\ncount: 4\nbatch_size: 2\ntask: phase\npatches: {size: 64, per_pattern: 1}\n",
    }
    for name, text in campaigns.items():
        (folder / "config" / "campaigns" / f"{name}.yaml").write_text(text)
    path = folder / "config" / "plain.yaml"
    path.write_text(
        "results: results/plain\ncampaigns: [flat, cubes]\n"
        "releases: [{name: two, campaigns: [flat]}, {name: three, campaigns: [cubes]}]\n"
    )
    return str(path.relative_to(folder))


def test_run_that_makes_datasets_only_has_a_report(run_folder: Path) -> None:
    name = dataset_only(run_folder)
    config = load_config(name)
    paths = run_paths(config)
    write_manifests(config, paths)
    write_figures(config, paths)
    html, summary = write_report(name)
    records = {record.name: record for record in read_records(summary)}
    assert records["dataset.bytes_per_sample.two"].value == records["dataset.bytes_per_sample.three"].value == 1000
    assert (records["dataset.rejected.cubes"].value, records["dataset.rejected.cubes"].n) == (3, 8 + 3)
    assert records["dataset.samples"].value == 16
    assert not any(name.startswith(("inpaint.", "scan.", "scatter.")) for name in records)
    assert 'id="gallery-flat"' in html and "64 × 64 × 64" in html
    assert not any(part in html for part in ('id="training"', 'id="surface"', 'id="scan"', "plotly"))


def test_rows_of_a_real_manifest(run_folder: Path) -> None:
    config = load_config(dataset_only(run_folder))
    options = {"family": "polygon2d", "task": "phase", "ndim": 2, "size": 64, "grid": 64}
    sidecars = [
        write_shard(run_folder / f"{batch}.h5", "flat", batch=batch, **options).with_suffix(".json") for batch in (0, 1)
    ]
    manifest = build_manifest(config.releases[0], config.splits, sidecars, run_folder)
    (row,) = campaign_rows(config, {"two": json.loads(json.dumps(manifest.to_json()))})
    assert (row.particles, row.patterns, row.samples, row.rejected, row.shape) == (8, 16, 16, 4, "64 × 64")
    size = sum(path.with_suffix(".h5").stat().st_size for path in sidecars)
    assert row.bytes_per_sample == size / 16


def test_manifest_of_an_older_run_is_one_sentence(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config("config/demo.yaml")
    assert config.training is not None
    Path(run_paths(config).manifest(config.training.release)).write_text('{"splits": {}}')
    assert main(["report", "config/demo.yaml", "--output", "report.html", "--summary", "summary.json"]) == 2
    assert "lacks what the report needs ('campaigns')" in capsys.readouterr().err


def test_costs_add_up_over_a_rules_jobs(tmp_path: Path) -> None:
    for number, seconds in enumerate((1.0, 2.0)):
        table = tmp_path / "relax_batch" / "c" / f"{number}.tsv"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text(f"s\tmax_rss\tcpu_time\n{seconds}\t{10 * seconds}\t{seconds}\n")
    (cost,) = read_costs(tmp_path)
    assert (cost.rule, cost.jobs, cost.wall_seconds, cost.memory_mb) == ("relax_batch", 2, 3.0, 20.0)


@pytest.mark.needs_chromium
def test_browser_opens_the_page_without_complaint_or_request(run_folder: Path) -> None:
    """The demo's own report where there is one, else the small one."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("the distribution's chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
    write_report()
    demo = ROOT / "results" / "demo" / "report.html"
    complaints: list[str] = []
    requests: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update"],
        )
        for report in (run_folder / "report.html", demo):
            if not report.exists():
                continue
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: requests.append(request.url))
            page.goto(report.as_uri())
            page.wait_for_selector(".plotly-graph-div canvas", timeout=60_000)
            page.screenshot(path=str(run_folder / f"{report.parent.name}.png"), full_page=True)
        browser.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_methods_measured_for_one_kind_alone_leave_dashes() -> None:
    def success(kind: str, method: str) -> Record:
        return Record(f"sweep.phasing.ranges-{kind}.1.5rad.{method}.success", 0.5, "1", low=0.3, high=0.7, n=20)

    rows = success_rows([success("b", "one"), success("b", "two"), success("a", "two")])
    assert [row["one"] for row in rows] == ["–", "50 % (30–70)"]
    assert [list(row) for row in rows] == [list(rows[0])] * 2
