import warnings

import numpy as np
import pytest
from store_making import Study, noise, two_subjects

from dynml.data_warnings import DataWarnings
from dynml.errors import ConfigurationError, DataError, DataWarning, DynmlError
from dynml.store.participants import identities
from dynml.store.reading import Store


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"standardisation": "none"}, r"signals\.standardisation .*did you mean 'standardization'"),
        ({"standardization": "all"}, r"signals\.standardization is 'all', but must be one of per_run"),
        ({"type": "volume"}, r"signals\.type is 'volume'"),
        ({"missing": "ignore"}, r"signals\.missing is 'ignore'"),
        ({"detrend": "yes"}, r"signals\.detrend is 'yes', but must be true or false"),
        ({"sampling_frequency": 0}, r"signals\.sampling_frequency is 0"),
        ({"sampling_frequency": "100"}, r"signals\.sampling_frequency is '100'"),
        ({"sampling_frequency": float("inf")}, r"signals\.sampling_frequency is inf"),
        ({"sampling_frequency": 100.0, "repetition_time": 2.0}, r"signals\.repetition_time is 2\.0"),
        ({"files": []}, r"signals\.files is \[\]"),
        ({"files": ["a.npy", 3]}, r"signals\.files"),
        ({"preparation": ["detrnd"]}, r"signals.*'detrnd' is not a preparation step.*detrend"),
        (
            {"atlas": "atlas.nii.gz"},
            r"signals\.atlas.*left out for files like .*\.npy: it is a key of \.dtseries\.nii \.nii",
        ),
        ({"units": 3}, r"signals\.units is 3"),
    ],
)
def test_a_faulty_setting_is_named(tmp_path, settings, sentence):
    study = two_subjects(tmp_path)
    study.config["signals"].update(settings)
    with pytest.raises(DynmlError, match=sentence):
        study.create()
    assert not study.target.exists()


def test_a_setting_that_files_cannot_use_is_refused(tmp_path):
    study = two_subjects(tmp_path, mask="auto")
    with pytest.raises(ConfigurationError, match=r"signals\.mask is 'auto', but must be left out for .* run-0\.npy"):
        study.create()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[1]", "must hold a JSON object"),
        ("{", "not valid JSON: line 1"),
        ("{}", "names no group"),
        ('{"split": "runs"}', "names no group"),
        ('{"a/b": {"type": "timeseries", "files": "x"}}', "'a/b' cannot name a group"),
        ('{"signals": {"files": "x.npy"}}', "has no 'type'"),
        ('{"signals": {"type": "timeseries"}}', "has no 'files'"),
        ('{"participant": {"a": "b"}}', "did you mean 'participants'"),
        ('{"splt": "runs"}', "did you mean 'split'"),
        ('{"split": "subject", "s": {"type": "timeseries", "files": "x"}}', "split is 'subject'"),
    ],
)
def test_a_faulty_config_file_is_refused(tmp_path, content, sentence):
    from dynml.conversion.config import read_store_config

    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(DynmlError, match=sentence):
        read_store_config(path)


def test_a_missing_config_file_is_named(tmp_path):
    from dynml.conversion.config import read_store_config

    with pytest.raises(DynmlError, match=r"nothing\.json does not exist"):
        read_store_config(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    ("lists", "sentence"),
    [
        ({"training": [], "validation": [], "testing": []}, "None of the lists .* names a subject"),
        ({"training": ["sub-a", "sub-a"]}, r"Subject sub-a is listed twice in .*training\.txt"),
        (
            {"training": ["sub-a"], "validation": ["sub-a"]},
            "Subject sub-a stands in two lists: .*training.*valid",
        ),
        ({"training": ["sub-aa"]}, r"has no folder of subject sub-aa \(did you mean 'sub-a'"),
        ({"training": ["../sub-a"]}, r"names a subject '\.\./sub-a', which cannot be the name of a folder"),
        ({"training": ["sub-a sub-b"]}, "one name per line"),
    ],
)
def test_faulty_lists_are_refused(tmp_path, lists, sentence):
    study = two_subjects(tmp_path)
    study.lists.update(lists)
    with pytest.raises(DataError, match=sentence):
        study.create()


def test_lists_may_have_comments_and_empty_lines(tmp_path):
    from dynml.conversion.config import read_subject_list

    path = tmp_path / "list.txt"
    path.write_text("\ufeff# the young\nsub-2\n\n  sub-10  \r\n", encoding="utf-8")
    assert read_subject_list(path) == ["sub-2", "sub-10"]
    with pytest.raises(DataError, match=r"none\.txt does not exist"):
        read_subject_list(tmp_path / "none.txt")


