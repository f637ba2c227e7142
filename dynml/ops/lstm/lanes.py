"""What an LSTM's compiled loops need of SIMD lanes: products of small tiles, sigmoid and tanh.

`product` keeps a tile of TILE_ROWS rows by one to four vectors in registers while it runs along the depth. A sum goes
along the depth in one order whatever the tile, so that a window's numbers do not depend on its neighbours.

Sigmoid and tanh come from e^x - 1: with n the whole number nearest to x / log 2 and r = x - n log 2, the polynomial of
degree 6 in r is off by less than 1e-8, and 2^n is made of n's bits (Cephes, S. L. Moshier 1989, goes the same way).
Both are right to 3 units in the last place, and NaN stays NaN.

numba's cache on disk knows the file of a kernel alone: after a change here, renew the checksum in `kernel.py`.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, njit, types
from numba.core import cgutils
from numba.extending import overload

from dynml.ops.mixture.mixture_gaussian_lanes import VECTOR_BYTES, Lanes, splat

intrinsic: Any = extending.intrinsic

LANES = VECTOR_BYTES // 4
"""Numbers of float32 in a vector."""

TILE_ROWS = 4 if VECTOR_BYTES == 64 else 2
"""Rows of a tile: with four vectors a row, 16 sums in 32 registers, or 8 in 16."""


def _product_of(n_vectors: int) -> Any:
    @intrinsic
    def product(typing_context, sums, at, sums_step, left, row_start, row_step, step, right, start, right_step, depth):  # type: ignore  # noqa
        """sums[at + r sums_step + l] += sum_d left[row_start + r row_step + d step] right[start + d right_step + l].

        Rows r below TILE_ROWS, columns l below n_vectors LANES; all arrays of one dimension, contiguous.
        """

        def generate(context, builder, signature, arguments):  # type: ignore  # noqa
            kinds = signature.args
            arrays = [context.make_array(kinds[i])(context, builder, arguments[i]).data for i in (0, 3, 7)]
            at, sums_step, row_start, row_step, step, start, right_step, depth = (
                context.cast(builder, arguments[i], kinds[i], types.intp) for i in (1, 2, 4, 5, 6, 8, 9, 10)
            )
            vector, zero = ir.VectorType(ir.FloatType(), LANES), ir.Constant(ir.IntType(32), 0)
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)

            def pointer(array, *terms):  # type: ignore  # noqa
                for term in terms:
                    array = builder.gep(array, [term])
                return array

            def whole(number):  # type: ignore  # noqa
                return ir.Constant(ir.IntType(64), number)

            addresses = [
                [
                    builder.bitcast(
                        pointer(arrays[0], at, builder.mul(sums_step, whole(row)), whole(column * LANES)),
                        vector.as_pointer(),
                    )
                    for column in range(n_vectors)
                ]
                for row in range(TILE_ROWS)
            ]
            totals = [[cgutils.alloca_once(builder, vector) for _ in row] for row in addresses]
            for row_totals, row_addresses in zip(totals, addresses):
                for total, address in zip(row_totals, row_addresses):
                    builder.store(builder.load(address, align=4), total)
            rows = [pointer(arrays[1], row_start, builder.mul(row_step, whole(row))) for row in range(TILE_ROWS)]
            first = pointer(arrays[2], start)
            with cgutils.for_range(builder, depth) as loop:
                here = pointer(first, builder.mul(loop.index, right_step))
                columns = [
                    builder.load(builder.bitcast(pointer(here, whole(column * LANES)), vector.as_pointer()), align=4)
                    for column in range(n_vectors)
                ]
                along = builder.mul(loop.index, step)
                for row, row_totals in zip(rows, totals):
                    number = builder.load(pointer(row, along))
                    blank = builder.insert_element(ir.Constant(vector, ir.Undefined), number, zero)
                    factor = builder.shuffle_vector(blank, ir.Constant(vector, ir.Undefined), zeros)
                    for column, total in zip(columns, row_totals):
                        term = builder.fmul(factor, column, flags=("contract",))
                        builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
            for row_totals, row_addresses in zip(totals, addresses):
                for total, address in zip(row_totals, row_addresses):
                    builder.store(builder.load(total), address, align=4)
            return context.get_dummy_value()

        numbers = (sums, at, sums_step, left, row_start, row_step, step, right, start, right_step, depth)
        return types.void(*numbers), generate

    return product


product_1, product_2, product_3, product_4 = (_product_of(n_vectors) for n_vectors in (1, 2, 3, 4))


@intrinsic
def copy(typing_context, target, to, values, start, count):  # type: ignore  # noqa
    """Do target[to : to + count] = values[start : start + count] for flat arrays that do not overlap, unchecked."""

    def generate(context, builder, signature, arguments):  # type: ignore  # noqa
        kinds = signature.args
        to, start, count = (context.cast(builder, arguments[i], kinds[i], types.intp) for i in (1, 3, 4))
        target, values = (
            builder.gep(context.make_array(kinds[i])(context, builder, arguments[i]).data, [first])
            for i, first in ((0, to), (2, start))
        )
        cgutils.raw_memcpy(builder, target, values, count, kinds[0].dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(target, to, values, start, count), generate


@intrinsic
def fetch(typing_context, array, index):  # type: ignore  # noqa
    """Ask for vector number `index` of a flat array to be brought into the cache."""

    def generate(context, builder, signature, arguments):  # type: ignore  # noqa
        (array_type, index_type), (array, index), whole = signature.args, arguments, ir.IntType(32)
        first = builder.mul(context.cast(builder, index, index_type, types.intp), ir.Constant(ir.IntType(64), LANES))
        pointer = builder.gep(context.make_array(array_type)(context, builder, array).data, [first])
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, whole, whole, whole])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [builder.bitcast(pointer, byte), *(ir.Constant(whole, n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, index), generate


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
