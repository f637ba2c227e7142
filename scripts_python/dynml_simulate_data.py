#!/usr/bin/env python3
"""Simulate signals of many subjects, whose truth is known, as a store to train on.

    dynml_simulate_data.py hmm simulated.hdf5 --n_subjects 10 --n_validation_subjects 2 --n_states 6 --seed 1

The store holds the truth in /truth: states of every sample, means, covariances, transition probabilities and all
settings (in Python: dynml.data.simulation.read_truth). The settings of a kind are shown by:
dynml_simulate_data.py KIND --help
"""

import sys

from dynml.cli.errors import user_errors_in_one_sentence
from dynml.cli.simulate_command import parse_simulation, run_simulation


def main() -> None:
    """Parse, simulate, write."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_simulation(parse_simulation(__doc__))


if __name__ == "__main__":
    main()
