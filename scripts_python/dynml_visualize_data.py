#!/usr/bin/env python3
r"""Draw the recordings of a store: one HTML page with a picture of each subject, outliers first.

    dynml_visualize_data.py store.hdf5 signals looked_at --subset training --max_seconds 300

OUT_FOLDER then holds index.html, subjects.tsv with the numbers, and the folder pictures. Each picture shows signals
with segments and events, power spectra, correlations of channels, and the segments over the original samples.
Recordings are read one at a time and in blocks. The page needs no network.
"""

import sys

from dynml.cli.commands.visualize_data import parse_visualization, run_visualization
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, read, draw, write the page."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_visualization(parse_visualization(__doc__))


if __name__ == "__main__":
    main()
