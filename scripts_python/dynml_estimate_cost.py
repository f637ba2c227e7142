#!/usr/bin/env python3
"""Estimate what a training costs on this machine: time per epoch and in all, memory, disk.

    dynml_estimate_cost.py hmm store.hdf5 bold --model.n_states 12
    dynml_estimate_cost.py csm store.hdf5 signals --loader.residency lazy --trainer.max_epochs 50

Settings are those of dynml_train_model.py. The model is trained on a few subjects and then on more, for three epochs
each, until an epoch takes two seconds; the measurements are extrapolated to all subjects. Nothing is kept.
"""

import sys

from dynml.cli.commands.train import parse_training
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, measure, say what it will cost."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        request = parse_training(__doc__, of_estimate=True)
        from dynml.cli.commands.estimate.estimate_cost import estimated, lines_of

        print("\n".join(lines_of(estimated(request), request)))


if __name__ == "__main__":
    main()
