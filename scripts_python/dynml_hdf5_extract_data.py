#!/usr/bin/env python3
"""Extract one subject's signals from a store, as .npy (time x channels) or as a table with channel names.

dynml_hdf5_extract_data.py store.hdf5 sub-01 signals sub-01.npy --original_units
"""

from pathlib import Path

from dynml.cli.commands.store_commands import parse_extraction
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, open, extract."""
    arguments = parse_extraction(__doc__)
    with user_errors_in_one_sentence(arguments.debug):
        from dynml.store.extraction import extract
        from dynml.store.reading import Store

        with Store(arguments.hdf5) as store:
            shape = extract(
                store,
                arguments.subject,
                arguments.group,
                Path(arguments.out),
                original_units=arguments.original_units,
                overwrite=arguments.force,
            )
        print(f"{arguments.out}: {shape[0]} samples x {shape[1]} channels.")


if __name__ == "__main__":
    main()
