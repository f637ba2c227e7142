"""Products of small tiles on vectors of the processor's width, and moving numbers in and out of the cache, unchecked.

`product_1` to `product_4` keep a tile of TILE_ROWS rows by one to four vectors in registers while they run along the
depth. A sum goes along the depth in one order whatever the tile, so that its number does not depend on its neighbours.

numba's cache on disk knows the file of a kernel alone: after a change here, renew the checksums in `ops/gaussian.py`
and in `ops/lstm/kernel.py`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, types
from numba.core import cgutils

from dynml.ops.lanes.vectors import VECTOR_BYTES

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
