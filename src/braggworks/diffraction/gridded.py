"""Diffraction of homogeneous bodies on a grid, in two or three dimensions, on the CPU or a GPU.

The object is modulus x exp(i phase) on voxels, F its discrete Fourier transform with exp(-2 pi i q.r), and the label
the reciprocal-space phase (RSP), the angle of F. Arrays have axes (y, x) or (z, y, x), with the peak and the object's
centre at voxel n//2. Three ambiguities are settled: the RSP is 0 at voxel n//2 (offset); the modulus has its centre of
mass at voxel n//2 (ramp of the RSP); the phase has no linear part, by least squares weighted with the modulus (ramp of
the phase, which would only move the peak). The twin, conj(F), is the inverted and conjugated object: same intensity,
negated RSP; the label keeps the sign of the body that was drawn.

Object and pattern are exact discrete transforms of each other. Where the phase turns by more than pi from one voxel to
the next, that pattern is no longer the continuous object's, whose intensity would fall outside of the grid and folds
back into it: keep the oversampling, and with it the gradient (see `Objects`), small enough for the phases asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from braggworks.particles.bodies import Particle, View
from braggworks.particles.fields import Field

Array = NDArray[np.float64]

#: Standard deviations of the smoothed surface that the box around a body holds.
_MARGIN = 4.5
#: A padded plane stands this far out, in voxels, where it cuts nothing.
_FAR = 1e4
#: The centre of mass is measured and put back this often; each time leaves a few per cent of the error.
_CENTRINGS = 2


@dataclass(frozen=True, eq=False)
class Draw:
    """What one object is made from.

    Attributes
    ----------
    particle, view
        The body with its phase, and how it lies on the grid.
    noise
        Standard normal numbers on the voxels of the body's box (see `box_size`); None without noise on the modulus.
    """

    particle: Particle
    view: View
    noise: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Objects:
    """Objects of a few draws on a box of m voxels per axis, of which voxel m//2 is voxel n//2 of the grid.

    Attributes
    ----------
    occupancy
        Share of the body in each voxel, smoothed, shape (B, m, ..., m).
    modulus
        Occupancy, with the noise.
    phase
        In radians, same shape; meaningful where the modulus is not small.
    oversampling
        n over the extent of the support (occupancy of one half or more), shape (B, ndim), in the order of the axes.
    phase_range
        Largest minus smallest phase in the support, shape (B,), in radians.
    gradient
        Root mean square of the phase gradient in the support, shape (B,), in radians per voxel.
    """

    occupancy: Tensor
    modulus: Tensor
    phase: Tensor
    oversampling: Array
    phase_range: Array
    gradient: Array

    def select(self, rows: NDArray[np.intp]) -> Objects:
        """Return some of the objects."""
        if len(rows) == len(self.oversampling):
            return self
        chosen = torch.from_numpy(rows).to(self.phase.device)
        tensors = (self.occupancy[chosen], self.modulus[chosen], self.phase[chosen])
        return Objects(*tensors, self.oversampling[rows], self.phase_range[rows], self.gradient[rows])

    def amplitude(self, n: int) -> Tensor:
        """Return F on the grid, shape (B, n, ..., n), complex, with the RSP 0 at voxel n//2; see `transform`."""
        return transform(torch.polar(self.modulus, self.phase), n)


def box_size(particle: Particle, view: View, n: int) -> int:
    """Return the voxels per axis, even, of a centred box that holds the smoothed body; at most n."""
    corners = particle.body.vertices @ view.rotation.T
    reach = np.abs(corners).max() * _scale(particle, view, n) + _MARGIN * particle.edge + 1
    return min(n, 2 * int(np.ceil(reach)))


