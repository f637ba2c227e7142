"""Mixed precision, and recurrent layers, that run on every processor.

Autocast computes an LSTM on a CPU by oneDNN, which has a kernel for bfloat16 on some processors only and refuses it on
others. There the layer is computed in float32, which autocast may do anywhere. On a GPU cuDNN computes recurrent
layers, and refuses gradients of those that are not in training: these go by torch's own kernels.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch.overrides import TorchFunctionMode

from dynml.errors import DataWarning

Result = TypeVar("Result")


@contextlib.contextmanager
def mixed_precision(device: torch.device, dtype: torch.dtype = torch.bfloat16) -> Iterator[None]:
    """Compute what is safe in `dtype` for a block, and LSTMs in float32 where the processor has no kernel for them.

    Parameters
    ----------
    device : torch.device
    dtype : torch.dtype

    Warns
    -----
    DataWarning
        Once a process: LSTMs run in float32.
    """
    with torch.autocast(device.type, dtype), runnable_lstms():
        yield


def runnable_lstms(layer: torch.nn.Module | None = None) -> contextlib.AbstractContextManager[Any]:
    """Compute LSTMs of a block in float32, if autocast would ask for a kernel that this processor lacks.

    `layer`, a recurrent one that the block runs, goes by torch's own kernels on a GPU where cuDNN has no gradients.
    """
    if layer is not None and _lacks_gradients(layer):
        return _without_cudnn()
    if not torch.is_autocast_enabled("cpu") or has_lstm_kernel(torch.get_autocast_dtype("cpu")):
        return contextlib.nullcontext()
    return _Float32Lstms()


def _lacks_gradients(layer: torch.nn.Module) -> bool:
    """Whether cuDNN (or MIOpen) would compute the layer without leaving what gradients need."""
    if layer.training or not torch.is_grad_enabled():
        return False
    return next(layer.parameters()).device.type == "cuda"


@contextlib.contextmanager
def _without_cudnn() -> Iterator[None]:
    # torch's own `cudnn.flags` would set precisions, too.
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before


def not_compiled(function: Callable[..., Result]) -> Callable[..., Result]:
    """Do what torch.compiler.disable does, but leave its import, which takes seconds, until something is compiled."""

    @functools.wraps(function)
    def called(*arguments: Any, **named: Any) -> Result:
        if torch.compiler.is_compiling():
            return torch.compiler.disable(function)(*arguments, **named)  # type: ignore[no-any-return]
        return function(*arguments, **named)

    return called


@functools.cache
@not_compiled
def has_lstm_kernel(dtype: torch.dtype) -> bool:
    """Whether this processor computes an LSTM in `dtype`, forward and backward; tried once, warned of once if not."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        layer, inputs = torch.nn.LSTM(2, 3, bidirectional=True), torch.zeros(2, 1, 2, requires_grad=True)
        try:
            with torch.autocast("cpu", dtype):
                layer(inputs)[0].float().sum().backward()
                with torch.no_grad():
                    layer(inputs)
        except RuntimeError:
            name = str(dtype).removeprefix("torch.")
            text = (
                f"This processor has no kernel for LSTMs in {name}: they run in float32, all else in mixed precision."
            )
            warnings.warn(text, DataWarning, stacklevel=3)
            return False
    return True


class _Float32Lstms(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") != "lstm":
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            return func(*(_in_float32(argument) for argument in args), **kwargs)


def _in_float32(argument: Any) -> Any:
    if isinstance(argument, list | tuple):
        return type(argument)(_in_float32(part) for part in argument)
    is_tensor_on_cpu = isinstance(argument, torch.Tensor) and argument.device.type == "cpu"
    return argument.float() if is_tensor_on_cpu and argument.is_floating_point() else argument