def test_a_pattern_without_files_and_a_missing_file_are_named(tmp_path):
    study = two_subjects(tmp_path, files=["run-*.npy", "rest*.npy"])
    with pytest.raises(
        DataError, match=r"Subject sub-a, group signals: rest\*\.npy matches no file in .*sub-a; every pattern must"
    ):
        study.create()
    study.config["signals"]["files"] = ["run-1.npy"]
    with pytest.raises(DataError, match=r"Subject sub-b, group signals: run-1\.npy is missing in .*sub-b"):
        study.create()


def test_everything_is_checked_before_anything_is_written(tmp_path, monkeypatch):
    study = two_subjects(tmp_path)
    study.save("sub-b", 0, np.zeros((50, 3), dtype=np.float32))
    monkeypatch.setattr("dynml.conversion.creation.new_store", lambda *a, **k: pytest.fail("the store was opened"))
    with pytest.raises(DataError, match="number of channels"):
        study.create()


def test_channel_counts_that_differ_name_the_odd_subject(tmp_path):
    study = two_subjects(tmp_path)
    for subject in ("sub-c", "sub-d"):
        (study.ready / subject).mkdir()
        study.save(subject, 0, noise(50, 4))
    study.lists["validation"] = ["sub-c", "sub-d"]
    study.save("sub-c", 0, noise(50, 5))
    sentence = "Subject sub-c, group signals: the number of channels is 5, but 4 in sub-a and 2 more"
    with pytest.raises(DataError, match=sentence):
        study.create()
    study.save("sub-c", 0, noise(50, 4))
    study.save("sub-a", 1, noise(50, 6))
    with pytest.raises(DataError, match="sub-a, .* the number of channels is 6 in run run-1, but 4 in run run-0"):
        study.create()


def test_channel_names_and_their_order_must_agree(tmp_path):
    study = two_subjects(tmp_path, channel_names="names.txt")
    (study.ready / "sub-a" / "names.txt").write_text("Fz\nCz\nPz\nOz\n")
    (study.ready / "sub-b" / "names.txt").write_text("Fz\nPz\nCz\nOz\n")
    with pytest.raises(DataError, match="sub-b, .* the order of the channels differs: channel 1 is 'Pz', but 'Cz'"):
        study.create()
    (study.ready / "sub-b" / "names.txt").write_text("Fz\nCz\nPz\nO2\n")
    with pytest.raises(DataError, match="sub-b, .* the channel names differ: channel 3 is 'O2', but 'Oz' in sub-a"):
        study.create()


@pytest.mark.parametrize("array", [np.zeros((4, 120)), np.zeros((5, 400))])
def test_transposed_arrays_are_recognized(tmp_path, array):
    study = two_subjects(tmp_path)
    study.save("sub-b", 0, array)
    with pytest.raises(DataError, match=r"sub-b.*transposed.*array\.T"):
        study.create()


def test_a_wide_array_is_accepted_when_its_channels_are_named(tmp_path):
    study = two_subjects(tmp_path, channel_names=[f"v{number}" for number in range(210)])
    for subject in study.runs:
        for number in range(len(study.runs[subject])):
            study.save(subject, number, noise(10, 210))
    with pytest.warns(DataWarning, match="rank"):
        assert study.create().attributes("sub-a", "signals").n_channels == 210


@pytest.mark.parametrize(("n_samples", "words"), [(0, "is empty"), (1, "has a single sample")])
def test_runs_without_length_are_refused(tmp_path, n_samples, words):
    study = two_subjects(tmp_path)
    study.save("sub-a", 1, np.zeros((n_samples, 4), dtype=np.float32))
    with pytest.raises(DataError, match=f"Subject sub-a, group signals, run run-1 .* {words}"):
        study.create()


def test_a_rate_is_needed(tmp_path):
    study = two_subjects(tmp_path)
    del study.config["signals"]["sampling_frequency"]
    with pytest.raises(DataError, match=r"run-0\.npy does not say its sampling frequency; give 'sampling_frequency'"):
        study.create()


@pytest.mark.parametrize(
    ("value", "words"),
    [(2000, "milliseconds, that is 2 s"), (720000, "microseconds, that is 0.72 s"), (1e12, "no series is that slow")],
)
def test_a_repetition_time_in_other_units_is_refused_with_the_one_in_seconds(tmp_path, value, words):
    study = two_subjects(tmp_path)
    del study.config["signals"]["sampling_frequency"]
    study.config["signals"]["repetition_time"] = value
    with pytest.raises(ConfigurationError, match=rf"signals\.repetition_time is .* must be in seconds \(.*{words}"):
        study.create()
    study.config["signals"]["repetition_time"] = 100
    assert study.create().attributes("sub-a", "signals").sampling_frequency == 0.01


