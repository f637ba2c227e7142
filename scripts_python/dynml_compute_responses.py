#!/usr/bin/env python3
"""Average states, modes or features around events, and test the responses against chance.

    dynml_compute_responses.py experiments/my_hmm store.hdf5 responses --events trial_type

Writes responses.tsv (condition, time, state, mean, standard_error, n_trials, p), responses.npz, locking.tsv (each
participant), trials.tsv with <subject>_trials.npy, pictures and summary.json.
"""

import sys

from dynml.cli.commands.results.compute_responses import parse_responses, run_responses
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, infer, cut, test, write."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_responses(parse_responses(__doc__))


if __name__ == "__main__":
    main()
