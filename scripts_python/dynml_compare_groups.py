#!/usr/bin/env python3
"""Test for differences between people: regress a table of results on a design, with permutation tests.

    dynml_compare_groups.py inferred/state_statistics.tsv participants.tsv "group + age" compared

Writes comparison.tsv (term, measure, coefficient, statistic, p, p_corrected, effect with its interval), pictures and
summary.json.
"""

import sys

from dynml.cli.commands.groups.compare_groups import parse_comparison, run_comparison
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, read, test, write."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_comparison(parse_comparison(__doc__))


if __name__ == "__main__":
    main()
