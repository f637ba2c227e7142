#!/usr/bin/env python3
"""Check whether a trained model has found dynamics, or differences between subjects, motion or noise.

    dynml_check_model.py experiments/my_hmm store.hdf5

Checks: occupancy of states by subjects; correlation with covariates and the global signal; the same model refitted to
stationary surrogate data; data simulated from the model compared with the recordings; agreement of models of two halves
of the participants. verdicts.json has a value, its reference and a sentence for each check, beside tables and pictures.
"""

import sys

from dynml.cli.commands.results.check_model import parse_check, run_check
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, load, check, write."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_check(parse_check(__doc__))


if __name__ == "__main__":
    main()
