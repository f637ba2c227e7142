#!/usr/bin/env python3
"""Send logs of an experiment to comet.ml, for a run that was trained without it or lost its network.

    dynml_send_value_to_comet_from_log.py experiments/my_hmm training_loss validation_loss --comet.project my_project

The values stand in the experiment's folder logs/. They go to the comet experiment of the run if it has one, and cannot
be taken back. Without a key or a network an archive is made, to be uploaded by: comet upload ARCHIVE
"""

import sys

from dynml.cli.commands.send_to_comet import parse_sending_of_logs, send_logs
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, read, send."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        send_logs(parse_sending_of_logs(__doc__))


if __name__ == "__main__":
    main()
