"""A line through a few measurements, with what is known of it before them and how sure it is.

Bayesian linear regression with a conjugate prior: `y = a + k * x + c * z`, whose coefficients and
noise are both unknown, so that a prediction has Student's t distribution. Few points give a wide
one instead of none. It knows nothing of memory: `forecast_points` says what x, y and z are, and
`outlook` what is made of a prediction. Units are whatever the caller's are; it scales them itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

_NORMAL = NormalDist()
_WIDE = 1e6  # a prior that says nothing, in the scale of the measurements


@dataclass(frozen=True)
class Point:
    """One measurement; `weight` is how many ordinary ones it is worth."""

    x: float
    z: float
    y: float
    weight: float = 1.0


@dataclass(frozen=True)
class Belief:
    """What is expected of one coefficient before any measurement, and how far it may be off."""

    value: float
    deviation: float


@dataclass(frozen=True)
class Prediction:
    """Student's t: the middle, its scale, and how many degrees of freedom stand behind it."""

    value: float
    scale: float
    freedom: float

    def above(self, limit: float) -> float:
        """The probability of more than `limit`."""
        if self.scale <= 0.0:
            return float(self.value > limit)
        return 1.0 - _NORMAL.cdf(_normal_of((limit - self.value) / self.scale, self.freedom))

    def quantile(self, probability: float) -> float:
        """What is exceeded with a probability of one minus this."""
        return self.value + self.scale * _student_of(_NORMAL.inv_cdf(probability), self.freedom)


@dataclass(frozen=True)
class Line:
    """The fitted coefficients (a, k, c), what is known of their errors, and the noise."""

    coefficients: tuple[float, ...]
    _covariance: tuple[tuple[float, ...], ...]  # in units of the noise
    _noise: float  # its variance
    freedom: float

    def at(self, x: float, z: float = 0.0) -> Prediction:
        """What one more measurement at (x, z) would be."""
        row = (1.0, x, z)
        value = sum(c * r for c, r in zip(self.coefficients, row, strict=True))
        spread = 1.0 + sum(
            row[i] * self._covariance[i][j] * row[j] for i in range(3) for j in range(3)
        )
        return Prediction(value, math.sqrt(max(self._noise * spread, 0.0)), self.freedom)


def fit_line(
    points: Sequence[Point],
    beliefs: Sequence[Belief | None],
    *,
    noise: float,
    noise_freedom: float,
) -> Line:
    """The line through `points`, given what is believed of a, k and c; None is nothing.

    `noise` is the deviation of a measurement as it is expected before any, worth `noise_freedom`
    measurements.
    """
    scales = _scales(points)
    unit = max((abs(each.y) for each in points), default=1.0) or 1.0
    variance = (noise / unit) ** 2
    precision = [[0.0] * 3 for _ in range(3)]
    moment = [0.0] * 3
    error = 0.0
    for index, belief in enumerate(beliefs):
        value, deviation = 0.0, _WIDE
        if belief is not None:
            value = belief.value * scales[index] / unit
            deviation = max(belief.deviation * scales[index] / unit, 1e-9)
        weight = variance / deviation**2
        precision[index][index] += weight
        moment[index] += weight * value
        error += weight * value * value
    for each in points:
        row = (1.0, each.x / scales[1], each.z / scales[2])
        y = each.y / unit
        error += each.weight * y * y
        for i in range(3):
            moment[i] += each.weight * row[i] * y
            for j in range(3):
                precision[i][j] += each.weight * row[i] * row[j]
    covariance = _inverse(precision)
    scaled = [sum(covariance[i][j] * moment[j] for j in range(3)) for i in range(3)]
    error -= sum(scaled[i] * moment[i] for i in range(3))
    # A prior's misfit counts as noise: what was believed and what is seen must agree.
    freedom = noise_freedom + sum(min(each.weight, 1.0) for each in points)
    noise_now = (noise_freedom * variance + max(error, 0.0)) / freedom
    return Line(
        tuple(scaled[i] * unit / scales[i] for i in range(3)),
        tuple(tuple(covariance[i][j] / scales[i] / scales[j] for j in range(3)) for i in range(3)),
        noise_now * unit * unit,
        freedom,
    )


def _scales(points: Sequence[Point]) -> tuple[float, float, float]:
    xs, zs = (max((abs(v) for v in values), default=0.0) for values in _columns(points))
    return 1.0, xs or 1.0, zs or 1.0


def _columns(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [each.x for each in points], [each.z for each in points]


def _inverse(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """Of a symmetric positive definite 3 x 3 matrix, by elimination with pivots."""
    rows = [list(matrix[i]) + [float(i == j) for j in range(3)] for i in range(3)]
    for column in range(3):
        pivot = max(range(column, 3), key=lambda i: abs(rows[i][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        divisor = rows[column][column] or 1e-300
        rows[column] = [value / divisor for value in rows[column]]
        for other in range(3):
            factor = rows[other][column]
            if other != column and factor:
                rows[other] = [
                    a - factor * b for a, b in zip(rows[other], rows[column], strict=True)
                ]
    return [row[3:] for row in rows]


def _normal_of(t: float, freedom: float) -> float:
    """The normal deviate that is as probable as Student's `t` (Wallace 1959, off by 0.02)."""
    ratio = (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0)
    return math.copysign(ratio * math.sqrt(freedom * math.log1p(t * t / freedom)), t)


def _student_of(z: float, freedom: float) -> float:
    """The inverse of `_normal_of`."""
    ratio = (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0)
    return math.copysign(math.sqrt(freedom * math.expm1((z / ratio) ** 2 / freedom)), z)
