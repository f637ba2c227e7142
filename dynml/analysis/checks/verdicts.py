"""What one check comes to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

CHECKS = ("occupancy", "covariates", "surrogates", "predictive", "split_half")
"""Checks that there are; here, where nothing heavy is imported, since `--help` names them."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A number, what it is set against, and what follows."""

    name: str
    value: float | None
    reference: float | None
    sentence: str
    """For a reader who has not seen the numbers."""
    holds: bool | None
    """Whether the model passes the check; None where it could not be made."""

    def to_dictionary(self) -> dict[str, Any]:
        """Plain values, ready for JSON: NaN becomes null."""
        return {
            "value": _finite(self.value),
            "reference": _finite(self.reference),
            "sentence": self.sentence,
            "holds": self.holds,
        }


def not_made(name: str, why: str) -> Verdict:
    """Give the verdict of a check that cannot be made, with the reason."""
    return Verdict(name=name, value=None, reference=None, sentence=why, holds=None)


def p_of_draws(value: float, draws: list[float]) -> float:
    """Share of draws that are at least as large, the value itself among them: (1 + #) / (1 + R), never 0."""
    rounding = 1e-9 * max(abs(value), 1.0)  # draws that are the value itself must count as such
    return (1 + sum(draw >= value - rounding for draw in draws)) / (1 + len(draws))


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
