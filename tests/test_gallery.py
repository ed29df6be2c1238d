"""The gallery: one page with every campaign of a results folder, complete in itself."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from dataset_inputs import write_shard

from braggworks.cli import main
from braggworks.paths import Paths
from braggworks.reporting.gallery import facts_of


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two campaigns, one of two batches."""
    paths = Paths(str(tmp_path / "run"))
    for batch in range(2):
        write_shard(Path(paths.batch_file("shards", "slabs", batch)), "slabs", family="atomistic", batch=batch)
    write_shard(Path(paths.batch_file("shards", "flat", 0)), "flat", family="polygon2d", task="phase", ndim=2)
    return tmp_path / "run"


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"img", "script", "link", "iframe", "source"}:
            self.addresses += [value for name, value in attrs if name in {"src", "href"} and value]

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text())
    return page


def test_page_shows_every_campaign_and_loads_nothing(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = results.parent / "gallery.html"
    assert main(["gallery", str(results), "--output", str(output)]) == 0
    page = read(output)
    assert sum(address.startswith("data:image/png;base64,") for address in page.addresses) == 3
    assert all(address.startswith("data:") for address in page.addresses)
    words = re.sub(r"\s+", " ", page.text)
    assert "slabs atomistic inpaint 2 16 16 × 16 × 16 4" in words
    assert "flat polygon2d phase 1 8 16 × 16 2" in words
    assert "finufft 2.5" in words and "numpy 2.4" in words
    assert "2 campaigns" in capsys.readouterr().out


def test_page_has_the_same_bytes_when_drawn_again(results: Path) -> None:
    outputs = [results.parent / name for name in ("a.html", "b.html")]
    for output in outputs:
        assert main(["gallery", f"{results}/", "--output", str(output)]) == 0
    first, second = (output.read_text().replace(f"{results}/", str(results)) for output in outputs)
    assert first == second


def test_facts_of_batches_add_up(results: Path) -> None:
    sidecars = [json.loads(path.read_text()) for path in sorted(results.glob("campaigns/slabs/shards/*.json"))]
    facts = facts_of(sidecars)
    assert (facts.batches, facts.samples, facts.rejected) == (2, 16, 4)
    size = sum(path.stat().st_size for path in results.glob("campaigns/slabs/shards/*.h5"))
    assert facts.bytes_per_sample == round(size / 16)
    assert [(stage.name, stage.tools) for stage in facts.stages] == [("scatter", "finufft 2.5"), ("shard", "numpy 2.4")]


def refused(arguments: list[str], output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["gallery", *arguments, "--output", str(output)]) == 2
    assert not output.exists()
    return capsys.readouterr().err.splitlines()[-1]


def test_folder_without_shards_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds no shard: run `braggworks run` first" in refused([str(tmp_path)], tmp_path / "a.html", capsys)
    assert "is no folder" in refused([str(tmp_path / "demo.yaml")], tmp_path / "a.html", capsys)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (None, "batch-00001.json does not exist"),
        ("{}", "batch-00001.json is no whole sidecar"),
        ("[", "batch-00001.json is not valid JSON"),
        ("other", "batch-00001.json belongs to campaign 'other', not 'slabs'"),
    ],
)
def test_bad_sidecar_is_told(
    change: str | None, sentence: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sidecar = Path(Paths(str(results)).shard_sidecar("slabs", 1))
    if change == "other":
        sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "campaign": "other"}))
    elif change is None:
        sidecar.unlink()
    else:
        sidecar.write_text(change)
    assert sentence in refused([str(results)], results.parent / "a.html", capsys)


def test_truncated_shard_is_told(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard = Path(Paths(str(results)).batch_file("shards", "flat", 0))
    shard.write_bytes(shard.read_bytes()[:2000])
    assert "is truncated or is no HDF5 file" in refused([str(results)], results.parent / "a.html", capsys)
