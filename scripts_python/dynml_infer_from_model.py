#!/usr/bin/env python3
"""Apply a trained model to every subject of a store: states, modes, or predictions.

    dynml_infer_from_model.py experiments/my_hmm store.hdf5 results

For an HMM, it writes <subject>_alpha.npy (state probabilities; rows align with the stored samples, NaN outside
segments), <subject>_viterbi.npy, means.npy, covariances.npy, transition_probabilities.npy, initial_probabilities.npy,
state_statistics.tsv and summary.json (free energies, AIC, BIC).
"""

import sys

from dynml.cli.commands.results.infer import parse_inference, run_inference
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, load, infer, write."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_inference(parse_inference(__doc__))


if __name__ == "__main__":
    main()
