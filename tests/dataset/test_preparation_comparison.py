"""What counts as another preparation, and what may differ: the values are those of the stores' own configs."""

import json
import re
import shutil

import h5py
import numpy as np
import pytest
from bids_making import fmriprep, labels, save
from store_making import Study, noise

from dynml import MultiSubjectDataset
from dynml.conversion.config import defaults_of_keys
from dynml.conversion.extension import add_subjects, apply_preparation
from dynml.dataset import preparation_comparison, preparation_signature
from dynml.dataset.config import DatasetConfig
from dynml.dataset.preparation_comparison import check_same_preparation, differences
from dynml.dataset.preparation_signature import sketch
from dynml.errors import DataError, DataWarning, ResumeRefusedError
from dynml.training.checkpoints.resume import check_resumable

BAD = {"step": "remove_bad_samples", "window_length": 0.2}
FILTER = {"step": "filter", "low_frequency": 1, "high_frequency": 40}


def opened(folder, *, seed=1, names=("sub-a", "sub-b"), channels=4, scale=1.0, **settings):
    """A dataset of a new store; every subject has a run of its own signals."""
    folder.mkdir()
    runs = {name: [noise(400, channels, seed=seed + place) * scale] for place, name in enumerate(names)}
    study = Study(folder, runs, **settings)
    study.create().close()
    return MultiSubjectDataset(study.target)


def described(dataset):
    """As parameters.json would hold it."""
    return json.loads(json.dumps(dataset.describe()))


@pytest.mark.parametrize(
    ("trained", "given", "told"),
    [
        ({}, {"standardization": "none"}, "standardization is 'per_run' in the training data and 'none' here"),
        ({}, {"sampling_frequency": 250}, "the sampling frequency is 100 Hz in the training data and 250 Hz here"),
        ({}, {"preparation": [FILTER]}, "the step 'filter' (low_frequency 1, high_frequency 40, order 5) was applied"),
        ({"preparation": [FILTER]}, {}, "was applied to the training data and not here"),
        (
            {"preparation": [FILTER]},
            {"preparation": [FILTER | {"high_frequency": 30}]},
            "high_frequency of the step 'filter' is 40 in the training data and 30 here",
        ),
        (
            {"preparation": [FILTER, "amplitude_envelope"]},
            {"preparation": ["amplitude_envelope", FILTER]},
            "the steps are filter, amplitude_envelope in the training data and amplitude_envelope, filter here",
        ),
        ({}, {"detrend": True}, "the step 'detrend' was applied here"),
        ({}, {"missing": "mask"}, "missing is left at its default in the training data and 'mask' here"),
        ({"channel_names": list("abcd")}, {"channel_names": list("abdc")}, "in another order (channel 2 is 'c'"),
        ({"channel_names": list("abcd")}, {"channel_names": list("abce")}, "the channels are others (channel 3 is 'd'"),
        (
            {"standardization": "none", "units": "V"},
            {"standardization": "none", "units": "uV"},
            "units are 'V' in the training data and 'uV' here",
        ),
        (
            {"preparation": [{"step": "pca", "n_components": 2}]},
            {"preparation": [{"step": "pca", "n_components": 2}]},
            "components of the fitted step 00_pca are others",
        ),
    ],
)
def test_every_difference_is_told_with_both_values(tmp_path, trained, given, told):
    before, now = opened(tmp_path / "before", **trained), opened(tmp_path / "now", seed=50, **given)
    found = list(differences(described(before), now))
    assert any(told in one for one in found), found
    with pytest.raises(DataError, match="was prepared differently from the training data of m: .*--other_preparation"):
        check_same_preparation(described(before), now, "m")
    with pytest.warns(DataWarning, match="prepared differently"):
        assert check_same_preparation(described(before), now, "m", other_preparation="allow") == found


def test_arrays_are_spoken_of_in_the_plural(tmp_path):
    before = opened(tmp_path / "before")
    arrays = MultiSubjectDataset.from_arrays([1e3 * noise(60)], sampling_frequency=100, standardization="none")
    with pytest.raises(DataError, match=r"^The arrays were prepared differently from .*; prepare them alike, or let"):
        check_same_preparation(described(before), arrays, "m")


@pytest.mark.parametrize(
    ("trained", "given"),
    [
        ({}, {"standardization": "per_run", "detrend": False, "preparation": [], "missing": "error", "atlas": None}),
        ({"sampling_frequency": None, "repetition_time": 0.01}, {}),
        ({"preparation": [FILTER]}, {"preparation": [dict(reversed(FILTER.items())) | {"order": 5}]}),
        ({"preparation": [FILTER]}, {"preparation": [FILTER | {"low_frequency": 1.0}]}),
        ({"detrend": True}, {"preparation": ["detrend"]}),
        ({"units": "V"}, {"units": "uV"}),
        ({"preparation": [BAD]}, {"preparation": [BAD | {"maximum_share": 0.5}]}),
    ],
)
def test_the_same_preparation_in_other_words_passes(tmp_path, trained, given):
    before, now = opened(tmp_path / "before", **trained), opened(tmp_path / "now", names=("x", "y", "z"), **given)
    assert list(differences(described(before), now)) == []


