"""The checksum that HDF5 puts behind each chunk, worked out by a few passes of NumPy, in half of HDF5's time."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

BYTES = 4
"""Of a checksum."""
PAIRS_OF_ROW, MOST_PAIRS = 1024, 2**19
"""Of words that are laid out in a row, and at once: the sums of so many stay within 32 bits."""
MODULUS = 65535


class Fletcher32:
    """Fletcher's checksum of one piece of bytes after another, as HDF5 takes it; its memory is used again and again."""

    def __init__(self) -> None:
        self._memory = np.empty((2, 0), dtype=np.uint32)

    def __call__(self, content: NDArray[np.uint8]) -> int:
        """Take the checksum.

        Parameters
        ----------
        content : array, (4 n,), uint8
            Side by side in memory.

        Returns
        -------
        int
            The sum of sums in the upper 16 bits, the sum in the lower ones.

        Notes
        -----
        It takes N words w of 16 bits, whose first byte is the upper one, and sums modulo 65,535: the words, and the
        sums so far after each, which come to (N - i) w_i (Fletcher 1982). A word with its bytes exchanged is 256 times
        the other, modulo 65,535, so that words can be taken as they lie there. Two of them are a number of 32 bits;
        pairs are laid out in rows, and both sums follow from those over rows and those over columns.
        """
        pairs = content.view("<u4")
        n_whole = len(pairs) // PAIRS_OF_ROW * PAIRS_OF_ROW
        borders = [*range(0, n_whole, MOST_PAIRS), n_whole, len(pairs)]
        second, total, moment = 0, 0, 0
        for start, stop in itertools.pairwise(borders):
            if start == stop:
                continue
            laid_out = pairs[start:stop].reshape(-1, PAIRS_OF_ROW if stop <= n_whole else stop - start)
            of_second, of_pairs = (one.reshape(laid_out.shape) for one in self._memory_for(stop - start))
            np.right_shift(laid_out, 16, out=of_second)
            np.bitwise_and(laid_out, 0xFFFF, out=of_pairs)
            second += _sum(np.add.reduce(of_second, axis=0, dtype=np.uint32))
            np.add(of_pairs, of_second, out=of_pairs)
            of_columns = np.add.reduce(of_pairs, axis=0, dtype=np.uint32)
            of_rows = np.add.reduce(of_pairs, axis=1, dtype=np.uint32)
            own = _sum(of_columns)
            total += own
            moment += start * own + laid_out.shape[1] * _sum_by_place(of_rows) + _sum_by_place(of_columns)
        return _in_16_bits(2 * len(pairs) * total - 2 * moment - second, total) << 16 | _in_16_bits(total, total)

    def _memory_for(self, n_pairs: int) -> NDArray[np.uint32]:
        if self._memory.shape[1] < n_pairs:
            self._memory = np.empty((2, n_pairs), dtype=np.uint32)
        return self._memory[:, :n_pairs]


def _sum(values: NDArray[np.uint32]) -> int:
    return int(values.sum(dtype=np.uint64))


def _sum_by_place(values: NDArray[np.uint32]) -> int:
    return int(np.dot(np.arange(len(values), dtype=np.uint64), values.astype(np.uint64)))


def _in_16_bits(value: int, total: int) -> int:
    """Give a sum as HDF5 leaves it: it adds what is above 16 bits, so that only nothing but zeros sums to 0."""
    return (256 * value - 1) % MODULUS + 1 if total else 0
