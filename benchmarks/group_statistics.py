"""How often group comparisons find an effect where there is none: `python benchmarks/group_statistics.py`."""

import numpy as np
from scipy import stats

from dynml.analysis.groups.comparison import ComparisonSettings, compare
from dynml.analysis.groups.design import Design
from dynml.analysis.groups.exchangeability import Exchangeability

N_SETS, N_PEOPLE, N_PERMUTATIONS = 500, 40, 199


def share_found(n_measures):
    """Share of data sets without an effect in which some measure has a corrected p up to 0.05."""
    found = 0
    for number in range(N_SETS):
        generator = np.random.default_rng([n_measures, number])
        confound = generator.normal(size=N_PEOPLE)
        tested = 0.8 * confound + 0.6 * generator.normal(size=N_PEOPLE)
        common = generator.normal(size=(N_PEOPLE, 1))
        values = confound[:, None] + common + generator.normal(size=(N_PEOPLE, n_measures))
        matrix = np.column_stack([np.ones(N_PEOPLE), tested, confound])
        terms = {"Intercept": [0], "tested": [1], "confound": [2]}
        design = Design("tested + confound", matrix, list(terms), terms)
        settings = ComparisonSettings(n_permutations=N_PERMUTATIONS, seed=number, terms=("tested",))
        result = compare(values, design, Exchangeability.of(N_PEOPLE), settings)[0]
        found += min(one.p_corrected for one in result.tested) <= 0.05
    return found / N_SETS


if __name__ == "__main__":
    low, high = (stats.binom.ppf(end, N_SETS, 0.05) / N_SETS for end in (0.025, 0.975))
    print(f"5 % of {N_SETS} sets: {low:.1%} to {high:.1%}")
    for n_measures in (1, 50):
        print(f"{n_measures} measures: {share_found(n_measures):.1%} found")
