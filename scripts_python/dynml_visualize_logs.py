#!/usr/bin/env python3
r"""Draw the logs of one or several experiments: one panel per log, one colour per experiment, a dot at the best epoch.

    dynml_visualize_logs.py experiments/first experiments/second --save_figures figures/logs --save_to_csv logs.csv
    dynml_visualize_logs.py experiments/first --graph Loss training_loss validation_loss 7 9 \
        --graph "Overfitting" "diff(validation_loss,training_loss)" --save_figures figures/logs.pdf

A LOG is the name of a log, diff(a,b) or sum(a,b,...). Running experiments are drawn up to their latest epoch.
"""

import sys

from dynml.cli.commands.visualize_logs import parse_visualization, run_visualization
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, read, draw, save."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_visualization(parse_visualization(__doc__))


if __name__ == "__main__":
    main()
