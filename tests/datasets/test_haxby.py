from __future__ import annotations

import gzip
import itertools
import json
import struct

import numpy as np
import pytest

from dynml.conversion.config import read_store_config, read_subsets
from dynml.datasets import haxby2001_arrays, haxby2001_files, write_haxby2001_ready_folder
from dynml.errors import DataError


@pytest.fixture(scope="module")
def arrays():
    return haxby2001_arrays()


def raw_voxels(path, data_type):
    """Voxels of a NIfTI file straight from its bytes: shape at byte 40, data offset at 108, first axis fastest."""
    content = gzip.decompress(path.read_bytes())
    n_axes, *shape = struct.unpack("<8h", content[40:56])
    offset = int(struct.unpack("<f", content[108:112])[0])
    values = np.frombuffer(content, dtype=data_type, offset=offset, count=int(np.prod(shape[:n_axes])))
    return values.reshape(shape[:n_axes], order="F")


def test_twelve_runs_of_121_volumes_and_21_parcels(arrays):
    assert [signals.shape for signals in arrays.signals] == [(121, 21)] * 12
    assert all(signals.dtype == np.float32 for signals in arrays.signals)
    assert len(arrays.parcel_names) == 21 == len(set(arrays.parcel_names))
    assert arrays.repetition_time == 2.5


def test_parcels_are_means_over_the_voxels_of_each_label(arrays):
    files = haxby2001_files()
    atlas = raw_voxels(files.atlas, "<u1")
    for run in (0, 11):
        volumes = raw_voxels(files.runs[run], "<i2")
        for column, label in enumerate(np.unique(atlas[atlas > 0])):
            expected = volumes[atlas == label].astype(np.float64).mean(axis=0)
            np.testing.assert_allclose(arrays.signals[run][:, column], expected, rtol=1e-6)


def test_frontal_parcels_lie_in_front_of_occipital_ones():
    import nibabel

    from dynml.datasets.haxby import HAXBY_PARCEL_NAMES

    image = nibabel.load(haxby2001_files().atlas)
    atlas = np.asarray(image.dataobj)
    numbers = {name: number for number, name in HAXBY_PARCEL_NAMES.items()}

    def centre(name):
        voxels = np.argwhere(atlas == numbers[name])
        return nibabel.affines.apply_affine(image.affine, voxels).mean(axis=0)

    assert centre("Frontal Pole")[1] > centre("Precentral Gyrus")[1] > centre("Postcentral Gyrus")[1]
    assert centre("Postcentral Gyrus")[1] > centre("Lateral Occipital Cortex (superior)")[1]
    assert centre("Superior Parietal Lobule")[2] > centre("Lingual Gyrus")[2]
    assert set(np.unique(atlas)) - {0} == set(HAXBY_PARCEL_NAMES)


def test_no_parcel_is_constant_and_every_run_has_full_rank(arrays):
    for signals in arrays.signals:
        assert np.isfinite(signals).all()
        assert signals.std(axis=0).min() > 1
        assert np.linalg.matrix_rank(signals - signals.mean(axis=0)) == 21


def test_every_run_shows_eight_categories_for_nine_volumes_each(arrays):
    for labels in arrays.labels:
        names, counts = np.unique(labels, return_counts=True)
        assert dict(zip(names, counts)) == {
            **dict.fromkeys(["bottle", "cat", "chair", "face", "house", "scissors", "scrambledpix", "shoe"], 9),
            "rest": 49,
        }


def test_ready_folder_is_what_store_creation_reads(tmp_path, arrays):
    ready = write_haxby2001_ready_folder(tmp_path / "new" / "haxby")
    config = read_store_config(ready.config)
    assert config.split == "runs"
    assert set(config.participants.values()) == {"sub-001"}
    group = config.groups["bold"]
    assert (group.standardization, group.detrend) == ("per_run", True)
    assert (ready.config.parent / group.of_formats["atlas"]).is_file()
    names = (ready.config.parent / group.of_formats["atlas_labels"]).read_text().splitlines()
    assert names[:3] == ["index\tname", "1\tFrontal Pole", "3\tSuperior Frontal Gyrus"]
    subsets = read_subsets({name: getattr(ready, name) for name in ("training", "validation", "testing")})
    assert {name: len(subjects) for name, subjects in subsets.items()} == {
        "training": 8,
        "validation": 2,
        "testing": 2,
    }
    subjects = sorted(path.name for path in ready.subjects_folder.iterdir())
    assert subjects == sorted(itertools.chain(*subsets.values())) == sorted(config.participants)
    for run, subject in enumerate(subjects):
        folder = ready.subjects_folder / subject
        assert (folder / "bold.nii.gz").read_bytes() == haxby2001_files().runs[run].read_bytes()
        assert tuple((folder / "labels.tsv").read_text().splitlines()[1:]) == arrays.labels[run]
    assert "CC BY-SA 3.0" in (ready.config.parent / "NOTICE.md").read_text()
    assert json.loads(ready.config.read_text())["bold"]["files"] == ["bold.nii.gz"]


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        write_haxby2001_ready_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    from dynml.datasets import haxby

    def disk_is_full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(haxby, "write_json", disk_is_full)
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        with pytest.raises(DataError, match="No space left"):
            write_haxby2001_ready_folder(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
    monkeypatch.undo()
    assert write_haxby2001_ready_folder(tmp_path / "empty").training.is_file()
