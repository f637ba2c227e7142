"""What may be exchanged with what under the null hypothesis, and how many ways there are.

Rows are exchanged within blocks (sites), or blocks as wholes (families) with others of their size. In the order that
`Exchangeability` gives to rows, blocks stand together; an arrangement then stays one when rows (of blocks as wholes:
blocks) are left out, which is how measures with missing values are tested beside the others.

Shapes: R rows, A arrangements.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dynml.errors import DataError

Integers = NDArray[np.int64]
ENUMERATED = 20_000
"""Largest number of arrangements that are all gone through."""


@dataclass(frozen=True)
class Exchangeability:
    """Units that may be exchanged: rows, or blocks as wholes."""

    order: Integers
    """(R,) rows of the data, so that units of a stratum stand together."""
    units: list[list[Integers]]
    """Stratum to its units; a unit is the positions (in `order`) of its rows."""

    @classmethod
    def of(
        cls, n_rows: int, within: Sequence[str] | None = None, whole: Sequence[str] | None = None
    ) -> Exchangeability:
        """Make the units.

        Parameters
        ----------
        n_rows : int
        within : sequence of R str, optional
            Block of each row; what is exchanged stays within it.
        whole : sequence of R str, optional
            Block of each row that stays together; it is exchanged with blocks of its size.

        Raises
        ------
        DataError
            When a block as a whole lies in several blocks of `within`, or nothing can be exchanged.
        """
        labels = ["" for _ in range(n_rows)] if within is None else list(within)
        names = [str(row) for row in range(n_rows)] if whole is None else list(whole)
        blocks: dict[str, list[int]] = {}
        for row, name in enumerate(names):
            blocks.setdefault(name, []).append(row)
        strata: dict[tuple[str, int], list[list[int]]] = {}
        for name, rows in blocks.items():
            within_labels = {labels[row] for row in rows}
            if len(within_labels) > 1:
                raise DataError(
                    f"The block {name} of --whole has rows in {len(within_labels)} blocks of --within; a block that is "
                    "exchanged as a whole must lie in one."
                )
            strata.setdefault((within_labels.pop(), len(rows)), []).append(rows)
        order = np.array([row for own in strata.values() for rows in own for row in rows], dtype=np.int64)
        units, position = list[list[Integers]](), 0
        for own in strata.values():
            units.append([])
            for rows in own:
                units[-1].append(np.arange(position, position + len(rows)))
                position += len(rows)
        return cls(order, units)

    def n_permutations(self) -> int:
        """All permutations, the data as they are counted."""
        return math.prod(math.factorial(len(own)) for own in self.units)

    def n_flips(self) -> int:
        """All sign flips, the data as they are counted."""
        return 2 ** sum(len(own) for own in self.units)

    def n_units(self) -> int:
        """Rows or blocks that are exchanged."""
        return sum(len(own) for own in self.units)

    def changes(self, columns: NDArray[np.float64]) -> bool:
        """Whether any permutation changes columns (R, r), whose rows are in `order`: exchanged units differ."""
        return any((columns[positions] != columns[own[0]]).any() for own in self.units for positions in own[1:])

    def permutations(self, n: int, seed: int) -> Integers:
        """Arrangements (A, R) of positions, never the data as they are where all are gone through."""
        if self.n_permutations() - 1 <= min(n, ENUMERATED):
            found = list(self._all())[1:]
            return np.array(found, dtype=np.int64).reshape(len(found), len(self.order))
        generator = np.random.default_rng(seed)
        made = np.empty((n, len(self.order)), dtype=np.int64)
        for own in self.units:
            positions = np.stack(own)
            drawn = np.argsort(generator.random((n, len(own))), axis=1)
            made[:, positions.ravel()] = positions[drawn].reshape(n, -1)
        return made

    def flips(self, n: int, seed: int) -> NDArray[np.float64]:
        """Signs (A, R), one a unit; never the data as they are where all are gone through."""
        n_units = self.n_units()
        if self.n_flips() - 1 <= min(n, ENUMERATED):
            numbers = np.arange(1, 2**n_units)
            signs = np.where((numbers[:, None] >> np.arange(n_units)) & 1, -1.0, 1.0)
        else:
            signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(n, n_units))
        unit_at = np.empty(len(self.order), dtype=np.int64)
        for number, positions in enumerate(positions for own in self.units for positions in own):
            unit_at[positions] = number
        flipped: NDArray[np.float64] = signs[:, unit_at]
        return flipped

    def whole_units(self, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Positions that are left when units that lack one are left out; `seen` (R,) is in `order`."""
        left = np.zeros(len(self.order), dtype=bool)
        for own in self.units:
            for positions in own:
                left[positions] = seen[positions].all()
        return left

    def _all(self) -> Iterator[list[int]]:
        own = [itertools.permutations(units) for units in self.units]
        for chosen in itertools.product(*own):
            yield [int(position) for units in chosen for positions in units for position in positions]


def among(arrangements: Integers, left: NDArray[np.bool_]) -> Integers:
    """Arrangements of the positions that are left, numbered anew: those of the others are passed over."""
    numbers = np.cumsum(left) - 1
    kept = left[arrangements]
    found: Integers = numbers[arrangements[kept]].reshape(len(arrangements), int(left.sum()))
    return found
