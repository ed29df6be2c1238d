"""Smooth random scalar fields, in two or three dimensions: phases of bodies, or components of a displacement."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from braggworks.campaigns import FieldKind

Array = NDArray[np.float64]

#: Distance of a Gaussian's centre from the origin at most, and its standard deviation, in half extents of the body.
GAUSSIAN_CENTRE = 0.8
GAUSSIAN_WIDTH = (0.35, 0.9)
#: Period of a cosine, in half extents of the body: one to two body lengths.
COSINE_PERIOD = (2.0, 4.0)
#: Plane waves whose sum stands for a Gaussian random field.
WAVES = 128


@dataclass(frozen=True, eq=False)
class Field:
    """A sum of plane waves and isotropic Gaussians: sum_m Re(c_m exp(i k_m.r)) + sum_g h_g exp(-|r - p_g|^2 / 2 s_g^2).

    Attributes
    ----------
    waves
        Wave vectors k, shape (M, ndim), in radians per unit length.
    coefficients
        Complex coefficients c, shape (M,).
    centres, widths, heights
        Positions p, shape (K, ndim), standard deviations s, shape (K,), and heights h, shape (K,), of the Gaussians.

    Notes
    -----
    Every term is a product of one factor per axis, whatever the rotation, so that a field on a grid is a few products
    of small matrices (see `braggworks.diffraction.gridded`).
    """

    waves: Array
    coefficients: NDArray[np.complex128]
    centres: Array
    widths: Array
    heights: Array

    def __call__(self, points: Array) -> Array:
        """Return the field, shape (N,), at points, shape (N, ndim), in units in which the body spans about [-1, 1]."""
        points = np.asarray(points, dtype=np.float64)
        value = np.zeros(len(points))
        for wave, coefficient in zip(self.waves, self.coefficients, strict=True):
            value += (coefficient * np.exp(1j * (points @ wave))).real
        for centre, width, height in zip(self.centres, self.widths, self.heights, strict=True):
            value += height * np.exp(-((points - centre) ** 2).sum(axis=1) / (2 * width**2))
        return value

    def turned(self, rotation: Array) -> Field:
        """Return the field that turns with its body: its value at ``rotation @ r`` is this one's at r.

        Parameters
        ----------
        rotation
            Proper or improper rotation, shape (ndim, ndim).
        """
        return replace(self, waves=self.waves @ rotation.T, centres=self.centres @ rotation.T)


def draw_field(
    kind: FieldKind, rng: np.random.Generator, ndim: int, correlation: tuple[float, float] = (0.2, 0.6)
) -> Field:
    """Draw a smooth field, unnormalised; the caller takes off the linear part and scales the range.

    Parameters
    ----------
    kind
        ``gaussians``: sum of two Gaussians of either sign; ``cosines``: sum of two cosines of any direction;
        ``random_field``: Gaussian random field of covariance exp(-|r|^2 / 2 l^2); ``none``: zero.
    rng
        Gives the parameters.
    ndim
        Number of dimensions, 2 or 3.
    correlation
        Smallest and largest correlation length l of the random field, in units of the body's largest extent (which
        is 2 units of the points); l is uniform between the two.

    Notes
    -----
    The random field is the spectral sum of `WAVES` plane waves, whose wave vectors follow the covariance's Fourier
    transform, a Gaussian of standard deviation 1/l, with complex normal coefficients: Gaussian for any number of waves
    (Shinozuka and Deodatis, Appl. Mech. Rev. 44, 191 (1991), doi:10.1115/1.3119501).
    """
    if kind == "gaussians":
        direction = rng.standard_normal((2, ndim))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        centres = direction * GAUSSIAN_CENTRE * rng.random((2, 1)) ** (1 / ndim)
        widths, heights = rng.uniform(*GAUSSIAN_WIDTH, 2), rng.uniform(0.5, 1.0, 2) * rng.choice([-1.0, 1.0], 2)
        return Field(*_no_waves(ndim), centres, widths, heights)
    if kind == "cosines":
        direction = rng.standard_normal((2, ndim))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        waves = direction * (2 * np.pi / rng.uniform(*COSINE_PERIOD, (2, 1)))
        coefficients = rng.uniform(0.5, 1.0, 2) * np.exp(1j * rng.uniform(0, 2 * np.pi, 2))
        return Field(waves, coefficients, *_no_gaussians(ndim))
    if kind == "random_field":
        length = 2 * rng.uniform(*correlation)
        waves = rng.standard_normal((WAVES, ndim)) / length
        # Re(c exp(ik.r)) of variance 1/WAVES each: both parts of c are normal with that variance.
        coefficients = rng.standard_normal((WAVES, 2)) @ np.array([1, 1j]) / np.sqrt(WAVES)
        return Field(waves, coefficients, *_no_gaussians(ndim))
    return Field(*_no_waves(ndim), *_no_gaussians(ndim))


def _no_waves(ndim: int) -> tuple[Array, NDArray[np.complex128]]:
    return np.zeros((0, ndim)), np.zeros(0, dtype=np.complex128)


def _no_gaussians(ndim: int) -> tuple[Array, Array, Array]:
    return np.zeros((0, ndim)), np.zeros(0), np.zeros(0)
