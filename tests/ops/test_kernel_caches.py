"""numba's cache of a kernel is renewed when its own file changes, so kernels state what else is compiled into them."""

import inspect
import zlib

import pytest

from dynml.ops import gaussian
from dynml.ops.lstm import kernel as lstm_kernel
from dynml.ops.lstm import lanes as lstm_lanes
from dynml.ops.mixture import mixture_gaussian_kernel, mixture_gaussian_lanes


@pytest.mark.parametrize(
    ("kernel", "parts"),
    [
        (lstm_kernel, (lstm_lanes, mixture_gaussian_lanes)),
        (gaussian, (lstm_lanes, mixture_gaussian_lanes)),
        (mixture_gaussian_kernel, (mixture_gaussian_lanes,)),
    ],
)
def test_a_kernel_states_the_checksum_of_the_files_that_are_compiled_into_it(kernel, parts):
    text = "".join(inspect.getsource(part) for part in parts)
    assert f"{zlib.crc32(text.encode()):08x}" == kernel.LANES_CHECKSUM
