#!/usr/bin/env python3
"""Make a store (HDF5) of many subjects' signals, from folders of recordings.

dynml_create_hdf5_dataset.py ready/ store.hdf5 config.json training.txt validation.txt testing.txt

READY_FOLDER holds one folder a subject, all with the same inner structure. CONFIG_JSON names the groups to make:

  {"signals": {"type": "timeseries", "files": ["run-*.npy"], "sampling_frequency": 250}}
  {"bold": {"type": "timeseries", "files": ["*_bold.nii.gz"], "atlas": "atlas.nii.gz", "events": "*_events.tsv"}}

Keys of a group (paths are relative to the subject's folder, then to the folder of CONFIG_JSON):
  type                 "timeseries"
  files                patterns of the runs' files: .npy (time x channels), or 4D .nii, .nii.gz with an atlas
  standardization      "per_run" (default), "per_subject" or "none"
  detrend              true: remove each run's linear trend
  sampling_frequency   Hz, or
  repetition_time      seconds; needed for .npy, overrides the header of a NIfTI image
  atlas                3D NIfTI image of whole-number labels; another grid is brought onto the recordings'
  atlas_labels         names: a list, {"value": "name"}, a .json file, or a .tsv file with columns index and name
  mask                 3D NIfTI image, or "auto" (the brain is found in each run)
  events               BIDS events.tsv files (onset, duration, ..), or tables with one label per sample;
                       one file a run, or one for all runs with a column "run"
  channel_names        a list, or a text file with one name a line
  units                text
  missing              "error" (default), or "mask": cut samples that are NaN or infinite out of the segments
  preparation          list of steps

Keys beside the groups:
  participants         a .tsv file (column subject or participant_id, then participant, dataset, covariates), or
                       {"subject": "participant"}; by default each subject is a participant
  split                "participants" (default), or "runs": one participant's runs may stand in several subsets
  allow_mixed_sampling_frequency   true: subjects may differ in their rate

All files are checked before anything is written. OUT_HDF5 appears when it is complete and verified.
"""

from pathlib import Path

from dynml.cli.errors import user_errors_in_one_sentence
from dynml.cli.store_commands import parse_creation


def main() -> None:
    """Parse, create, say what there is."""
    arguments = parse_creation(__doc__)
    with user_errors_in_one_sentence(arguments.debug):
        from dynml.data.store_creation import create_store

        lists = {name: Path(arguments[f"{name}_subjs"]) for name in ("training", "validation", "testing")}
        summary = create_store(
            Path(arguments.ready_folder),
            Path(arguments.out_hdf5),
            Path(arguments.config_json),
            lists,
            overwrite=arguments.force,
            progress=True,
        )
        print(summary)


if __name__ == "__main__":
    main()