def make_objects(
    draws: Sequence[Draw], n: int, device: str = "cpu", dtype: torch.dtype = torch.float32, box: int | None = None
) -> Objects:
    """Put bodies on a grid.

    Parameters
    ----------
    draws
        Bodies of one dimensionality, computed together.
    n
        Voxels per axis of the pattern.
    device
        Torch's name of where to compute.
    dtype
        Precision.
    box
        Voxels per axis to compute; None takes the smallest even number that holds every body.

    Notes
    -----
    The occupancy is the product over the faces of half-spaces, each smoothed by a Gaussian: erfc(d / sqrt(2) s) / 2 at
    signed distance d. For faces at right angles, that is the convolution of the body with the Gaussian.
    """
    m = box or max(box_size(draw.particle, draw.view, n) for draw in draws)
    grid = _Batch(draws, n, m, device, dtype)
    centre = torch.zeros((len(draws), grid.ndim), dtype=torch.float64, device=device)
    occupancy = grid.occupancy(centre)
    for _ in range(_CENTRINGS):
        centre = centre - centre_of_mass(grid.noisy(occupancy))
        occupancy = grid.occupancy(centre)
    modulus, support = grid.noisy(occupancy), occupancy >= 0.5
    phase = without_ramp(grid.field(centre), modulus)
    low, high = _limits(phase, support)
    span = high - low
    # A phase that is a constant up to rounding has nothing to scale.
    factor = torch.where(span > 1e-5, grid.phase_range / span.clamp(min=1e-5), torch.zeros_like(span))
    phase = phase * _expand(factor, grid.ndim)
    return Objects(
        occupancy,
        modulus,
        phase,
        n / _extent(support),
        (span * factor).cpu().double().numpy(),
        _gradient(phase, support),
    )


