#!/usr/bin/env python3
"""Simulate signals of many subjects with known ground truth, as a store to train on.

    dynml_simulate_data.py hmm states.hdf5 --n_subjects 10 --n_validation_subjects 2 --n_states 6 --seed 1
    dynml_simulate_data.py hsmm lifetimes.hdf5 --n_states 3 --gamma_shape 10 --gamma_scale 5
    dynml_simulate_data.py mixed_sine modes.hdf5 --n_modes 6 --n_channels 20 --seed 1
    dynml_simulate_data.py switching_var switching.hdf5 --n_subjects 10 --sampling_frequencies '[0.5, 1]' --seed 1

The store holds the ground truth in /truth: states or mixing coefficients of every sample, all parameters and settings
(in Python: dynml.simulation.read_truth). The settings of a kind are shown by: dynml_simulate_data.py KIND --help
"""

import sys

from dynml.cli.commands.simulate import parse_simulation, run_simulation
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, simulate, write."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_simulation(parse_simulation(__doc__))


if __name__ == "__main__":
    main()
