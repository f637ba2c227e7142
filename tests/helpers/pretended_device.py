"""A pretended accelerator, so that code for a GPU runs in tests on machines that have none.

A tensor there says that it is on `pretended:0`. Its numbers are those of a CPU tensor that it wraps, and each operation
is computed on the CPU. What a GPU would not do is refused: an operation that mixes tensors of the device with those of
the host. What a GPU does, but waits for, is counted: each value that the host reads, with the line of the package that
asked. So a test sees wrong numbers, forgotten tensors, and waiting; speed, memory that runs out, and kernels of a GPU's
own are beyond it.

torch's registration of a Python backend lasts as long as the process, but the device is available within
`PretendedDevice` only, so that `auto` means the CPU to all other tests. Where a real accelerator is, nothing is
registered: it would be hidden.
"""

from __future__ import annotations

import collections
import contextlib
import sys
from unittest import mock

import torch
import torch.utils.backend_registration as registration
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

NAME = "pretended"
PACKAGE = "/dynml/"

READING = {"_local_scalar_dense", "item", "is_nonzero", "equal"}
SIZED_BY_VALUES = {"nonzero", "masked_select", "_unique2", "unique_consecutive", "unique_dim", "repeat_interleave"}
TAKING_HOST_LENGTHS = {"_pack_padded_sequence", "_pad_packed_sequence"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class MixedDevicesError(RuntimeError):
    """Tensors of the device and of the host met in one operation."""


class NoFloat64Error(TypeError):
    """The device, like some, has no float64, and was asked for it."""


class _Backend(registration._DummyBackendModule):
    """What torch asks of a device's module."""

    def is_available(self):
        return PretendedDevice.current is not None

    def get_amp_supported_dtype(self):
        return [torch.bfloat16, torch.float16]

    def get_rng_state(self, *_):
        return torch.get_rng_state()

    def set_rng_state(self, *_):
        pass

    def manual_seed(self, _):
        pass

    def synchronize(self, *_):
        pass


class Wrapped(torch.Tensor):
    """A tensor of the device; `values` are its numbers, on the CPU."""

    @staticmethod
    def __new__(cls, values):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=torch.device(NAME, 0),
            requires_grad=values.requires_grad,
        )

    def __init__(self, values):
        device = PretendedDevice.current
        if device is not None and not device.has_float64 and values.dtype == torch.float64:
            raise NoFloat64Error(f"float64 on a device without it, at {_asking_line()}")
        self.values_on_host = values

    def __repr__(self):
        return f"Wrapped({self.values_on_host})"

    def tolist(self):
        _note("read")
        return self.values_on_host.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _dispatched(func, args, kwargs or {})


class PretendedDevice(TorchDispatchMode):
    """A block in which the device is available; counts what the host reads of it.

    Parameters
    ----------
    has_float64 : bool
        Whether the device knows float64; some do not.
    """

    current = None

    def __init__(self, *, has_float64=True):
        super().__init__()
        self.has_float64 = has_float64
        self.reads = collections.Counter()
        self._entered = contextlib.ExitStack()

    def __enter__(self):
        register()
        assert PretendedDevice.current is None
        PretendedDevice.current = self
        self._entered.enter_context(mock.patch.object(torch.nn.Module, "to", _to_by_swapping(torch.nn.Module.to)))
        self._entered.enter_context(_MadeOfValues())
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self._entered.close()
        PretendedDevice.current = None

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _dispatched(func, args, kwargs or {})

    @property
    def n_reads(self):
        """How often the host waited for a value so far."""
        return sum(self.reads.values())


def register():
    """Let torch know the device; before the first backward pass of the process, which counts devices once."""
    if torch._C._get_privateuse1_backend_name() == NAME:
        return
    assert not torch.accelerator.is_available(), "a real accelerator would be hidden"
    registration._setup_privateuseone_for_python_backend(NAME, _Backend())


def _is_of_device(device):
    return device is not None and torch.device(device).type == NAME


def _asking_line():
    frame, elsewhere = sys._getframe(1), None
    while frame is not None:
        name = frame.f_code.co_filename
        if PACKAGE in name and "site-packages" not in name:
            return f"{name.split(PACKAGE)[-1]}:{frame.f_lineno}"
        if elsewhere is None and name != __file__ and "/torch/" not in name:
            elsewhere = f"{name.rsplit('/', 1)[-1]}:{frame.f_lineno}"
        frame = frame.f_back
    return f"outside the package, {elsewhere}"


def _note(kind):
    if PretendedDevice.current is not None:
        PretendedDevice.current.reads[f"{kind} at {_asking_line()}"] += 1


def _on_host(value):
    return value.values_on_host


