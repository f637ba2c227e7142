#!/usr/bin/env python3
"""Make an experiment of the weights that learning-from-brains published.

dynml_import_weights.py pytorch_model.bin experiments published_csm --family csm

The experiment can be loaded, inferred from, and trained on from (--pretrained EXPERIMENTS_PATH/EXPERIMENT_NAME).
Sizes are read from the weights. A weight that is missing or not known is an error. Nothing in the file is executed: it
may hold tensors only.
"""

import sys

from dynml.cli.commands.import_weights import parse_weights, run_weights_import
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, import, say what there is."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_weights_import(parse_weights(__doc__))


if __name__ == "__main__":
    main()
