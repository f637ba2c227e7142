#!/usr/bin/env python3
"""Draw maps and networks of a trained model's states, on the brain where the store has positions of channels.

    dynml_compute_maps.py experiments/my_hmm store.hdf5 maps
    dynml_compute_maps.py experiments/my_hmm store.hdf5 maps --spectra spectra --bands alpha=8-13 beta=13-30

Writes maps.tsv and networks.tsv (tidy tables), the same as .npy arrays, images for other programs (NIfTI, CIFTI),
pictures/ with one picture for each state and kind, and summary.json.
"""

import sys

from dynml.cli.commands.results.compute_maps import parse_maps, run_maps
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, load, compute, draw."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_maps(parse_maps(__doc__))


if __name__ == "__main__":
    main()
