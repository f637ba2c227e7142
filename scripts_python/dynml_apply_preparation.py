#!/usr/bin/env python3
"""Make a store (HDF5) of new subjects, prepared exactly as those of another store.

dynml_apply_preparation.py store.hdf5 new_subjects/ new.hdf5
dynml_apply_preparation.py exported_model new_subjects/ new.hdf5

The config with its preparation steps is taken from the other store, and so is what was fitted to its training subjects
(principal components, the template of signs): nothing is fitted again. READY_FOLDER is a folder of subjects or a table,
as for dynml_create_hdf5_dataset.py. New subjects whose data were used in these fits cannot be held out.

OUT_HDF5 appears only when it is complete and verified; the other store is only read.
"""

from pathlib import Path

from dynml.cli.commands.store_commands import parse_application
from dynml.cli.errors import user_errors_in_one_sentence
from dynml.cli.verbosity import shows_progress


def main() -> None:
    """Parse, apply, say what there is."""
    arguments = parse_application(__doc__)
    with user_errors_in_one_sentence(arguments.debug):
        from dynml.conversion.extension import apply_preparation

        summary = apply_preparation(
            Path(arguments.hdf5),
            Path(arguments.ready_folder),
            Path(arguments.out_hdf5),
            groups=arguments.groups,
            files=arguments.files,
            config_folder=None if arguments.config_folder is None else Path(arguments.config_folder),
            participants=arguments.participants,
            subjects_list=None if arguments.subjects is None else Path(arguments.subjects),
            subset=arguments.subset,
            n_jobs=arguments.n_jobs,
            overwrite=arguments.force,
            progress=shows_progress(),
        )
        print(summary)


if __name__ == "__main__":
    main()