def _dispatched(func, args, kwargs):
    name = func._schema.name.removeprefix("aten::")
    if name == "_to_copy":
        return _copied(func, args[0], dict(kwargs))
    if name == "copy_":
        return _copied_into(func, args, kwargs)
    tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, Wrapped)]
    if there:
        _check_not_mixed(name, args, tensors)
        if name in READING:
            _note("read")
        if name in SIZED_BY_VALUES or (name in INDEXING and _has_boolean_index(args)):
            _note("size by values")
    kwargs = dict(kwargs)
    wants = kwargs.get("device")
    if _is_of_device(wants):
        kwargs["device"] = torch.device("cpu")
        kwargs.pop("pin_memory", None)
    host_args, host_kwargs = tree_map_only(Wrapped, _on_host, (args, kwargs))
    out = KERNELS_OF_A_GPU.get(name, func)(*host_args, **host_kwargs)
    if not (_is_of_device(wants) if wants is not None else there):
        return out
    if name == "_pack_padded_sequence":
        return Wrapped(out[0]), out[1]
    return _wrapped_again(out, there)


def _wrapped_again(out, there):
    """Results on the device; an operation in place gives back the tensor that it was called with."""
    known = {id(tensor.values_on_host): tensor for tensor in there}

    def wrapped(tensor):
        if isinstance(tensor, Wrapped):
            return tensor
        return known[id(tensor)] if id(tensor) in known else Wrapped(tensor)

    return tree_map_only(torch.Tensor, wrapped, out)


def _check_not_mixed(name, args, tensors):
    if name in TAKING_HOST_LENGTHS or (name in INDEXING and isinstance(args[0], Wrapped)):
        return  # a GPU takes these from the host, too
    here = [tuple(tensor.shape) for tensor in tensors if not isinstance(tensor, Wrapped) and tensor.dim()]
    if here:
        raise MixedDevicesError(f"{name} got tensors of the device and, of the host, {here} at {_asking_line()}")


def _has_boolean_index(args):
    if len(args) < 2 or not isinstance(args[1], list | tuple):
        return False
    # Put under a mask, one value needs no sizes; several, or none to put, do.
    single = len(args) > 2 and args[2].dim() == 0
    return not single and any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def _copied(func, source, settings):
    wants = settings.pop("device", None)
    settings.pop("pin_memory", None)
    is_there = isinstance(source, Wrapped)
    to_there = is_there if wants is None else _is_of_device(wants)
    if is_there and not to_there:
        _note("copy")
    values = source.values_on_host if is_there else source
    out = func(values, **settings)
    return Wrapped(out.clone() if out is values else out) if to_there else out


def _copied_into(func, args, kwargs):
    target, source = args[:2]
    if isinstance(source, Wrapped) and not isinstance(target, Wrapped):
        _note("copy")
    func(*tree_map_only(Wrapped, _on_host, args), **kwargs)
    return target


def _to_by_swapping(to):
    """`Module.to` that swaps parameters whole, because their class changes."""

    def moved(module, *args, **kwargs):
        before = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            return to(module, *args, **kwargs)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(before)

    return moved


class _MadeOfValues(TorchFunctionMode):
    """Lets functions that make tensors out of Python's values make them on the host, then move them."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor, torch.asarray) and _is_of_device(kwargs.get("device")):
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        return func(*args, **kwargs)


def _lstm_cell(of_input, of_hidden, cell, input_bias=None, hidden_bias=None):
    total = of_input + of_hidden
    for bias in (input_bias, hidden_bias):
        total = total if bias is None else total + bias
    enter, forget, content, leave = total.chunk(4, 1)
    gates = torch.cat([enter.sigmoid(), forget.sigmoid(), content.tanh(), leave.sigmoid()], 1)
    enter, forget, content, leave = gates.chunk(4, 1)
    after = forget * cell + enter * content
    return leave * after.tanh(), after, gates


def _lstm_cell_backward(of_hidden, of_cell, before, after, gates, has_bias):
    enter, forget, content, leave = gates.chunk(4, 1)
    squashed = after.tanh()
    of_hidden = torch.zeros_like(after) if of_hidden is None else of_hidden
    of_after = of_hidden * leave * (1 - squashed.square())
    of_after = of_after if of_cell is None else of_after + of_cell
    of_gates = torch.cat(
        [
            of_after * content * enter * (1 - enter),
            of_after * before * forget * (1 - forget),
            of_after * enter * (1 - content.square()),
            of_hidden * squashed * leave * (1 - leave),
        ],
        1,
    )
    return of_gates, of_after * forget, of_gates.sum(0) if has_bias else None


KERNELS_OF_A_GPU = {
    "_thnn_fused_lstm_cell": _lstm_cell,
    "_thnn_fused_lstm_cell_backward_impl": _lstm_cell_backward,
}
"""Operations that torch chooses on a GPU and has no form of for a CPU."""
