"""Where the series live while a model trains: on the accelerator, in host memory, or in their file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dynml import host_memory
from dynml.configuration import check_choice
from dynml.errors import ConfigurationError

if TYPE_CHECKING:
    import torch

Residency = Literal["auto", "device", "memory", "lazy"]
RESIDENCIES = ("auto", "device", "memory", "lazy")
_SHARE = 0.5


def choose_residency(requested: str, n_bytes: int, device: torch.device) -> tuple[str, str]:
    """Resolve a residency.

    `auto` takes the fastest that fits: the accelerator's memory when the series take less than half of what is free
    there, else host memory when they take less than half of what is available, else the file.

    Parameters
    ----------
    requested : {"auto", "device", "memory", "lazy"}
    n_bytes : int
        Size of all series together.
    device : torch.device
        Where the model computes. On a CPU, device memory is host memory.

    Returns
    -------
    residency : {"device", "memory", "lazy"}
    reason : str
        One sentence that says why.
    """
    check_choice("loader.residency", requested, RESIDENCIES)
    if requested == "device" and device.type == "cpu":
        return "memory", "the device asked for is the CPU, whose memory is host memory"
    if requested != "auto":
        return requested, "it was asked for"
    size = f"the series take {host_memory.gibibytes(n_bytes)}"
    if device.type != "cpu":
        from dynml.ops.devices import free_memory

        free = free_memory(device)
        if free is not None and n_bytes < _SHARE * free:
            return "device", f"{size}, less than half of the {host_memory.gibibytes(free)} free on {device}"
    available = host_memory.available_host_memory()
    if available is None:
        return "lazy", f"{size}, and the system does not say how much memory is available"
    if n_bytes < _SHARE * available:
        return "memory", f"{size}, less than half of the {host_memory.gibibytes(available)} of available memory"
    return "lazy", f"{size}, half or more of the {host_memory.gibibytes(available)} of available memory"


def check_room(n_bytes: int, device: torch.device) -> None:
    """Refuse series that the memory they are to live in does not hold, before it is filled.

    A system that promises more memory than it has would end the process while they are read.

    Raises
    ------
    ConfigurationError
        With their size and what is free.
    """
    if device.type == "cpu":
        room = host_memory.available_host_memory()
    else:
        from dynml.ops.devices import free_memory

        room = free_memory(device)
    if room is not None and n_bytes > room:
        where = "of available memory" if device.type == "cpu" else f"free on {device}"
        taken, free = host_memory.gibibytes(n_bytes), host_memory.gibibytes(room)
        accepted = f"lazy or auto: the series take {taken}, and there are {free} {where}"
        raise ConfigurationError("loader.residency", "memory" if device.type == "cpu" else "device", accepted)


def named_device(device: str | torch.device) -> torch.device:
    """Device of a name.

    Raises
    ------
    ConfigurationError
        When torch knows no such device.
    """
    import torch

    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigurationError(
            "device", device, "cpu or the kind of an accelerator, as cuda or cuda:<number>"
        ) from error