def transform(objects: Tensor, n: int) -> Tensor:
    """Return F, shape (B, n, ..., n), of objects on centred boxes, shape (B, m, ..., m), zero outside.

    F is the discrete Fourier transform about voxel n//2 of both grids, not normalised, turned by the phase that makes
    it real and positive at voxel n//2. There it is the object's sum, and by Parseval the sum of |F|^2 is n^ndim times
    that of |object|^2.
    """
    ndim, m = objects.ndim - 1, objects.shape[-1]
    real = objects.real.dtype
    total = objects.to(torch.complex128).sum(dim=tuple(range(1, ndim + 1)))
    phasor = torch.where(total.abs() > 0, total.conj() / total.abs(), torch.ones_like(total)).to(objects.dtype)
    start = (n - m) // 2
    full = torch.zeros((len(objects), *(n,) * ndim), dtype=objects.dtype, device=objects.device)
    inner = (slice(None), *(slice(start, start + m),) * ndim)
    # Shifts by n//2 of an even n are alternating signs on the other side of the transform.
    signs = _alternating(n, ndim, real, objects.device)
    full[inner] = objects * signs[inner[1:]]
    spectrum = torch.fft.fftn(full, dim=tuple(range(1, ndim + 1)))
    turned: Tensor = spectrum * (signs * (-1) ** (ndim * (n // 2))) * _expand(phasor, ndim)
    return turned


def centre_of_mass(modulus: Tensor) -> Tensor:
    """Return the centre of mass, shape (B, ndim), float64, of moduli (B, m, ..., m), in voxels from voxel m//2."""
    ndim, m = modulus.ndim - 1, modulus.shape[-1]
    axis = (torch.arange(m, device=modulus.device) - m // 2).double()
    sums = [modulus.sum(dim=[d for d in range(1, ndim + 1) if d != k + 1]).double() for k in range(ndim)]
    return torch.stack([(line @ axis) / line.sum(dim=1) for line in sums], dim=1)


def without_ramp(phase: Tensor, weight: Tensor) -> Tensor:
    """Return phases, shape (B, m, ..., m), without constant and linear part, by least squares with these weights."""
    ndim, m, shape = phase.ndim - 1, phase.shape[-1], phase.shape
    axis = (torch.arange(m, device=phase.device, dtype=phase.dtype) - m // 2) / (m / 2)
    ramps = torch.stack([torch.ones(shape[1:], dtype=phase.dtype, device=phase.device)])
    ramps = torch.cat([ramps, torch.stack(torch.meshgrid(*[axis] * ndim, indexing="ij"))]).reshape(ndim + 1, -1)
    flat, weights = phase.reshape(len(phase), -1), weight.reshape(len(phase), -1)
    gram = torch.stack([(weights * ramp) @ ramps.T for ramp in ramps], dim=1).double()
    right = ((weights * flat) @ ramps.T).double()
    solution: Tensor = torch.linalg.solve(gram, right.unsqueeze(-1)).squeeze(-1).to(phase.dtype)
    return (flat - solution @ ramps).reshape(shape)


class _Batch:
    """The draws as tensors; vectors in the order of the grid's axes, lengths in voxels."""

    def __init__(self, draws: Sequence[Draw], n: int, m: int, device: str, dtype: torch.dtype) -> None:
        self.ndim, self.m, self.device, self.dtype = draws[0].particle.body.ndim, m, device, dtype
        self.axis = torch.arange(m, device=device, dtype=torch.float64) - m // 2
        turned = [draw.particle.body.turned(draw.view.rotation) for draw in draws]
        scales = [_scale(draw.particle, draw.view, n) for draw in draws]
        self.scale = self._tensor(np.array(scales))
        self.normals = self._tensor(_padded([body.normals[:, ::-1] for body in turned], 0.0))
        distances = [body.distances * scale for body, scale in zip(turned, scales, strict=True)]
        self.distances = self._tensor(_padded(distances, _FAR))
        self.edge = self._tensor(np.array([draw.particle.edge for draw in draws]))
        self.phase_range = self._tensor(np.array([draw.particle.phase_range for draw in draws])).to(dtype)
        self.fields = [draw.particle.field.turned(draw.view.rotation) for draw in draws]
        self.noise = self._noise(draws)

    def _tensor(self, values: NDArray[np.float64] | NDArray[np.complex128]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def _noise(self, draws: Sequence[Draw]) -> Tensor | None:
        """Return the relative deviations of the moduli, or None where no draw has any."""
        if all(draw.noise is None for draw in draws):
            return None
        deviation = np.zeros((len(draws), *(self.m,) * self.ndim))
        for row, draw in zip(deviation, draws, strict=True):
            if draw.noise is not None:
                start = self.m // 2 - len(draw.noise) // 2
                row[(slice(start, start + len(draw.noise)),) * self.ndim] = draw.particle.noise * draw.noise
        return self._tensor(deviation).to(self.dtype)

    def noisy(self, occupancy: Tensor) -> Tensor:
        return occupancy if self.noise is None else (occupancy * (1 + self.noise)).clamp(min=0)

    def occupancy(self, centre: Tensor) -> Tensor:
        """Return the smoothed occupancy, shape (B, m, ..., m), of the bodies with their centres at `centre`."""
        result = torch.ones((len(centre), *(self.m,) * self.ndim), dtype=self.dtype, device=self.device)
        factor = 1 / (np.sqrt(2) * self.edge)
        offsets = self.distances + torch.einsum("bpd,bd->bp", self.normals, centre)
        for plane in range(self.normals.shape[1]):
            # One term per axis, largest tensors last; signed distances in units of sqrt(2) s.
            terms = (self.normals[:, plane, :, None] * self.axis) * factor[:, None, None]
            terms[:, 0] -= (offsets[:, plane] * factor)[:, None]
            result *= _outer_sum(terms.to(self.dtype)).erfc_().mul_(0.5)
        return result

    def field(self, centre: Tensor) -> Tensor:
        """Return the fields, shape (B, m, ..., m), unnormalised, of bodies with their centres at `centre`."""
        points = (self.axis - centre[:, :, None]) / self.scale[:, None, None]
        waves = self._tensor(_padded([field.waves[:, ::-1] for field in self.fields], 0.0))
        coefficients = self._tensor(_padded([field.coefficients for field in self.fields], 0.0))
        gaussians = [self._tensor(values) for values in _gaussians(self.fields)]
        value = torch.zeros((len(centre), *(self.m,) * self.ndim), dtype=self.dtype, device=self.device)
        if waves.shape[1]:
            factors = torch.exp(1j * waves[..., None] * points[:, None])
            factors[:, :, 0] *= coefficients[..., None]
            left, right = _two_factors(factors)
            # The real part of a complex product, as one product of real matrices.
            value += self._product(torch.cat([left.real, -left.imag], 1), torch.cat([right.real, right.imag], 1))
        centres, widths, heights = gaussians
        if centres.shape[1]:
            steps = (points[:, None] - centres[..., None]) / widths[..., None, None]
            factors = torch.exp(-(steps**2) / 2)
            factors[:, :, 0] *= heights[..., None]
            value += self._product(*_two_factors(factors))
        return value

    def _product(self, left: Tensor, right: Tensor) -> Tensor:
        product = left.to(self.dtype).transpose(1, 2) @ right.to(self.dtype)
        return product.reshape(len(left), *(self.m,) * self.ndim)


def _scale(particle: Particle, view: View, n: int) -> float:
    """Return the voxels per unit of length, so that the largest extent on the grid's axes is n / ratio."""
    return float(n / view.ratio / np.ptp(particle.body.vertices @ view.rotation.T, axis=0).max())


def _padded(rows: Sequence[NDArray[np.float64] | NDArray[np.complex128]], fill: float) -> NDArray[np.float64]:
    """Stack arrays of different lengths, the shorter ones filled up."""
    longest = max(map(len, rows))
    result = np.full((len(rows), longest, *rows[0].shape[1:]), fill, dtype=rows[0].dtype)
    for target, row in zip(result, rows, strict=True):
        target[: len(row)] = row
    return result


def _gaussians(fields: Sequence[Field]) -> tuple[Array, Array, Array]:
    centres = _padded([field.centres[:, ::-1] for field in fields], 0.0)
    return centres, _padded([field.widths for field in fields], 1.0), _padded([field.heights for field in fields], 0.0)


def _outer_sum(terms: Tensor) -> Tensor:
    """Return sums of one term per axis: (B, ndim, m) to (B, m, ..., m)."""
    total = terms[:, 0]
    for term in terms.unbind(1)[1:]:
        total = total.unsqueeze(-1) + term.reshape(len(term), *(1,) * (total.ndim - 1), -1)
    return total


def _two_factors(factors: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply all axes but the last: (B, K, ndim, m) to (B, K, m^(ndim-1)) and (B, K, m)."""
    *first, last = factors.unbind(2)
    left = first[0]
    for factor in first[1:]:
        left = (left.unsqueeze(-1) * factor.unsqueeze(-2)).flatten(2)
    return left, last


def _expand(values: Tensor, ndim: int) -> Tensor:
    return values.reshape(-1, *(1,) * ndim)


def _alternating(n: int, ndim: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return (-1)^(sum of the indices), shape (n, ..., n)."""
    line = 1 - 2 * (torch.arange(n, device=device) % 2).to(dtype)
    result = line
    for _ in range(ndim - 1):
        result = result.unsqueeze(-1) * line
    return result


def _limits(phase: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
    inside = tuple(range(1, phase.ndim))
    low = torch.where(support, phase, torch.inf).amin(dim=inside)
    high = torch.where(support, phase, -torch.inf).amax(dim=inside)
    return low, high


def _extent(support: Tensor) -> Array:
    """Return the voxels, shape (B, ndim), from the first to the last of each support along each axis."""
    ndim, m = support.ndim - 1, support.shape[-1]
    inside = support.to(torch.uint8)
    lines = [inside.amax(dim=[d for d in range(1, ndim + 1) if d != k + 1]) for k in range(ndim)]
    # argmax gives the first of equal values.
    extents = [m - line.argmax(dim=1) - line.flip(1).argmax(dim=1) for line in lines]
    return np.asarray(torch.stack(extents, dim=1).cpu().double().numpy())


def _gradient(phase: Tensor, support: Tensor) -> Array:
    """Return the root mean square over neighbours in the support, with the axes' squares added."""
    total = torch.zeros(len(phase), dtype=torch.float64, device=phase.device)
    inside = tuple(range(1, phase.ndim))
    for axis in inside:
        both = support.narrow(axis, 1, support.shape[axis] - 1) & support.narrow(axis, 0, support.shape[axis] - 1)
        squares = torch.where(both, phase.diff(dim=axis) ** 2, 0.0).sum(dim=inside).double()
        total += squares / both.sum(dim=inside).clamp(min=1)
    return np.asarray(total.sqrt().cpu().numpy())
