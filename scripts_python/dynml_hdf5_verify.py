#!/usr/bin/env python3
"""Read every byte of a store and check its checksums, structure, segments, events and subsets.

dynml_hdf5_verify.py store.hdf5

Prints one line per fault on standard error and exits with status 2 if there are any.
"""

import sys

from dynml.cli.commands.store_commands import parse_verification
from dynml.cli.errors import EXIT_STATUS, report, user_errors_in_one_sentence


def main() -> None:
    """Parse, verify, list the faults."""
    arguments = parse_verification(__doc__)
    with user_errors_in_one_sentence(arguments.debug):
        from dynml.store.reading import Store
        from dynml.store.verification import faults_of_store

        faults = faults_of_store(arguments.hdf5)
        for fault in faults:
            report(f"Fault: {fault}")
        with Store(arguments.hdf5) as store:
            n_subjects = len(store.subjects)
        print(f"{arguments.hdf5}: {n_subjects} subjects read, {len(faults) or 'no'} faults.")
        if faults:
            sys.exit(EXIT_STATUS)


if __name__ == "__main__":
    main()
