#!/usr/bin/env python3
"""Print the contents of a store: its attributes and a table of all subjects.

dynml_hdf5_print_architecture.py store.hdf5

Samples and seconds are those within segments: stretches that were cut out do not count, masked samples do.
"""

from dynml.cli.commands.store_commands import parse_printing
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, open, print."""
    arguments = parse_printing(__doc__)
    with user_errors_in_one_sentence(arguments.debug):
        from dynml.store.printing import architecture_lines
        from dynml.store.reading import Store

        with Store(arguments.hdf5) as store:
            print("\n".join(architecture_lines(store, arguments.group)), flush=True)


if __name__ == "__main__":
    main()
