#!/usr/bin/env python3
"""Make one page of an experiment, to read and to send: what was asked, what was found, and how far to trust it.

    dynml_report.py experiments/my_hmm report.html --hdf5 store.hdf5

The page has the data, the training beside its baselines, states or modes over time, scores of recordings, findings,
and how to make it again; for decoders the confusion of classes. --results adds the pictures and tables of other
scripts (spectra, maps, responses), and takes their states instead of inferring them anew. It is one file, which needs
no network. Of a run that has not finished it shows what is there.
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