def test_other_units_under_equal_keys_are_found_by_the_size_of_the_signals(tmp_path):
    plain = {"standardization": "none"}
    before = opened(tmp_path / "volt", **plain)
    now = opened(tmp_path / "microvolt", scale=1e3, **plain)
    found = list(differences(described(before), now))
    # Channels have deviations 1 to 4, so a typical one is 2.5.
    assert len(found) == 1
    assert "typical standard deviation is 2." in found[0]
    assert "in the training data and 2.5" in found[0] or "e+03 in sub-a and 1 more" in found[0]
    nearly = opened(tmp_path / "nearly", scale=4.0, **plain)
    assert list(differences(described(before), nearly)) == []


def test_a_store_made_by_the_preparation_of_another_passes(tmp_path):
    before = opened(tmp_path / "before", preparation=[FILTER, {"step": "pca", "n_components": 2}])
    others = Study(tmp_path / "others", {"new": [noise(300, seed=9)]})
    apply_preparation(tmp_path / "before" / "store.hdf5", others.ready, tmp_path / "new.hdf5")
    assert list(differences(described(before), MultiSubjectDataset(tmp_path / "new.hdf5"))) == []


def test_arrays_are_compared_by_what_is_known_of_them(tmp_path):
    before = described(opened(tmp_path / "before"))
    signals = np.random.default_rng(0).normal(size=(400, 4))
    assert list(differences(before, MultiSubjectDataset.from_arrays([signals]))) == []
    alone = MultiSubjectDataset.from_arrays([signals * 9 + 3], standardization="per_subject")
    assert list(differences(before, alone)) == []
    slow = MultiSubjectDataset.from_arrays([signals], sampling_frequency=50.0)
    assert [one.split(" ")[1] for one in differences(before, slow)] == ["sampling"]
    raw = MultiSubjectDataset.from_arrays([signals * 50 + 9])
    assert "standard deviation is 1 in the training data and 49" in next(iter(differences(before, raw)))


def test_an_experiment_that_did_not_note_its_preparation_is_told_of_and_compared_by_what_it_noted(tmp_path):
    before, now = opened(tmp_path / "before"), opened(tmp_path / "now", sampling_frequency=50)
    old = described(before)
    del old["preparation"], old["scale"]
    with pytest.warns(DataWarning, match="does not say how its training data were prepared"):
        assert check_same_preparation(old, before, "m") == []
    with pytest.warns(DataWarning), pytest.raises(DataError, match="100 Hz in the training data and 50 Hz here"):
        check_same_preparation(old, now, "m")


def test_a_sketch_tells_arrays_apart_and_not_their_rounding():
    array = np.random.default_rng(1).normal(size=(30, 4))
    ours, rounded = (np.array(sketch(one)["projections"]) for one in (array, array.astype(np.float32)))
    other = np.array(sketch(array[:, ::-1].copy())["projections"])
    norm = np.linalg.norm(array)
    assert np.abs(ours - rounded).max() < 1e-5 * norm
    assert np.abs(ours - other).max() > 0.1 * norm


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({"bids": {"pipeline": "fmriprep"}}, {"bids": {"pipeline": "xcp_d"}}, ["bids.pipeline"]),
        ({"bids": {"pipeline": "fmriprep"}}, {"files": ["*.nii.gz"]}, []),
        ({"bids": {"pipeline": "fmriprep", "task": "rest"}}, {"bids": {"pipeline": "fmriprep", "run": 2}}, []),
        ({"atlas": "/here/parcels.nii.gz"}, {"atlas": "there/parcels.nii.gz"}, []),
        ({"atlas": "parcels.nii.gz"}, {"atlas": "others.nii.gz"}, ["atlas"]),
        ({"mask": "auto"}, {}, ["mask"]),
        ({"events": "a.tsv", "files": ["x"]}, {"events": "b.tsv", "files": ["y"], "variable": "z"}, []),
        (
            {"confounds_strategy": ["motion", "scrub"], "confounds": "a"},
            {"confounds_strategy": ["scrub", "motion"], "confounds": "b", "confounds_parameters": {"motion": "full"}},
            [],
        ),
        (
            {"confounds_strategy": ["scrub"]},
            {"confounds_strategy": ["scrub"], "confounds_parameters": {"fd_threshold": 0.2}},
            ["confounds_parameters"],
        ),
    ],
)
def test_keys_that_no_note_tells_of(before, now, told):
    class Config:
        def __init__(self, section):
            self.config = {"signals": {"type": "timeseries", **section}}

    found = preparation_comparison._of_settings(
        *(preparation_signature._settings_of_store(Config(section), "signals") for section in (before, now)), ()
    )
    assert [one.split(" ")[0] for one in found] == told


