"""Vectors of SIMD lanes as values inside numba's compiled loops.

Sixteen small matrices are factored at once when each of their numbers is a vector with one lane a matrix. numba leaves
vectors to its compiler, which finds them in plain loops but does not keep a block of them in registers. `Lanes` gives
them a type: `load` and `store` move one between an array and a register, `+`, `-` and `*` work lane by lane (a product
and a sum become one fused instruction). Everything here goes through numba's public extension interface and runs on
any processor; the width is only chosen for the one at hand.

numba's cache on disk knows the file of a kernel alone: after a change here, renew the checksums in `ops/gaussian.py`,
`ops/lstm/kernel.py` and `ops/mixture/mixture_gaussian_kernel.py`.
"""

from __future__ import annotations

import operator
from typing import Any

import llvmlite.binding  # type: ignore[import-untyped]
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, types
from numba.core import cgutils
from numba.extending import models, overload, register_model

intrinsic: Any = extending.intrinsic


def _register_bytes() -> int:
    features = llvmlite.binding.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


VECTOR_BYTES = _register_bytes()
"""Width of one vector: that of this processor's registers."""


class Lanes(types.Type):
    """Type of a vector of float32 or float64, as wide as a register."""

    def __init__(self, scalar: types.Float) -> None:
        self.scalar = scalar
        self.count = VECTOR_BYTES * 8 // scalar.bitwidth
        super().__init__(name=f"Lanes({scalar}, {self.count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, front_end_type: Lanes) -> None:
        scalar = ir.FloatType() if front_end_type.scalar.bitwidth == 32 else ir.DoubleType()
        super().__init__(manager, front_end_type, ir.VectorType(scalar, front_end_type.count))


def _address(context: Any, builder: Any, kinds: Any, values: Any, lanes: Lanes) -> Any:
    """Pointer to a vector of an array; `values` begin with the array and the position counted in vectors."""
    (array_type, index_type, *_), (array, index, *_) = kinds, values
    whole = context.cast(builder, index, index_type, types.intp)
    first = builder.mul(whole, ir.Constant(whole.type, lanes.count))
    pointer = builder.gep(context.make_array(array_type)(context, builder, array).data, [first])
    return builder.bitcast(pointer, context.get_value_type(lanes).as_pointer())


@intrinsic
def load(typing_context, array, index):  # type: ignore  # noqa
    """Vector number `index` of a one-dimensional contiguous array."""
    lanes = Lanes(array.dtype)

    def generate(context, builder, signature, arguments):  # type: ignore  # noqa
        pointer = _address(context, builder, signature.args, arguments, lanes)
        return builder.load(pointer, align=lanes.scalar.bitwidth // 8)

    return lanes(array, index), generate


@intrinsic
def store(typing_context, array, index, value):  # type: ignore  # noqa
    """Put a vector at position `index`, counted in vectors, of a one-dimensional contiguous array."""

    def generate(context, builder, signature, arguments):  # type: ignore  # noqa
        pointer = _address(context, builder, signature.args, arguments, value)
        builder.store(arguments[2], pointer, align=value.scalar.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, index, value), generate


@intrinsic
def splat(typing_context, scalar):  # type: ignore  # noqa
    """Vector with the same number in every lane."""
    lanes = Lanes(scalar)

    def generate(context, builder, signature, arguments):  # type: ignore  # noqa
        vector = context.get_value_type(lanes)
        blank = ir.Constant(vector, ir.Undefined)
        first = builder.insert_element(blank, arguments[0], ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes.count), [0] * lanes.count)
        return builder.shuffle_vector(first, blank, zeros)

    return lanes(scalar), generate


@intrinsic
def inverse_root(typing_context, value, smallest):  # type: ignore  # noqa
    """1 / sqrt(value) in lanes where value > smallest, NaN in the others."""

    def generate(context, builder, signature, arguments):  # type: ignore  # noqa
        vector = arguments[0].type
        name = f"llvm.sqrt.v{vector.count}f{value.scalar.bitwidth}"
        root = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector]), name)
        inverse = builder.fdiv(ir.Constant(vector, [1.0] * vector.count), builder.call(root, arguments[:1]))
        nan = ir.Constant(vector, [float("nan")] * vector.count)
        return builder.select(builder.fcmp_ordered(">", *arguments), inverse, nan)

    return value(value, smallest), generate


@intrinsic
def lane_sum(typing_context, value):  # type: ignore  # noqa
    """Sum over the lanes, as a number."""

    def generate(context, builder, signature, arguments):  # type: ignore  # noqa
        vector = arguments[0].type
        scalar = vector.element
        name = f"llvm.vector.reduce.fadd.v{vector.count}f{value.scalar.bitwidth}"
        kind = ir.FunctionType(scalar, [scalar, vector])
        total = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(total, [ir.Constant(scalar, 0.0), arguments[0]], fastmath=("reassoc",))

    return value.scalar(value), generate


def _lane_by_lane(instruction: str) -> Any:
    @intrinsic
    def operation(typing_context, left, right):  # type: ignore  # noqa
        def generate(context, builder, signature, arguments):  # type: ignore  # noqa
            return getattr(builder, instruction)(*arguments, flags=("contract",))

        return left(left, right), generate

    return operation


_add, _subtract, _multiply = _lane_by_lane("fadd"), _lane_by_lane("fsub"), _lane_by_lane("fmul")


# numba compares the arguments of an overload with those of its implementation, annotations included: hence none here.


@overload(operator.add)
def _overload_add(left, right):  # type: ignore  # noqa
    return (lambda left, right: _add(left, right)) if isinstance(left, Lanes) and left == right else None


@overload(operator.sub)
def _overload_subtract(left, right):  # type: ignore  # noqa
    return (lambda left, right: _subtract(left, right)) if isinstance(left, Lanes) and left == right else None


@overload(operator.mul)
def _overload_multiply(left, right):  # type: ignore  # noqa
    return (lambda left, right: _multiply(left, right)) if isinstance(left, Lanes) and left == right else None
