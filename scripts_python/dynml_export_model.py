#!/usr/bin/env python3
"""Export a trained model into one folder for sharing, without names of people, paths or recordings.

dynml_export_model.py experiments/my_hmm my_hmm_exported --license cc-by-4.0 --data "Rest, MEG, 60 healthy adults."
dynml_apply_preparation.py my_hmm_exported new_subjects/ new.hdf5
dynml_infer_from_model.py my_hmm_exported new.hdf5 results

The folder holds weights (safetensors), settings, channel names, scores, what was fitted in the preparation (principal
components, the template of signs), and a model card, in the layout of the Hugging Face hub. Scripts accept it in place
of an experiment.
"""

import sys

from dynml.cli.commands.results.export_model import parse_export, run_export
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, export, say what there is."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_export(parse_export(__doc__))


if __name__ == "__main__":
    main()
