#!/usr/bin/env python3
"""Make a store (HDF5) of many subjects' signals, from folders of recordings.

dynml_create_hdf5_dataset.py ready/ store.hdf5 config.json training.txt validation.txt testing.txt
dynml_create_hdf5_dataset.py ready/ store.hdf5 config.json --draw_subsets validation=0.1 testing=0.1 --seed 1
dynml_create_hdf5_dataset.py files.csv store.hdf5 config.json
dynml_create_hdf5_dataset.py more/ store.hdf5 config.json more.txt - - --add
dynml_create_hdf5_dataset.py ready/ store.hdf5 config.json training.txt - - --part 3/8

READY_FOLDER holds one folder per subject, all with the same inner structure; or it is a table with one row per run
and the columns subject and file (relative to the table), and optionally session, run, group, subset, events and
participant; all other columns are covariates. With a table, CONFIG_JSON has no keys files and events.
CONFIG_JSON defines the groups of signals:

  {"signals": {"type": "timeseries", "files": ["run-*.npy"], "sampling_frequency": 250}}
  {"bold": {"type": "timeseries", "files": ["*_bold.nii.gz"], "atlas": "atlas.nii.gz", "events": "*_events.tsv"}}

Paths are looked up in the subject's folder, then in the folder of CONFIG_JSON; `files` in the subject's only. Keys of
one file format are an error for files of another. All keys are listed below.

All files are checked before anything is written. OUT_HDF5 appears only when it is complete and verified.
"""

from pathlib import Path

from dynml.cli.commands.store_commands import draw_of, lists_of, parse_creation
from dynml.cli.errors import user_errors_in_one_sentence
from dynml.cli.verbosity import shows_progress
from dynml.errors import DataError


def main() -> None:
    """Parse, create or extend, say what there is."""
    arguments = parse_creation(__doc__)
    with user_errors_in_one_sentence(arguments.debug):
        source, target, config = (
            Path(path) for path in (arguments.ready_folder, arguments.out_hdf5, arguments.config_json)
        )
        lists, settings = lists_of(arguments), draw_of(arguments)
        if arguments.add:
            from dynml.conversion.extension import add_subjects

            refused = {"--draw_subsets": settings is not None, "--part": arguments.part, "--force": arguments.force}
            for option, given in refused.items():
                if given:
                    raise DataError(f"{option} cannot be given with --add.")
            print(add_subjects(source, target, config, lists, n_jobs=arguments.n_jobs, progress=shows_progress()))
            return
        from dynml.conversion.creation import create_store
        from dynml.conversion.parts import Part
        from dynml.conversion.subset_drawing import Draw

        part = None if arguments.part is None else Part.from_text(arguments.part)
        summary = create_store(
            source,
            target if part is None else part.path(target),
            config,
            lists,
            draw=None if settings is None else Draw(**settings),
            part=part,
            n_jobs=arguments.n_jobs,
            overwrite=arguments.force,
            progress=shows_progress(),
        )
        print(summary)


if __name__ == "__main__":
    main()
