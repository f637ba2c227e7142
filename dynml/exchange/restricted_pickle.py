"""Reads a pickle that holds one NumPy array, number or text, and refuses every other before anything of it can act.

A pickle is a program: it names functions and calls them. Here two fences stand before it. Its instructions are looked
through first, and only those that arrays, numbers and texts need are let through, in a number that such a pickle can
have. Then each name in it stands for a maker of this module, never for the function of that name; a name that is not
known is refused. NumPy itself sees checked bytes, types and shapes only.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError

PlainValue = NDArray[Any] | int | float | str
"""What a pickle may hold; scalars of NumPy come as plain numbers and texts."""

_MOST_INSTRUCTIONS = 300
_TEXT_OF_INSTRUCTIONS = (
    "PROTO FRAME STOP MARK GLOBAL STACK_GLOBAL REDUCE BUILD NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG "
    "LONG1 FLOAT BINFLOAT UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8 "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET"
)
_INSTRUCTIONS = frozenset(_TEXT_OF_INSTRUCTIONS.split())
_CODE_OF_DTYPE = re.compile(r"[biu]1|[iuf]2|[iuf]4|[iuf]8|U[1-9]\d{0,6}")


def load_plain_pickle(content: bytes, where: str) -> PlainValue:
    """Read one array, number or text.

    Parameters
    ----------
    content : bytes
        A pickle of any protocol, of any version of NumPy.
    where : str
        The file and the member of it, for the message.

    Returns
    -------
    array, int, float or str
        Arrays of booleans, whole numbers, floats or text; not to be written to.

    Raises
    ------
    DataError
        When it is damaged or holds anything else; nothing of it was executed then.
    """
    try:
        _check_instructions(content)
        return _plain(_Unpickler(io.BytesIO(content)).load())
    except _RefusedError as error:
        raise DataError(
            f"{where} was refused and nothing of it executed: it {error}, but must hold one NumPy array, number or "
            "text."
        ) from error
    except Exception as error:
        raise DataError(f"{where} is damaged or no pickle of one NumPy array, number or text.") from error


class _RefusedError(Exception):
    """Says what a pickle holds or asks for."""


def _check_instructions(content: bytes) -> None:
    for number, (instruction, argument, _) in enumerate(pickletools.genops(content)):
        if instruction.name not in _INSTRUCTIONS:
            raise _RefusedError(f"holds the instruction {instruction.name}")
        # An index far beyond the instructions would only make Python reserve memory for it.
        far = instruction.name.endswith("PUT") and int(argument or 0) > _MOST_INSTRUCTIONS
        if number >= _MOST_INSTRUCTIONS or far:
            raise _RefusedError("is longer than such a pickle can be")


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> _Name:
        """Give the stand-in of a name."""
        try:
            return _NAMES[module, name]
        except KeyError:
            raise _RefusedError(f"asks for {f'{module}.{name}'[:80]!r}") from None


class _Name:
    """Stands for a name in a pickle; can be called, but not changed."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        raise _RefusedError("changes a function")


class _Dtype:
    """A type of numbers or text, as its code and its byte order say."""

    __slots__ = ("_code", "_order")

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:
        if not isinstance(code, str) or not _CODE_OF_DTYPE.fullmatch(code):
            raise _RefusedError(f"holds values of the type {code[:20] if isinstance(code, str) else type(code)!r}")
        self._code, self._order = code, "="

    def __setstate__(self, state: Any) -> None:
        version, order, subtype, names, fields = state[:5]
        if version != 3 or order not in ("<", ">", "=", "|") or (subtype, names, fields) != (None, None, None):
            raise _RefusedError("holds values of several parts")
        self._order = order

    def as_numpy(self) -> np.dtype[Any]:
        return np.dtype(self._code if self._order == "|" else self._order + self._code)


class _Array:
    """An array that gets its content by the state that follows it."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: NDArray[Any] | None = None

    def __setstate__(self, state: Any) -> None:
        version, shape, dtype, is_fortran, data = state
        if version != 1:
            raise _RefusedError("holds an array of an unknown version")
        self.value = _array(data, dtype, shape, "F" if is_fortran else "C")


def _array(data: object, dtype: object, shape: object, order: object, axis_order: object = None) -> NDArray[Any]:
    """Lay bytes out as an array; their number must be what type and shape say."""
    if not isinstance(data, (bytes, bytearray)) or not isinstance(dtype, _Dtype):
        raise _RefusedError("holds an array that is not of numbers or text")
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise _RefusedError("holds an array without a proper shape")
    numpy_dtype = dtype.as_numpy()
    if math.prod(shape) * numpy_dtype.itemsize != len(data):
        raise _RefusedError(f"holds {len(data)} bytes for an array of another size")
    flat = np.frombuffer(bytes(data), numpy_dtype) if data else np.empty(0, numpy_dtype)
    flat = flat.astype(numpy_dtype.newbyteorder("="), copy=False)
    if order == "K" and isinstance(axis_order, tuple):
        return flat.reshape(shape).transpose(axis_order)
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _reconstructed(kind: object, shape: object, code: object) -> _Array:
    if kind is not _NDARRAY or shape != (0,):
        raise _RefusedError("holds an array of a kind of its own")
    return _Array()


def _frombuffer(data: object, dtype: object, shape: object, order: object, axis_order: object = None) -> _Array:
    array = _Array()
    array.value = _array(data, dtype, shape, order, axis_order)
    return array


def _scalar(dtype: object, data: object = b"") -> _Array:
    return _frombuffer(data, dtype, (), "C")


def _encoded(text: object, encoding: object) -> bytes:
    """Bytes as the oldest protocols write them: as text in Latin-1."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _RefusedError("encodes text")
    return text.encode("latin1")


def _uncallable(*_: object) -> NoReturn:
    raise _RefusedError("makes an array by itself")


_NDARRAY = _Name(_uncallable)
_NAMES = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Name(_Dtype),
    ("_codecs", "encode"): _Name(_encoded),
    **{
        (f"numpy.{core}.{module}", name): _Name(make)
        for core in ("core", "_core")
        for module, name, make in (
            ("multiarray", "_reconstruct", _reconstructed),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _frombuffer),
        )
    },
}


def _plain(value: object) -> PlainValue:
    if isinstance(value, _Array) and value.value is not None:
        return value.value.item() if value.value.ndim == 0 else value.value
    if isinstance(value, (int, float, str)):
        return value
    raise _RefusedError(f"holds {type(value).__name__.lstrip('_').lower()!r}")
