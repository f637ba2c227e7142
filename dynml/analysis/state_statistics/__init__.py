"""States over time -> how often, how long, how regularly and in which order they are visited.

Soft alphas have no visits unless they are made binary; what is said of them needs none.

In: alpha or a path of one subject, and its segments. Out: numbers a state, tables of visits and transitions.
"""

from dynml.analysis.state_statistics.statistics import (
    StateStatistics,
    lifetime_mean_and_std,
    state_statistics,
    visit_lengths,
    write_state_statistics,
)

__all__ = [
    "StateStatistics",
    "lifetime_mean_and_std",
    "state_statistics",
    "visit_lengths",
    "write_state_statistics",
]
