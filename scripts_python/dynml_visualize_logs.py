#!/usr/bin/env python3
"""Draw the logs of one or several experiments: one panel a log, one colour an experiment, a dot at the best epoch.

dynml_visualize_logs.py experiments/first experiments/second --save_figures figures/logs --save_to_csv logs.csv
"""

import sys

from dynml.cli.errors import user_errors_in_one_sentence
from dynml.cli.visualize_logs_command import parse_visualization, run_visualization


def main() -> None:
    """Parse, read, draw, save."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_visualization(parse_visualization(__doc__))


if __name__ == "__main__":
    main()
