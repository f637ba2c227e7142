#!/usr/bin/env python3
"""Check a trained model: whether what it has found is dynamics, or subjects, motion or noise.

    dynml_check_model.py experiments/my_hmm store.hdf5

Who uses which state; covariates and the global signal; the same model refitted to stationary data without states; data
that the model draws beside the recordings; states of two halves of the participants. verdicts.json has a number, what
it is set against and a sentence for each check; tables and pictures lie beside it.
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
