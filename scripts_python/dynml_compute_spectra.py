#!/usr/bin/env python3
"""Compute spectra, coherence and networks of a trained model's states or modes.

    dynml_compute_spectra.py experiments/my_hmm store.hdf5 spectra
    dynml_compute_spectra.py experiments/my_hmm store.hdf5 spectra --group parcels --bands alpha=8-13,beta=13-30

Writes spectra.npz (frequencies, power, coherence, group_power, group_coherence, ..), band_power.tsv, networks.tsv
and estimates.tsv, each with a JSON sidecar, pictures as .png and .svg, and summary.json.
"""

import sys

from dynml.cli.commands.results.compute_spectra import parse_spectra, run_spectra
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, load, estimate, write."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_spectra(parse_spectra(__doc__))


if __name__ == "__main__":
    main()
