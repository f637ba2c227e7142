#!/usr/bin/env python3
"""Join stores into one, by links to their subjects: nothing is copied, and the parts stay in place.

dynml_join_hdf5_datasets.py store.hdf5
dynml_join_hdf5_datasets.py all.hdf5 site_a.hdf5 site_b.hdf5
dynml_join_hdf5_datasets.py store.hdf5 --copy

Without PART, all parts of OUT_HDF5 that dynml_create_hdf5_dataset.py --part made beside it are joined; missing ones are
an error. Stores must be made with the same config, or have no group in common, and have no subject in common. Every
byte is verified before OUT_HDF5 appears. A joined store is used like any other; it can be moved together with its
parts.
"""

from pathlib import Path

from dynml.cli.commands.store_commands import parse_joining
from dynml.cli.errors import user_errors_in_one_sentence


def main() -> None:
    """Parse, join, say what there is."""
    arguments = parse_joining(__doc__)
    with user_errors_in_one_sentence(arguments.debug):
        from dynml.conversion.joining import join_stores

        parts = [Path(path) for path in arguments.parts]
        print(join_stores(Path(arguments.out_hdf5), parts, copies=arguments.copy, overwrite=arguments.force))


if __name__ == "__main__":
    main()
