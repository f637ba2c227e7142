"""Memory that runs out: telling it from other errors, and going on in smaller pieces where pieces are a choice.

torch, numpy, numba and the system each say it in their own way, some of them as a plain RuntimeError.
"""

from __future__ import annotations

import errno
import functools
import re
import sys
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from dynml.errors import DataWarning

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_IN_WORDS = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|not enough memory|unable to allocate|bad_alloc|"
    r"(?:CUBLAS|CUDNN|CUSOLVER)_STATUS_ALLOC_FAILED",
    flags=re.IGNORECASE,
)
_SIZE = re.compile(r"(?:tried to allocate|unable to allocate) ([\d.]+) ?(bytes|B|[KMGTPE]i?B)\b", flags=re.IGNORECASE)
_UNITS = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50, "e": 2**60}

_divisor: ContextVar[int] = ContextVar("what sizes of internal pieces are divided by", default=1)
_learnt: dict[str, int] = {}
"""Divisors that a function was found to need: the rest of a process goes on with them."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the host or of a device, ran out."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and _IN_WORDS.search(str(error)) is not None


def bytes_asked_for(error: BaseException) -> int | None:
    """Size of the allocation that failed, where the error says it."""
    found = _SIZE.search(str(error))
    return None if found is None else int(float(found[1]) * _UNITS[found[2][0].lower()])


def smaller(size: int) -> int:
    """Size of an internal piece: the usual one, or a part of it within a function that ran out of memory before."""
    return max(1, size // _divisor.get())


def in_smaller_pieces(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function that runs out of memory go on, once, with internal pieces (`smaller`) of half the size.

    What it gives must not depend on the pieces but for rounding, and calling it again must be harmless.
    """
    name = function.__qualname__

    @functools.wraps(function)
    def tried(*arguments: Arguments.args, **settings: Arguments.kwargs) -> Result:
        divisor = _learnt.get(name, 1)
        try:
            return _with_divisor(divisor, lambda: function(*arguments, **settings))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # The error is gone here, and with it what its traceback held of the memory.
        release_device_memory()
        result = _with_divisor(2 * divisor, lambda: function(*arguments, **settings))
        if divisor == _learnt.get(name, 1):
            _learnt[name] = 2 * divisor
            warnings.warn(
                f"Memory ran out in {name}, which continues with blocks of 1/{2 * divisor} of their usual size.",
                DataWarning,
                stacklevel=2,
            )
        return result

    return tried


def _with_divisor(divisor: int, function: Callable[[], Result]) -> Result:
    token = _divisor.set(divisor)
    try:
        return function()
    finally:
        _divisor.reset(token)


def release_device_memory() -> None:
    """Give back what torch keeps of a device's memory without using it."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.accelerator.is_available():
        return
    module = torch.get_device_module()
    # To begin with a GPU only to empty its cache would cost memory.
    if getattr(module, "is_initialized", lambda: True)() and hasattr(module, "empty_cache"):
        module.empty_cache()
