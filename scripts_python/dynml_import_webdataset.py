#!/usr/bin/env python3
"""Make a store (HDF5) from tar files in the layout of learning-from-brains (webdataset).

dynml_import_webdataset.py data/upstream upstream.hdf5 --validation_fraction 0.05 --testing_fraction 0.05 --seed 1
dynml_import_webdataset.py hcp/ hcp.hdf5 --training train.txt --validation val.txt --testing test.txt --group bold

Each tar is one run and named ds-<dataset>_sub-<id>[_ses-<id>]_task-<task>[_run-<k>].tar. It holds <key>.bold.pyd (time
x networks) and <key>.t_r.pyd (seconds), and for decoding many such samples, each with its labels (task_label.pyd, ..).
Each sample becomes a segment, which windows do not cross; labels become events.

A participant is a sub-<id> of one data set, and is in one subset only. All files are read and checked before anything
is written. Pickles are not executed: they may only hold NumPy arrays, numbers and text.
"""

import sys

from dynml.cli.commands.import_webdataset import parse_import, run_import
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, import, say what there is."""
    with user_errors_in_one_sentence("--debug" in sys.argv):
        run_import(parse_import(__doc__))


if __name__ == "__main__":
    main()
