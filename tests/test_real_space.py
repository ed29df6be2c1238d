"""Gaps and the object: what is zero without a gap, and what a linear displacement gives."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from braggworks.datasets.gaps import cross_gap
from braggworks.evaluation.real_space import diffract, reconstruct, strain, strain_error

N, G, VOXEL = 48, 0.42, 20.0


def cube(edge=14):
    modulus = np.zeros((N, N, N))
    inside = slice(N // 2 - edge // 2, N // 2 + edge // 2)
    modulus[inside, inside, inside] = 1
    return gaussian_filter(modulus, 0.7), modulus > 0


def test_without_a_gap_the_object_comes_back_and_has_no_strain():
    modulus, support = cube()
    amplitude = diffract(modulus)
    found = reconstruct(np.abs(amplitude) ** 2, amplitude)
    np.testing.assert_allclose(found, modulus, atol=1e-12)
    error = strain_error(found, support, G, VOXEL)
    assert error.rmse < 1e-12
    assert abs(error.mean) < 1e-12


def test_a_linear_displacement_is_a_constant_strain():
    modulus, support = cube()
    z = (np.arange(N) - N // 2)[:, None, None] * VOXEL
    wanted = 1e-3
    found = modulus * np.exp(-2j * np.pi * G * wanted * z)
    np.testing.assert_allclose(strain(found, G, VOXEL)[support], wanted, rtol=1e-9)
    assert strain_error(found, support, G, VOXEL).mean == pytest.approx(wanted)


def test_a_wider_gap_does_more_harm_and_half_a_filling_does_less():
    modulus, support = cube()
    amplitude = diffract(modulus)
    intensity = np.abs(amplitude) ** 2
    errors = []
    for width in (2, 4, 8):
        mask = cross_gap(modulus.shape, (N // 2 + 4, N // 2 + 4), width)
        cut = strain_error(reconstruct(np.where(mask, 0, intensity), amplitude), support, G, VOXEL, 1).rmse
        half = strain_error(reconstruct(np.where(mask, intensity / 2, intensity), amplitude), support, G, VOXEL, 1).rmse
        assert half < 0.5 * cut
        errors.append(cut)
    assert errors == sorted(errors)
