"""Example files are what the guide says: readable by the libraries that own the formats, and the same each time."""

import nibabel
import numpy as np
import pytest

from dynml.datasets import write_example_files
from dynml.datasets.examples import WRITERS
from dynml.errors import ConfigurationError


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["time_series_archive", "images", "xcp_d", "osl_dynamics", "cbramod"])
def test_the_same_files_are_written_each_time(kind, tmp_path):
    for name in ("first", "second"):
        write_example_files(kind, tmp_path / name)
        write_example_files(kind, tmp_path / name)
    first, second = content(tmp_path / "first"), content(tmp_path / "second")
    assert first
    assert {path for path in first if first[path] != second[path]} == set()


def test_images_lie_on_the_grid_of_their_atlases(tmp_path):
    write_example_files("images", tmp_path)
    run = nibabel.load(tmp_path / "images" / "sub-01" / "run-1_bold.nii.gz")
    labels, maps = (nibabel.load(tmp_path / f"{name}.nii.gz") for name in ("labels", "maps"))
    assert run.shape[:3] == labels.shape == maps.shape[:3]
    assert run.header.get_zooms()[3] == 2.0
    assert np.unique(labels.get_fdata()).tolist() == [0, 1, 2, 3]
    assert np.allclose(run.affine, labels.affine)


def test_another_kind_is_named():
    with pytest.raises(ConfigurationError, match="did you mean 'meg_eeg'"):
        write_example_files("meg")
    assert "fmriprep" in WRITERS
