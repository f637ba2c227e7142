"""Small files of noise in the layouts of other programs, on which the commands of the guide can be tried."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dynml.configuration import check_choice
from dynml.datasets.examples.publications import (
    write_learning_from_brains_weights,
    write_osl_dynamics_model,
    write_tar_files,
)
from dynml.datasets.examples.published_backbones import write_cbramod_weights
from dynml.datasets.examples.recordings import (
    write_cifti_series,
    write_fmriprep_derivatives,
    write_images,
    write_meg_and_eeg_files,
    write_time_series_archive,
    write_xcp_d_derivatives,
)

WRITERS: dict[str, Callable[[Path], None]] = {
    "meg_eeg": write_meg_and_eeg_files,
    "time_series_archive": write_time_series_archive,
    "images": write_images,
    "cifti": write_cifti_series,
    "fmriprep": write_fmriprep_derivatives,
    "xcp_d": write_xcp_d_derivatives,
    "webdataset": write_tar_files,
    "learning_from_brains": write_learning_from_brains_weights,
    "osl_dynamics": write_osl_dynamics_model,
    "cbramod": write_cbramod_weights,
}


def write_example_files(kind: str, folder: str | Path = ".") -> None:
    """Write files of noise in the layout of another program, always the same ones.

    Parameters
    ----------
    kind : str
        meg_eeg, time_series_archive, images, cifti, fmriprep or xcp_d: recordings of the subjects sub-01 and sub-02.
        webdataset: tar files in the layout of learning-from-brains. learning_from_brains, osl_dynamics: published
        weights, or arrays of a hidden Markov model. cbramod: published weights, and EEG to adapt them to.
    folder : str or Path, optional
        Where to write; existing files of the same names are replaced.

    Raises
    ------
    ConfigurationError
        For another kind.
    """
    check_choice("kind", kind, tuple(WRITERS))
    WRITERS[kind](Path(folder))
