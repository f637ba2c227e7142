#!/usr/bin/env python3
"""Send one value to the comet experiment of a run, such as a score that was computed later.

    dynml_send_value_to_comet_manually.py experiments/my_hmm decoding_accuracy 0.62 --context test

Instead of the folder, the key of a comet experiment can be given. This cannot be undone. Without a key or a network, an
archive is written, to be uploaded by: comet upload ARCHIVE
"""

import sys

from dynml.cli.commands.send_to_comet import parse_sending_of_one_value, send_one_value
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse and send."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        send_one_value(parse_sending_of_one_value(__doc__))


if __name__ == "__main__":
    main()