def test_every_key_of_a_group_is_compared_or_known_to_change_no_signal():
    compared = {"bids", "atlas", "mask", "missing", "confounds_strategy", "confounds_parameters"}
    assert set(defaults_of_keys()) - compared == preparation_signature.keys_seen_otherwise()


def test_a_run_older_than_the_notes_can_go_on(tmp_path):
    now = {"dataset": described(opened(tmp_path / "data"))}
    old = {"dataset": {key: value for key, value in now["dataset"].items() if key not in ("preparation", "scale")}}
    assert check_resumable(old, now) == []
    with pytest.raises(ResumeRefusedError, match=r"the data in .* are not those that it began with \(dataset\.fing"):
        check_resumable(old, {"dataset": described(opened(tmp_path / "other", seed=7))})


def test_what_a_run_cannot_go_on_with_is_named_and_not_what_follows_from_it(tmp_path):
    data = opened(tmp_path / "data")
    embedded = MultiSubjectDataset(data.signal_source.path, config=DatasetConfig(n_embeddings=3, n_components=4))
    old, new = ({"dataset": described(one), "model": {"n_states": 2}} for one in (embedded, data))
    with pytest.raises(ResumeRefusedError) as told:
        check_resumable(old, new | {"model": {"n_states": 3}})
    settings = "model.n_states: 2 -> 3; dataset.n_components: 4 -> None; dataset.n_embeddings: 3 -> None"
    assert str(told.value) == f"The run cannot go on because it was started with other settings: {settings}."
    larger = opened(tmp_path / "larger", names=("sub-a", "sub-b", "sub-c"))
    with pytest.raises(ResumeRefusedError, match=r"not those .*\(dataset\.fing.*training\.n_subjects: 2 -> 3\)\.$"):
        check_resumable({"dataset": described(data)}, {"dataset": described(larger)})


@pytest.fixture(scope="module")
def of_images(tmp_path_factory):
    study = fmriprep(tmp_path_factory.mktemp("images") / "a", brain_mask=False)
    study.create().close()
    return study


def with_atlas(study, folder, values, name="atlas.nii.gz"):
    """The same study made with another atlas."""
    shutil.copytree(study.folder, folder)
    (folder / "atlas.nii.gz").unlink()
    save(folder / name, values)
    other = fmriprep(folder / "unused", brain_mask=False)
    other.folder, other.root, other.target = folder, folder / "derivatives", folder / "store.hdf5"
    other.group["atlas"] = name
    return other


def other_labels():
    values = labels()
    values[3, 3:] = 2
    return values


def test_an_atlas_is_known_by_its_content_and_not_by_its_name(tmp_path, of_images):
    trained = described(MultiSubjectDataset(of_images.target))
    renamed, other = (
        with_atlas(of_images, tmp_path / "renamed", labels(), "parcels.nii"),
        with_atlas(of_images, tmp_path / "other", other_labels()),
    )
    found = {}
    for study in (renamed, other):
        study.create().close()
        found[study] = list(differences(trained, MultiSubjectDataset(study.target)))
    assert found[renamed] == []
    (told,) = found[other]
    words = (
        r"atlas is atlas\.nii\.gz \(SHA-256 (\w{12})\.\.\) in the training data and atlas\.nii\.gz \(SHA-256 (\w{12})"
    )
    digests = re.match(words, told)
    assert digests[1] != digests[2]
    assert list(differences(trained, MultiSubjectDataset(other.target), same_channels=False)) == []


def test_stores_without_the_content_are_compared_by_names(tmp_path, of_images):
    other = with_atlas(of_images, tmp_path / "other", other_labels())
    other.create().close()
    with h5py.File(other.target, "r+") as file:
        del file.attrs["shared_files"]
    trained = described(MultiSubjectDataset(of_images.target))
    assert list(differences(trained, MultiSubjectDataset(other.target))) == []
    del trained["preparation"]["files"]
    assert list(differences(trained, MultiSubjectDataset(of_images.target))) == []


def test_subjects_read_by_another_atlas_are_not_added(tmp_path, of_images):
    other = with_atlas(of_images, tmp_path / "other", other_labels())
    (tmp_path / "new.txt").write_text("sub-03\n")
    sub = other.root / "sub-02"
    for path in sorted(sub.rglob("sub-02*")):
        path.rename(path.with_name(path.name.replace("sub-02", "sub-03")))
    sub.rename(other.root / "sub-03")
    (other.folder / "config.json").write_text(json.dumps(other.config))
    sentence = r"bold\.atlas: atlas\.nii\.gz \(SHA-256 .* is another file than atlas\.nii\.gz"
    with pytest.raises(DataError, match=sentence):
        add_subjects(other.root, of_images.target, other.folder / "config.json", {"testing": tmp_path / "new.txt"})
    with pytest.raises(DataError, match=sentence):
        apply_preparation(
            of_images.target,
            other.root,
            tmp_path / "new.hdf5",
            config_folder=other.folder,
            subjects_list=tmp_path / "new.txt",
        )
