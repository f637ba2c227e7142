"""Sigmoid and tanh on vectors of SIMD lanes.

Both come from e^x - 1: with n the whole number nearest to x / log 2 and r = x - n log 2, the polynomial of degree 6 in
r is off by less than 1e-8, and 2^n is made of n's bits (Cephes, S. L. Moshier 1989, goes the same way). They are right
to 3 units in the last place, and NaN stays NaN.

numba's cache on disk knows the file of a kernel alone: after a change here, renew the checksum in `kernel.py`.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, njit
from numba.extending import overload

from dynml.ops.lanes.vectors import Lanes, splat

intrinsic: Any = extending.intrinsic


@intrinsic
def _quotient(typing_context, left, right):  # type: ignore  # noqa
    def generate(context, builder, signature, arguments):  # type: ignore  # noqa
        return builder.fdiv(*arguments)

    return left(left, right), generate


@overload(operator.truediv)
def _overload_divide(left, right):  # type: ignore  # noqa
    return (lambda left, right: _quotient(left, right)) if isinstance(left, Lanes) and left == right else None


@intrinsic
def _within(typing_context, value, bound):  # type: ignore  # noqa
    """Lanes between -bound and bound; NaN stays."""

    def generate(context, builder, signature, arguments):  # type: ignore  # noqa
        value, bound = arguments
        lower = builder.fneg(bound)
        value = builder.select(builder.fcmp_ordered(">", value, bound), bound, value)
        return builder.select(builder.fcmp_ordered("<", value, lower), lower, value)

    return value(value, bound), generate


@intrinsic
def _power_of_two(typing_context, shifted):  # type: ignore  # noqa
    """2^n from n + _SHIFT, whose last bits are those of n."""

    def generate(context, builder, signature, arguments):  # type: ignore  # noqa
        vector = arguments[0].type
        whole = ir.VectorType(ir.IntType(32), vector.count)
        bits = builder.shl(builder.bitcast(arguments[0], whole), ir.Constant(whole, [23] * vector.count))
        one = ir.Constant(whole, [127 << 23] * vector.count)
        return builder.bitcast(builder.add(bits, one), vector)

    return shifted(shifted), generate


_SHIFT = np.float32(1.5 * 2**23)  # sums with it are rounded to whole numbers
_PER_LOG_TWO = np.float32(1.4426950408889634)
_LOG_TWO_HIGH = np.float32(0.693359375)  # few enough bits for an exact product with n
_LOG_TWO_LOW = np.float32(-2.12194440054690583e-4)
_ONE, _TWO = np.float32(1), np.float32(2)
_SIGMOID_BOUND, _TANH_BOUND = np.float32(87), np.float32(40)
_Q0, _Q1, _Q2, _Q3, _Q4 = (
    np.float32(number) for number in (0.5, 0.16666514, 0.041666187, 0.00836959, 0.0013951701)
)  # (e^r - 1 - r) / r^2, least error times r^2 for |r| < 0.35


@njit(inline="always")
def _exponential(value):  # type: ignore  # noqa
    """Two vectors s and p: e^value = s (1 + p)."""
    shifted = value * splat(_PER_LOG_TWO) + splat(_SHIFT)
    n = shifted - splat(_SHIFT)
    r = value - n * splat(_LOG_TWO_HIGH) - n * splat(_LOG_TWO_LOW)
    q = (((splat(_Q4) * r + splat(_Q3)) * r + splat(_Q2)) * r + splat(_Q1)) * r + splat(_Q0)
    return _power_of_two(shifted), r + r * r * q


@njit(inline="always")
def sigmoid(value):  # type: ignore  # noqa
    """1 / (1 + e^-value)."""
    scale, p = _exponential(_within(splat(np.float32(0)) - value, splat(_SIGMOID_BOUND)))
    return splat(_ONE) / (splat(_ONE) + (scale + scale * p))


@njit(inline="always")
def hyperbolic_tangent(value):  # type: ignore  # noqa
    """(e^(2 value) - 1) / (e^(2 value) + 1)."""
    scale, p = _exponential(_within(value + value, splat(_TANH_BOUND)))
    e = scale * p + (scale - splat(_ONE))
    return e / (e + splat(_TWO))
