#!/usr/bin/env python3
"""Compare settings of a model on held-out people: number of states, and whether the states are reproducible.

    dynml_select_model.py hmm experiments how_many store.hdf5 bold --grid model.n_states=2:12
    dynml_select_model.py hmm experiments how_many store.hdf5 bold --grid model.n_states=2:8
        model.covariance_type=full,diagonal --seeds 3 --folds 5 --initialization.n_init 3

Every setting is trained with every seed on every fold, and scored on the held-out participants.
EXPERIMENTS_PATH/NAME then holds selection.tsv (one row per run), selection.png and .svg, summary.json, and in best/ the
chosen model, trained on all participants. The same command resumes an interrupted selection. Other settings are those
of dynml_train_model.py.
"""

import sys

from dynml.cli.commands.selection.select_model import parse_selection
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, try, say which."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        request = parse_selection(__doc__)
        from dynml.cli.commands.selection.one_run import carry_out
        from dynml.cli.commands.selection.selecting import run_selection

        run_selection(request, carry_out)


if __name__ == "__main__":
    main()
