#!/usr/bin/env python3
"""Resume a training run from its latest checkpoint; the results are those of a run without interruption.

dynml_resume_training_from_checkpoint.py experiments my_hmm --new_max_epochs 300

A finished run continues only if it is given more epochs or patience. A run that was killed before its first checkpoint
starts again.
"""

import sys

from dynml.cli.commands.resume import parse_resume
from dynml.cli.commands.train import run_training
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, build, go on, say how it went."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        sys.exit(run_training(parse_resume(__doc__)))


if __name__ == "__main__":
    main()
