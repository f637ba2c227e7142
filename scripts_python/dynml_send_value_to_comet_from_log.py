#!/usr/bin/env python3
"""Send logs of an experiment to comet.ml, for a run that was trained without it or without a network.

    dynml_send_value_to_comet_from_log.py experiments/my_hmm training_loss validation_loss --comet.project my_project

The values are read from the experiment's folder logs/ and sent to the run's comet experiment if it has one; this cannot
be undone. Without a key or a network, an archive is written, to be uploaded by: comet upload ARCHIVE
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