def test_participants_are_the_subjects_by_default(tmp_path):
    store = two_subjects(tmp_path).create()
    assert store.participant("sub-a") == "sub-a"
    assert store.split == "participants"


def test_participants_from_a_table(tmp_path):
    study = two_subjects(tmp_path)
    study.config["participants"] = "participants.tsv"
    table = "subject\tparticipant\tdataset\tage\nsub-a\tp1\tLEMON\t31\nsub-b\tp2\tLEMON\tn/a\nsub-x\tp3\tLEMON\t9\n"
    (tmp_path / "participants.tsv").write_text(table)
    store = study.create()
    assert [store.participant(subject) for subject in store.subjects] == ["p1", "p2"]
    assert store.covariates("sub-a") == {"dataset": "LEMON", "age": "31"}
    assert store.covariates("sub-b") == {"dataset": "LEMON"}
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-a\t31\n")
    with pytest.raises(DataError, match=r"Subject sub-b is not in .*participants\.tsv"):
        study.create(overwrite=True)
    (tmp_path / "participants.tsv").write_text("name\tage\nsub-a\t31\n")
    with pytest.raises(DataError, match="no column 'subject' or 'participant_id'; it has name, age"):
        study.create(overwrite=True)


def test_bids_participants_are_found_by_their_identifier(tmp_path):
    study = two_subjects(tmp_path)
    study.config["participants"] = "participants.tsv"
    (study.ready / "participants.tsv").write_text("participant_id\tage\nsub-a\t31\nsub-b\t40\n")
    store = study.create()
    assert store.participant("sub-b") == "sub-b"
    assert store.covariates("sub-b") == {"age": "40"}


@pytest.mark.parametrize(
    "names", [("01", "02"), ("sub-1", "sub-2"), ("SUB-01", "SUB-02"), ("1", "2"), ("sub-01 ", "sub-02")]
)
def test_participants_are_found_under_other_spellings_of_their_names(tmp_path, names):
    study = Study(tmp_path, {"sub-01": [noise(40)], "sub-02": [noise(40, seed=1)]}, sampling_frequency=10.0)
    study.config["participants"] = "participants.tsv"
    text = f"participant_id\tage\n{names[1]}\t31\n{names[0]}\t40\n003\t5\n"
    (tmp_path / "participants.tsv").write_text(text, encoding="utf-8-sig")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        store = study.create()
    assert any("names subjects in another way" in str(one.message) for one in told) == (names[1] != "sub-02")
    assert [store.covariates(subject) for subject in ("sub-01", "sub-02")] == [{"age": "40"}, {"age": "31"}]


def test_a_spelling_that_fits_two_is_not_guessed(tmp_path):
    study = Study(tmp_path, {"sub-01": [noise(40)], "sub-001": [noise(40, seed=1)]}, sampling_frequency=10.0)
    study.config["participants"] = "participants.tsv"
    (tmp_path / "participants.tsv").write_text("participant_id\tage\n1\t31\nsub-001\t30\nsub-1\t29\n")
    with pytest.raises(DataError, match=r"Subject sub-01 is not in .*participants\.tsv"):
        study.create()


def test_several_rows_of_a_participant_keep_what_they_agree_in(tmp_path):
    study = two_subjects(tmp_path)
    study.config["participants"] = "participants.tsv"
    text = "participant_id\tsession_id\tage\tsex\nsub-a\t1\t31\tF\nsub-a\t2\t32\tn/a\nsub-b\t1\t40\tM\n"
    (tmp_path / "participants.tsv").write_text(text)
    with pytest.warns(DataWarning, match=r"several rows for some subjects; .* left out: sub-a: session_id, age\."):
        store = study.create()
    assert store.covariates("sub-a") == {"sex": "F"}
    assert store.covariates("sub-b") == {"session_id": "1", "age": "40", "sex": "M"}
    (tmp_path / "participants.tsv").write_text(text.replace("participant_id", "subject"))
    with pytest.raises(DataError, match="Subject sub-a is listed twice in"):
        study.create(overwrite=True)


