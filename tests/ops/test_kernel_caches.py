"""numba's cache of a kernel is renewed when its own file changes, so kernels state what else is compiled into them."""

import inspect
import zlib

import pytest

from dynml.ops import gaussian
from dynml.ops.lanes import tiles, vectors
from dynml.ops.lstm import activations
from dynml.ops.lstm import kernel as lstm_kernel
from dynml.ops.mixture import mixture_gaussian_kernel


@pytest.mark.parametrize(
    ("kernel", "parts"),
    [
        (lstm_kernel, (activations, tiles, vectors)),
        (gaussian, (tiles, vectors)),
        (mixture_gaussian_kernel, (vectors,)),
    ],
)
def test_a_kernel_states_the_checksum_of_the_files_that_are_compiled_into_it(kernel, parts):
    text = "".join(inspect.getsource(part) for part in parts)
    assert f"{zlib.crc32(text.encode()):08x}" == kernel.LANES_CHECKSUM
