"""Iterative phase retrieval: its parts, that it finds objects, and PyNX from the same starts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from phasing_inputs import diffract, faceted, pattern_of
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter
from workflow_project import pynx_programs

from braggworks.errors import MissingToolError, PhasingError
from braggworks.phasing import iterative, pynx_process, support
from braggworks.phasing.alignment import align, correlation, likeness, twin
from braggworks.phasing.iterative import phase
from braggworks.phasing.likelihood import free_voxels, poisson_llk
from braggworks.phasing.projections import Kernel, Moduli, cycle, error_reduction
from braggworks.phasing.schedule import Coherence, Pattern, Phased, Schedule, Start, Step, SupportRule, standard
from braggworks.phasing.selection import aligned, best, chance_prtf, mean_to_max, modes, prtf
from braggworks.phasing.starts import draw_start
from braggworks.seeds import generator

RULE = SupportRule((0.25, 0.35), period=20)
SHORT = standard(80, 120, 60, RULE)


@pytest.fixture(scope="module")
def runs() -> tuple[Pattern, list[Phased]]:
    pattern = pattern_of(faceted())
    return pattern, phase(pattern, SHORT, [draw_start(pattern, SHORT, 0, index) for index in range(4)])


# --- the whole ---


def test_the_best_of_a_few_runs_is_the_object(runs: tuple[Pattern, list[Phased]]) -> None:
    pattern, found = runs
    chosen = best(found, 1)[0]
    moved = align(chosen.found, faceted())
    assert correlation(np.abs(moved), np.abs(faceted())) > 0.97
    assert likeness(moved, faceted()) > 0.97
    assert chosen.free_llk == min(each.free_llk for each in found)
    # Parseval: the object holds as much as was counted, but for what was kept out.
    assert (np.abs(chosen.found) ** 2).sum() == pytest.approx(pattern.counts.sum(), rel=0.05)


def test_a_gap_is_free_and_its_amplitudes_come_out_right() -> None:
    mask = np.zeros((32,) * 3, bool)
    mask[:, :, 19:22] = True
    pattern = pattern_of(faceted(), 1e6, mask)
    found = best(phase(pattern, SHORT, [draw_start(pattern, SHORT, 1, index) for index in range(4)]), 1)[0]
    true, calculated = (diffract(each) for each in (faceted(), found.found))
    assert correlation(np.log1p(calculated[mask]), np.log1p(true[mask] * 1e6 / true.max())) > 0.9


@pytest.mark.parametrize("room", [1, 3])
def test_a_start_knows_of_no_other(
    runs: tuple[Pattern, list[Phased]], monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    pattern, found = runs
    monkeypatch.setattr(iterative, "_room", lambda pattern, device: room)
    done: list[int] = []
    short = Schedule((Step("DETWIN", 3), Step("ER", 27)), RULE)
    starts = [Start(each.found, each.support, 0.3, k) for k, each in enumerate(found[:3])]
    alone = phase(pattern, short, starts[2:])[0]
    together = phase(pattern, short, starts, done.append, threads=2)[2]
    np.testing.assert_allclose(together.found, alone.found, atol=2e-4 * np.abs(alone.found).max())
    assert together.free_llk == pytest.approx(alone.free_llk, rel=1e-3)
    assert sum(done) == 90


def test_starts_depend_on_seed_and_index_alone() -> None:
    pattern = pattern_of(faceted())
    first, again, other = (draw_start(pattern, SHORT, 5, index) for index in (1, 1, 2))
    np.testing.assert_array_equal(first.found, again.found)
    assert first.threshold == again.threshold != other.threshold
    assert not np.array_equal(first.found, other.found)
    # The autocorrelation is twice as long as the object along every axis.
    assert 2 < first.support.sum() / (np.abs(faceted()) > 0).sum() < 9


def test_more_moduli_agree_after_every_cycle_of_er() -> None:
    pattern = pattern_of(faceted())
    moduli = Moduli(pattern, torch.device("cpu"))
    start = draw_start(pattern, SHORT, 0, 0)
    found, inside = (torch.from_numpy(np.fft.ifftshift(each)[None]) for each in (start.found, start.support))
    used = (moduli.kept == 0)[None]
    errors = []
    for _ in range(15):
        wave = torch.fft.fftn(found, dim=(1, 2, 3), norm="ortho").abs()
        errors.append(float((wave - moduli.measured).square()[used].sum()))
        found = cycle(found, inside.to(torch.complex64), error_reduction(), moduli)
    assert (np.diff(errors) < 0).all()


def test_partial_coherence_is_found_and_mends_the_object() -> None:
    truth = faceted(phase_range=1.0)
    grid = np.indices(truth.shape) - 16
    blur = np.exp(-(grid**2).sum(axis=0) / (2 * 0.7**2))
    pattern = pattern_of(truth, 1e6, blur=blur / blur.sum())
    starts = [draw_start(pattern, SHORT, 0, index) for index in range(4)]
    fully = best(phase(pattern, SHORT, starts), 1)[0]
    schedule = replace(SHORT, coherence=Coherence(fwhm_px=1.0, period=20))
    partly = best(phase(pattern, schedule, starts), 1)[0]
    assert partly.free_llk < 0.3 * fully.free_llk
    assert mean_to_max(partly) > mean_to_max(fully)
    assert likeness(align(partly.found, truth), truth) > likeness(align(fully.found, truth), truth)


def test_a_blurred_intensity_of_nothing_does_no_harm() -> None:
    pattern = pattern_of(faceted())
    moduli = Moduli(pattern, torch.device("cpu"))
    kernel = Kernel(Coherence(), (1, 32, 32, 32), torch.device("cpu"))
    kernel.blur = lambda intensity, mirrored=False: torch.zeros_like(intensity)
    found = torch.from_numpy(np.fft.ifftshift(draw_start(pattern, SHORT, 0, 0).found)[None])
    power = moduli.project(found, kernel).abs().square().sum()
    assert float(power) < 200 * float(found.abs().square().sum())


def test_a_run_that_blows_up_has_diverged() -> None:
    pattern = pattern_of(faceted())
    start = draw_start(pattern, SHORT, 0, 0)
    wild = np.where(pattern.free, 1e9, 0).astype(np.complex64)
    found = replace(start, found=np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(wild))).astype(np.complex64))
    run = phase(pattern, Schedule((Step("ER", 1),), replace(RULE, expand_px=())), [found])[0]
    assert "more than 10 times what was counted" in run.why_diverged
    assert run.free_llk == float("inf")


def test_coherence_is_full_until_it_begins() -> None:
    pattern = pattern_of(faceted())
    starts = [draw_start(pattern, SHORT, 0, 0)]
    never, fully = (
        phase(pattern, replace(SHORT, coherence=each), starts)[0] for each in (Coherence(begin=SHORT.cycles), None)
    )
    np.testing.assert_array_equal(never.support, fully.support)
    assert never.free_llk == pytest.approx(fully.free_llk, rel=1e-6)
    early = phase(pattern, replace(SHORT, coherence=Coherence(begin=SHORT.cycles - 1)), starts)[0]
    assert not np.array_equal(early.found, fully.found)


def test_the_kernel_keeps_the_sum_and_starts_as_a_pseudo_voigt() -> None:
    kernel = Kernel(Coherence(2.0, 0.3), (1, 33, 33), torch.device("cpu"))
    assert float(kernel.values.sum()) == pytest.approx(1)
    assert float(kernel.values[0, 0, 1] / kernel.values[0, 0, 0]) == pytest.approx(0.5, rel=1e-5)
    intensity = torch.rand(1, 33, 33)
    assert float(kernel.blur(intensity).sum()) == pytest.approx(float(intensity.sum()), rel=1e-5)


def test_a_run_that_diverges_says_so_and_is_not_chosen() -> None:
    pattern = pattern_of(faceted())
    nowhere = Schedule((Step("HIO", 40),), replace(RULE, expand_px=(-9,)))
    everywhere = Schedule((Step("HIO", 40),), replace(RULE, expand_px=(9,)))
    start = draw_start(pattern, SHORT, 0, 0)
    empty, full = (phase(pattern, each, [start])[0] for each in (nowhere, everywhere))
    assert "its support became empty" in empty.why_diverged
    assert "its support grew to" in full.why_diverged
    broken = replace(start, found=np.full_like(start.found, np.nan))
    assert "is not finite" in phase(pattern, SHORT, [broken])[0].why_diverged
    good = phase(pattern, SHORT, [start])[0]
    assert best([empty, good], 2) == [good]
    with pytest.raises(PhasingError, match="All 2 runs diverged, the first because its support became empty"):
        best([empty, full], 2)


def test_two_dimensions_work_too() -> None:
    truth = faceted()[16]
    pattern = pattern_of(truth, 1e6)
    longer = standard(200, 300, 100, RULE, detwin=20)
    starts = [draw_start(pattern, longer, 0, index) for index in range(8)]
    found = best(phase(pattern, longer, starts), 1)[0]
    assert likeness(align(found.found, truth), truth) > 0.9


# --- support ---


def test_smoothing_is_scipys() -> None:
    values = np.random.default_rng(0).random((1, 20, 24, 22))
    for width in (0.5, 1.3, 2.0):
        found = support.smoothed(torch.from_numpy(values), width)[0].numpy()
        np.testing.assert_allclose(found, gaussian_filter(values[0], width, mode="wrap"), atol=1e-6)
    assert SupportRule().width(0) == 2.0
    assert SupportRule().width(300) == pytest.approx(1.0)
    assert SupportRule().width(900) == 0.5


def test_growing_and_shrinking_are_by_cubes() -> None:
    inside = np.random.default_rng(1).random((1, 16, 16, 16)) < 0.01
    inside[:, :4] = inside[:, -4:] = inside[:, :, :4] = inside[:, :, -4:] = False
    inside[..., :4] = inside[..., -4:] = False
    cube = np.ones((5,) * 3, bool)
    grown = support.grown(torch.from_numpy(inside), 2)[0].numpy()
    np.testing.assert_array_equal(grown, binary_dilation(inside[0], cube))
    shrunk = support.grown(torch.from_numpy(grown[None]), -2)[0].numpy()
    np.testing.assert_array_equal(shrunk, binary_erosion(grown, cube))


def test_only_the_border_changes_where_that_is_asked_for() -> None:
    found = torch.zeros(1, 24, 24, dtype=torch.complex64)
    found[0, 8:16, 8:16] = 1
    found[0, 1:3, 1:3] = 1  # a second object, far away
    found[0, 11:13, 11:13] = 0  # a hole inside
    inside = torch.zeros(1, 24, 24, dtype=torch.bool)
    inside[0, 7:17, 7:17] = True
    rule = SupportRule(smooth_px=(0.3, 0.3, 1), border_px=2)
    new = support.update(found, inside, torch.tensor([0.3]), rule, 0)[0]
    assert new[8:16, 8:16].all()
    assert not new[1:3, 1:3].any()
    assert not new[7, 7]
    free = support.update(found, inside, torch.tensor([0.3]), replace(rule, border_px=0), 0)[0]
    assert free[1:3, 1:3].all()
    assert not free[11:13, 11:13].any()


def test_half_a_support_is_half_of_it() -> None:
    inside = torch.from_numpy(np.fft.ifftshift(np.abs(faceted()) > 0))
    pair = torch.stack([inside, inside])
    first, second = support.half(pair, [0, 2])
    for part in (first, second):
        assert 0.3 < int(part.sum()) / int(inside.sum()) < 0.7
        assert not (part & ~inside).any()
    assert not torch.equal(first, second)


# --- likelihood ---


def test_the_true_object_has_a_likelihood_of_one() -> None:
    rng = np.random.default_rng(0)
    expected = rng.uniform(50, 5000, 100_000)
    counts = rng.poisson(expected)
    assert poisson_llk(counts, expected).mean() == pytest.approx(1, abs=0.02)
    assert poisson_llk(counts, expected * 1.1).mean() > 5
    assert poisson_llk(np.array([0.0, 3.0]), np.array([0.0, 0.0])).tolist() == [
        0,
        pytest.approx(2 * (-3 + 3 * np.log(30))),
    ]


def test_voxels_kept_out_are_balls_outside_mask_and_centre() -> None:
    mask = np.zeros((64,) * 3, bool)
    mask[:, :, 40:46] = True
    free = free_voxels(mask.shape, mask, generator("test", 0))
    assert 0.014 < free.mean() < 0.021
    assert not (free & mask).any()
    assert not free[32, 32, 32]
    assert binary_erosion(free, np.ones((3,) * 3)).any()
    small = (32, 48, 40)
    drawn = [free_voxels(small, np.zeros(small, bool), generator("test", seed)) for seed in range(50)]
    assert not any(each[16, 24, 20] for each in drawn)


# --- alignment and selection ---


@pytest.mark.parametrize("of_twin", [False, True])
@pytest.mark.parametrize("ramp", [False, True])
def test_place_twin_phase_and_ramp_do_not_matter(of_twin: bool, ramp: bool) -> None:
    truth = np.asarray(gaussian_filter(faceted().real, 1) + 1j * gaussian_filter(faceted().imag, 1))
    q = np.indices(truth.shape) * np.array([0.05, -0.04, 0.07])[:, None, None, None] * (2 * np.pi / 3)
    moved = np.roll(truth, (3, -4, 5), (0, 1, 2)) * 4 * np.exp(2.1j)
    if ramp:
        moved = moved * np.exp(1j * q.sum(axis=0))
    found = align(twin(moved) if of_twin else moved, truth, ramp=ramp)
    assert likeness(found, truth) > (0.998 if ramp else 1 - 1e-9)
    assert np.abs(found).max() == pytest.approx(4 * np.abs(truth).max(), rel=0.05)
    np.testing.assert_allclose(diffract(twin(truth)), diffract(truth), atol=1e-9)


def test_parts_of_voxels_are_found() -> None:
    truth = np.asarray(gaussian_filter(faceted().real, 1.5) + 0j)
    wave = np.fft.fftn(truth)
    grids = np.meshgrid(*(np.fft.fftfreq(32),) * 3, indexing="ij")
    moved = np.fft.ifftn(wave * np.exp(-2j * np.pi * (0.35 * grids[0] - 1.6 * grids[1] + 0.2 * grids[2])))
    assert likeness(align(moved, truth), truth) > 0.9999
    assert likeness(align(moved, truth, fine=False), truth) < 0.999


def test_what_runs_have_in_common_is_the_first_mode(runs: tuple[Pattern, list[Phased]]) -> None:
    pattern, found = runs
    same = [found[0].found, twin(np.roll(found[0].found, 2, 1)) * np.exp(1j)]
    (first, *_), weights = modes(aligned(same))
    assert weights[0] == pytest.approx(1)
    np.testing.assert_allclose(first, found[0].found, atol=1e-4 * np.abs(first).max())
    three = aligned([each.found for each in best(found, 3)])
    stack, weights = modes(three)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 0.8
    assert abs(np.vdot(stack[0], stack[1])) < 1e-6 * np.vdot(stack[0], stack[0]).real
    q, values = prtf(three, pattern)
    assert 0.9 < values[1] <= 1
    assert values[1] > np.nanmean(values[q > 0.8])
    _, alone = prtf(three[:1], pattern)
    assert np.isnan(alone).all()
    rng = np.random.default_rng(0)
    blind = [np.fft.fftn(np.exp(2j * np.pi * rng.random(pattern.counts.shape))) for _ in range(3)]
    assert np.nanmean(prtf(blind, pattern)[1]) == pytest.approx(chance_prtf(3), abs=0.06)


def test_runs_are_chosen_by_either_measure(runs: tuple[Pattern, list[Phased]]) -> None:
    _, found = runs
    assert best(found, 1, "mean_to_max")[0] is max(found, key=mean_to_max)
    llks = [each.free_llk for each in best(found, 4)]
    assert llks == sorted(llks)


# --- PyNX ---


def amplitude_error(pattern: Pattern, found: np.ndarray) -> float:
    """Return the relative error of the amplitudes."""
    used = ~(pattern.mask | pattern.free)
    measured = np.sqrt(pattern.counts[used])
    return float(np.linalg.norm(np.sqrt(diffract(found))[used] - measured) / np.linalg.norm(measured))


@pytest.mark.needs_gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch sees")
def test_a_gpu_phases_several_starts_at_once_as_a_processor_does() -> None:
    pattern = pattern_of(faceted(40, 0, 1.0), 1e5)
    # Error reduction does not amplify rounding.
    schedule = Schedule((Step("ER", 60),), SupportRule((0.3, 0.3), (1.5, 0.8, 200), period=20))
    starts = [draw_start(pattern, schedule, 0, k) for k in range(3)]
    here, there = (phase(pattern, schedule, starts, device=device) for device in ("cpu", "cuda"))
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(b.found, a.found, atol=2e-3 * np.abs(a.found).max())
        assert b.free_llk == pytest.approx(a.free_llk, rel=0.01)


@pytest.mark.needs_pynx
def test_pynx_ends_where_we_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(pynx_programs().parents[1] / "learn"))
    rule = SupportRule((0.3, 0.3), (1.5, 0.8, 200), period=20)
    whole = Schedule((Step("HIO", 60), Step("RAAR", 150), Step("ER", 100)), rule)
    short = Schedule((Step("ER", 60),), rule)
    mask = np.zeros((40,) * 3, bool)
    mask[:, 24:26] = True
    for k in range(5):
        pattern = pattern_of(faceted(40, k, 1.0), 1e5, mask if k == 0 else None, seed=k)
        start = replace(draw_start(pattern, whole, 0, k), threshold=0.3)
        # Error reduction does not amplify rounding: cycle by cycle, and update by update, both do the same.
        (ours,), (theirs,) = (engine(pattern, short, [start]) for engine in (phase, pynx_process.phase))
        np.testing.assert_allclose(theirs.found, ours.found, atol=2e-3 * np.abs(ours.found).max())
        # The others do; what is compared is where they end. Both are judged here, in one convention of likelihood: the
        # deviance per voxel, 1 for the true object. PyNX's own is the same on a CPU, and differs on a GPU.
        done: list[int] = []
        (ours,), (theirs,) = (engine(pattern, whole, [start], done.append) for engine in (phase, pynx_process.phase))
        assert sum(done) == 2 * whole.cycles
        assert amplitude_error(pattern, theirs.found) == pytest.approx(amplitude_error(pattern, ours.found), rel=0.05)
        assert theirs.free_llk == pytest.approx(ours.free_llk, rel=0.5)
        assert correlation(np.abs(align(theirs.found, ours.found)), np.abs(ours.found)) > 0.98


def test_a_machine_without_pynx_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "learn"))
    pattern = pattern_of(faceted())
    with pytest.raises(MissingToolError, match=r"PyNX is not installed .* run `make pynx`"):
        pynx_process.phase(pattern, SHORT, [draw_start(pattern, SHORT, 0, 0)])


@pytest.mark.needs_pynx
def test_an_end_from_outside_leaves_neither_pynx_nor_its_files(tmp_path: Path) -> None:
    script = (
        "import sys, numpy as np\n"
        "from braggworks.phasing import pynx_process\n"
        "from braggworks.phasing.schedule import Pattern, Schedule, Start, Step, SupportRule\n"
        "sys.prefix = sys.argv[1]\n"
        "ones, none = np.ones((40,) * 3, np.complex64), np.zeros((40,) * 3, bool)\n"
        "schedule = Schedule((Step('ER', 10_000_000),), SupportRule((0.3, 0.3), (1.5, 0.8, 200), period=20))\n"
        "pattern = Pattern(np.abs(ones).astype(np.float32), none, none)\n"
        "pynx_process.phase(pattern, schedule, [Start(ones, ~none, 0.3)], lambda cycles: print(cycles, flush=True))\n"
    )
    command = [sys.executable, "-c", script, str(pynx_programs().parents[1] / "learn")]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 0
        (theirs,) = psutil.Process(process.pid).children()
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    assert not theirs.is_running()


def test_a_schedule_survives_the_way_to_pynx() -> None:
    for schedule in (standard(detwin=10), replace(SHORT, coherence=Coherence())):
        told = json.loads(json.dumps(asdict(schedule)))
        assert pynx_process._schedule(told) == schedule
