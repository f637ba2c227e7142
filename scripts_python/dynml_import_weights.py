#!/usr/bin/env python3
"""Make an experiment from published weights: of learning-from-brains, CBraMod, CortexMAE, or an HMM of osl-dynamics.

dynml_import_weights.py pytorch_model.bin experiments published_csm --family csm
dynml_import_weights.py pretrained_weights.pth experiments cbramod --family cbramod
dynml_import_weights.py folder_of_arrays experiments published_hmm --family hmm

The experiment can be loaded, used for inference, and trained further (--pretrained EXPERIMENTS_PATH/EXPERIMENT_NAME).
CBraMod and CortexMAE serve as backbones of decoders only.
An HMM includes the preparation that its arrays describe, for dynml_apply_preparation.py.
Sizes are read from the weights. A missing or unknown weight is an error. Nothing in the file is executed: it may hold
tensors only.
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
