#!/usr/bin/env python3
"""Predict age, scores or diagnosis of people from their results, by nested cross-validation.

    dynml_predict_participants.py inferred participants.tsv age predicted --hdf5 store.hdf5 --groups family

Writes predictions.tsv (each person, held out), scores.tsv (each set of features, with p by permutation), a picture and
summary.json.
"""

import sys

from dynml.cli.commands.groups.predict_participants import parse_prediction, run_prediction
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, read, predict, write."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_prediction(parse_prediction(__doc__))


if __name__ == "__main__":
    main()
