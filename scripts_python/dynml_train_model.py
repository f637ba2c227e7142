#!/usr/bin/env python3
"""Train a model of brain dynamics on the recordings of a store.

    dynml_train_model.py hmm experiments my_hmm store.hdf5 bold --model.n_states 6

EXPERIMENTS_PATH/EXPERIMENT_NAME then holds the best model, a checkpoint to resume from, logs and summary.json.
The settings of a family are shown by: dynml_train_model.py FAMILY --help
"""

import sys

from dynml.cli.commands.train import parse_training, run_training
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, build, train, say how it went."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        sys.exit(run_training(parse_training(__doc__)))


if __name__ == "__main__":
    main()
