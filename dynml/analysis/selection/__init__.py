"""Many runs of a model: which settings held-out people prefer, and whether runs find the same states.

In: scores by held-out subject, and the states' probabilities over time. Out: a ranking with intervals over people, and
agreements of runs beside what shifted labels give.
"""

from dynml.analysis.selection.agreement import (
    Agreement,
    RunAgreement,
    agreement_of_runs,
    average_runs,
    match_runs,
    similarity,
)

__all__ = ["Agreement", "RunAgreement", "agreement_of_runs", "average_runs", "match_runs", "similarity"]
