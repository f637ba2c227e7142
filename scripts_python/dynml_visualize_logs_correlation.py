#!/usr/bin/env python3
r"""Correlate two logs over epochs, for each experiment and over all of them: Pearson's r, p, fits, figure and table.

    dynml_visualize_logs_correlation.py experiments/first experiments/second training_loss validation_loss \
        --ignore_first_epochs 2 --show_first_order_fit --save_figures figures/losses --save_to_csv losses.csv

Successive epochs of a run are not independent: p is too small, and common trends make r large. Therefore r of the
differences between successive epochs, in which slow trends count less, is given as well.
"""

import sys

from dynml.cli.commands.visualize_logs_correlation import parse_correlation, run_correlation
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, read, correlate, print, save."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_correlation(parse_correlation(__doc__))


if __name__ == "__main__":
    main()
