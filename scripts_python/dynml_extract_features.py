#!/usr/bin/env python3
"""Extract features of recordings by a sequence model or decoder: one vector per window or trial.

    dynml_extract_features.py experiments/my_csm store.hdf5 features
    dynml_extract_features.py experiments/my_decoder store.hdf5 features.hdf5 --subset testing --attribution

OUT is a folder (<subject>_embeddings.npy, and windows.tsv or trials.tsv with the origin of each vector), or a file that
ends in .hdf5 or .h5. Recordings are cut as in the model's training, unless --window_length or --trials is given.
--per_sample adds the hidden state of every stored sample, --attribution the contribution of each network and sample to
the output, --attention the mean attention of each head by lag; the last two with pictures.
"""

import sys

from dynml.cli.commands.results.extract_features import parse_extraction, run_extraction
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, load, extract, write."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_extraction(parse_extraction(__doc__))


if __name__ == "__main__":
    main()
