#!/usr/bin/env python3
"""Write a report of an experiment as one HTML page: what was asked, what was found, and how reliable it is.

    dynml_report.py experiments/my_hmm report.html --hdf5 store.hdf5

The page shows the data, the training compared with baselines, states or modes over time, scores of recordings,
findings, and how to reproduce it; for decoders also the confusion of classes. --results adds the pictures and tables of
other scripts (spectra, maps, responses), and uses their states instead of inferring them again. The page is one file
and needs no network. Of an unfinished run, it shows what is available.
"""

import sys

from dynml.cli.commands.results.report import parse_report, run_report
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, read, infer what is missing, write the page."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_report(parse_report(__doc__))


if __name__ == "__main__":
    main()
