#!/usr/bin/env python3
"""Make a store (HDF5) of many subjects' signals, from folders of recordings.

dynml_create_hdf5_dataset.py ready/ store.hdf5 config.json training.txt validation.txt testing.txt
dynml_create_hdf5_dataset.py ready/ store.hdf5 config.json --draw_subsets validation=0.1 testing=0.1 --seed 1
dynml_create_hdf5_dataset.py files.csv store.hdf5 config.json
dynml_create_hdf5_dataset.py more/ store.hdf5 config.json more.txt - - --add

READY_FOLDER holds one folder a subject, all with the same inner structure. Or it is a table with one row a run and the
columns subject and file (relative to the table), and, if need be, session, run, group, subset, events, participant;
all other columns are covariates. CONFIG_JSON then leaves out files and events. CONFIG_JSON names the groups to make:

  {"signals": {"type": "timeseries", "files": ["run-*.npy"], "sampling_frequency": 250}}
  {"bold": {"type": "timeseries", "files": ["*_bold.nii.gz"], "atlas": "atlas.nii.gz", "events": "*_events.tsv"}}

Keys of a group (paths are relative to the subject's folder, then to the folder of CONFIG_JSON):
  type                 "timeseries"
  files                patterns of the runs' files: .npy (time x channels), or 4D .nii, .nii.gz with an atlas, ..
  bids                 instead of files, where READY_FOLDER is the root of BIDS derivatives:
                       {"pipeline": "fmriprep" or "xcp_d", "task": .., "space": .., "session": .., "raw": ..}
  standardization      "per_run" (default), "per_subject" or "none"
  detrend              true: remove each run's linear trend
  sampling_frequency   Hz, or
  repetition_time      seconds; needed for .npy, overrides the header of a NIfTI image
  atlas                3D NIfTI image of whole-number labels, or 4D of maps; another grid is brought onto the
                       recordings'; .dlabel.nii for .dtseries.nii
  atlas_labels         names: a list, {"value": "name"}, a .json file, or a .tsv file with columns index and name
  mask                 3D NIfTI image, or "auto" (the brain is found in each run)
  smoothing            mm, full width at half maximum, of images
  confounds            .tsv files, one a run; confounds_strategy: list of motion, wm_csf, global_signal, compcor,
                       high_pass, scrub, or columns; confounds_parameters: {"motion": "basic", ..}
  high_pass, low_pass  Hz, removed together with the confounds
  exclude_channels     names of labels, parcels or columns to leave out
  events               BIDS events.tsv files (onset, duration, ..), or tables with one label per sample;
                       one file a run, or one for all runs with a column "run"
  channel_names        a list, or a text file with one name a line
  units                text
  missing              samples that are NaN or infinite: "error" (default) refuses them, "segment" cuts them out of the
                       segments, "mask" keeps them as masked samples
  preparation          list of steps

Keys beside the groups:
  participants         a .tsv file (column subject or participant_id, then participant, dataset, covariates), or
                       {"subject": "participant"}; by default each subject is a participant
  split                "participants" (default), or "runs": one participant's runs may stand in several subsets
  allow_mixed_sampling_frequency   true: subjects may differ in their rate

All files are checked before anything is written. OUT_HDF5 appears when it is complete and verified.
"""

from pathlib import Path

from dynml.cli.commands.store_commands import draw_of, lists_of, parse_creation
from dynml.cli.errors import user_errors_in_one_sentence
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

            for option, given in {"--draw_subsets": settings is not None, "--force": arguments.force}.items():
                if given:
                    raise DataError(f"{option} cannot be given with --add.")
            print(add_subjects(source, target, config, lists, n_jobs=arguments.n_jobs, progress=True))
            return
        from dynml.conversion.creation import create_store
        from dynml.conversion.subset_drawing import Draw

        summary = create_store(
            source,
            target,
            config,
            lists,
            draw=None if settings is None else Draw(**settings),
            n_jobs=arguments.n_jobs,
            overwrite=arguments.force,
            progress=True,
        )
        print(summary)


if __name__ == "__main__":
    main()