def test_a_participant_in_two_subsets_is_refused_unless_runs_are_split(tmp_path):
    study = two_subjects(tmp_path)
    study.lists = {"training": ["sub-a"], "validation": ["sub-b"], "testing": []}
    study.config["participants"] = {"sub-a": "anna", "sub-b": {"participant": "anna", "site": "Trier"}}
    with pytest.raises(DataError, match="Participant anna is in two subsets: subject sub-a in training, subject sub-b"):
        study.create()
    study.config["split"] = "runs"
    store = study.create()
    assert store.split == "runs"
    assert store.participant("sub-a") == store.participant("sub-b") == "anna"
    assert store.covariates("sub-b") == {"site": "Trier"}


def test_unlisted_folders_make_one_warning(tmp_path):
    study = two_subjects(tmp_path)
    for number in range(20):
        (study.ready / f"extra-{number}").mkdir()
    with pytest.warns(DataWarning) as told:
        study.create()
    assert [str(warning.message) for warning in told] == [
        f"20 of the folders in {study.ready} are in no list and were left out: extra-0, extra-1, extra-2, ..."
    ]


def test_a_missing_ready_folder_is_named(tmp_path):
    study = two_subjects(tmp_path)
    study.ready = tmp_path / "nowhere"
    with pytest.raises(DataError, match="nowhere does not exist"):
        study.create()


def test_subjects_are_read_in_natural_order(tmp_path):
    study = two_subjects(tmp_path)
    for number in (10, 9, 1):
        (study.ready / f"s{number}").mkdir()
        study.save(f"s{number}", 0, noise(30))
    study.lists["testing"] = ["s10", "s1", "s9"]
    store: Store = study.create()
    assert store.subjects == ["s1", "s9", "s10", "sub-a", "sub-b"]
    assert store.subset("testing") == ["s10", "s1", "s9"]


NO_NAMES = {"long": "x" * 5000 + ".tsv", "deep": "x/" * 3000 + "x.npy", "nul": "a\0b.tsv", "wild": "a\0*/" + "x" * 300}


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize(
    "key", ["participants", "files", "atlas", "mask", "confounds", "events", "channel_names", "raw"]
)
def test_a_path_that_can_be_no_name_is_refused_by_the_library_itself(tmp_path, key, name):
    study, path = two_subjects(tmp_path), NO_NAMES[name]
    if key == "participants":
        study.config[key] = path
    elif key == "raw":
        study.config["signals"] = {"type": "timeseries", "bids": {"pipeline": "fmriprep", "raw": path}}
    else:
        study.config["signals"][key] = [path] if key == "files" else path
    with pytest.raises(DynmlError):
        study.create()
    assert not study.target.exists()


@pytest.mark.parametrize("name", ["x" * 300 + ".hdf5", "x" * 5000 + ".hdf5", "a\0b.hdf5"])
def test_a_target_that_can_be_no_name_is_refused_by_the_library_itself(tmp_path, name):
    study = two_subjects(tmp_path)
    study.target = tmp_path / name
    with pytest.raises(DynmlError):
        study.create()
    with pytest.raises(DynmlError):
        Store(study.target)
    study.ready, study.target = tmp_path / name, tmp_path / "store.hdf5"
    with pytest.raises(DynmlError):
        study.create()


def test_one_person_under_two_names_is_refused_and_similar_names_are_told(tmp_path):
    study = Study(tmp_path, {name: [noise(50, seed=seed)] for seed, name in enumerate(["001", "sub-001", "1"])})
    study.lists = {"training": ["001", "1"], "validation": ["sub-001"], "testing": []}
    with pytest.raises(DataError, match="names one participant in two ways, 001 and sub-001"):
        study.create()
    study.config["participants"] = {"001": "a", "sub-001": "A", "1": "01"}
    with pytest.warns(DataWarning, match="differ by zeros or case alone count as different people: a and A"):
        study.create()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["run-01", "run-02", "run-10"], ["run-01", "run-02", "run-10"]),
        (["sub-1_ses-1", "sub-1_ses-2", "sub-2_ses-1"], ["sub-1_ses-1", "sub-1_ses-2"]),
        (["sub-1", "sub-2", "runner-1", "recovery_2"], []),
        (["sub-1_run-1", "sub-2_run-1"], []),
    ],
)
def test_folders_named_as_runs_are_not_silently_taken_for_people(tmp_path, names, told):
    warned = DataWarnings()
    found = identities(names, None, [tmp_path], warned)
    assert {name: one.participant for name, one in found.items()} == {name: name for name in names}
    lines = warned.sentences()
    assert len(lines) == bool(told)
    if told:
        assert "each counts as a person of its own" in lines[0]
        assert lines[0].endswith(f"{', '.join(told)}.")
    described = {name: {"participant": "sub-1"} for name in names}
    identities(names, described, [tmp_path], silent := DataWarnings())
    assert silent.sentences() == []
