"""Stores of continuous MEG and EEG recordings: bad stretches, events, statistics, and keys of the config."""

import numpy as np
import pytest

mne = pytest.importorskip("mne")

from recordings_making import Folders, raw_of, saved, volts  # noqa: E402
from running_scripts import run_here  # noqa: E402

from dynml.conversion.sources.units import check_stated_units  # noqa: E402
from dynml.errors import ConfigurationError, DataError, DataWarning  # noqa: E402


@pytest.fixture
def folders(tmp_path):
    made = Folders(tmp_path, ["sub-a", "sub-ü"], standardization="none")
    for number, subject in enumerate(made.lists["training"] + made.lists["validation"]):
        for run in range(2):
            raw = raw_of(volts(3, seed=10 * number + run))
            marks = mne.Annotations(
                [1.0, 3.0, 4.0], [0.5, 0.5, 0.2], ["BAD", "face", "house"][: 3 - run] + ["go"] * run
            )
            saved(made.of(subject) / f"run-{run}_raw.fif", raw.set_annotations(marks))
    return made


def test_a_store_from_the_command_line(folders):
    lists = folders.write_inputs()
    arguments = [folders.folder / "ready", folders.target, folders.folder / "config.json", *lists.values()]
    done = run_here("dynml_create_hdf5_dataset.py", *arguments)
    assert "Stretches that the files mark as bad were cut out" in done.stderr
    run_here("dynml_hdf5_verify.py", folders.target)
    with folders.create() as store:
        group = store.attributes("sub-ü", "eeg")
        assert (group.units, group.sampling_frequency, group.channel_names) == ("V", 100.0, ("A0", "A1", "A2"))
        assert store.segments("sub-ü", "eeg").tolist() == [[0, 100], [150, 1000], [1000, 1100], [1150, 2000]]
        assert store.source_samples("sub-ü", "eeg").tolist() == [[0, 0], [150, 0], [0, 1], [150, 1]]
        expected = np.concatenate([volts(3, seed=10 + run) for run in range(2)], axis=1).T
        np.testing.assert_allclose(store.read("sub-ü", "eeg"), expected, rtol=1e-6, atol=1e-12)
        events = store.events("sub-ü", "eeg")
        assert events.onset.tolist() == [300, 400, 1300, 1400]
        assert events.duration.tolist() == [50, 20, 50, 20]
        assert [events.names["description"][code] for code in events.labels["description"]] == [
            "face",
            "house",
            "face",
            "go",
        ]


def test_a_fault_ends_with_status_2_and_leaves_nothing(folders):
    folders.config["picks"] = "mag"
    lists = folders.write_inputs()
    arguments = [folders.folder / "ready", folders.target, folders.folder / "config.json", *lists.values()]
    told = run_here("dynml_create_hdf5_dataset.py", *arguments, status=2).stderr.strip().splitlines()
    assert len(told) == 1
    assert "no channels 'mag' as asked for by 'picks'; it has eeg (A0, A1, A2)" in told[0]
    assert not list(folders.folder.glob("store*"))


def test_statistics_do_not_see_what_is_marked_bad(folders):
    folders.config["standardization"] = "per_run"
    signals = volts(3, seed=0)
    signals[:, 100:150] = 1.0
    marks = mne.Annotations([1.0], [0.5], ["BAD"])
    saved(folders.of("sub-a") / "run-0_raw.fif", raw_of(signals).set_annotations(marks))
    with folders.create() as store:
        good = np.delete(signals, slice(100, 150), axis=1)
        np.testing.assert_allclose(store.mean("sub-a", "eeg")[0], good.mean(axis=1), rtol=1e-9)


def test_missing_samples_count_only_where_nothing_is_marked_bad(folders):
    path = folders.of("sub-a") / "run-0_raw.fif"
    signals = volts(3)
    signals[1, 100:150] = np.nan
    marks = mne.Annotations([1.0], [0.5], ["BAD"])
    saved(path, raw_of(signals).set_annotations(marks))
    folders.create().close()
    signals[2, 700:703] = np.nan
    saved(path, raw_of(signals).set_annotations(marks))
    with pytest.raises(DataError, match=r"run run-0_raw: channel A2 is nan at sample 700, the first of 3 values"):
        folders.create()
    folders.config["missing"] = "segment"
    with folders.create() as store:
        assert store.segments("sub-a", "eeg")[:3].tolist() == [[0, 100], [150, 700], [703, 1000]]
    folders.config["missing"] = "mask"
    with folders.create() as store:
        # The stretch that is marked bad stays a cut.
        assert store.segments("sub-a", "eeg")[:2].tolist() == [[0, 100], [150, 1000]]
        assert store.attributes("sub-a", "eeg").n_masked == 3
    signals[1, ::2] = np.nan
    saved(path, raw_of(signals).set_annotations(marks))
    with pytest.raises(DataError, match="no two neighbouring samples that are"):
        folders.create()


def test_what_is_removed_from_whole_runs_would_reach_over_bad_stretches(folders):
    folders.config["low_pass"] = 20.0
    with pytest.raises(
        DataError, match=r"run-0_raw\.fif holds epochs, cases, joined runs or stretches marked bad, over which"
    ):
        folders.create()


def test_a_stated_rate_and_stated_units_override_the_header_with_warnings(folders):
    folders.config |= {"sampling_frequency": 50.0, "units": "uV"}
    for path in folders.folder.rglob("*_raw.fif"):
        wrong = mne.io.read_raw(path, preload=True)  # microvolts that the header takes for volts
        saved(path, wrong.apply_function(lambda signals: 1e6 * signals))
    with pytest.warns(DataWarning) as told:
        store = folders.create()
    with store:
        assert store.attributes("sub-a", "eeg").sampling_frequency == 50.0
        assert store.attributes("sub-a", "eeg").units == "uV"
        assert store.events("sub-a", "eeg").onset.tolist() == [300, 400, 1300, 1400]
    texts = [str(one.message) for one in told]
    assert any("rate of 50 Hz overrides that of the files: 100 Hz in sub-a/run-0_raw.fif" in text for text in texts)
    assert any(
        "units 'uV' override those of the files, without conversion: V in sub-a/run-0_raw.fif" in text for text in texts
    )


@pytest.mark.parametrize("stated", ["uV", "mV", "\u00b5V", "microvolts"])
def test_units_that_the_numbers_cannot_have_are_refused(folders, stated):
    folders.config["units"] = stated
    with pytest.raises(DataError, match=r"Subject sub-a, group eeg, run run-0_raw: the file's units are V, of which"):
        folders.create()
    assert not folders.target.exists()


@pytest.mark.parametrize(
    ("size", "stated", "declared", "is_refused"),
    [
        (1e-12, "fT", "T", True),
        (500.0, "fT", "T", False),
        (1e-12, "fT", "T (mag), T/m (grad)", True),
        (1e-11, "fT/cm", "T/m", True),
        (1e-5, "V", "V", False),
        (1e-5, "volts", "V", False),
        (1e-5, "z", "V", False),
        (1.0, "uV", "V", False),
        (1e-5, "uV", None, False),
    ],
)
def test_stated_units_are_held_against_the_size_of_the_numbers(size, stated, declared, is_refused):
    run = size * np.random.default_rng(0).normal(size=(1000, 3))
    run[:10] = np.nan
    if is_refused:
        with pytest.raises(DataError, match="leave 'units' out"):
            check_stated_units(run, stated, declared, "Here")
    else:
        check_stated_units(run, stated, declared, "Here")


def test_tables_of_events_take_the_place_of_annotations(folders):
    (folders.folder / "events.tsv").write_text("onset\tduration\trun\tkind\n2\t1\t0\tx\n2\t1\t1\ty\n")
    folders.config["events"] = "events.tsv"
    with pytest.warns(DataWarning, match="'events' takes the place of the events in the files"):
        store = folders.create()
    with store:
        assert store.events("sub-a", "eeg").names == {"kind": ("x", "y")}
        assert store.events("sub-a", "eeg").onset.tolist() == [200, 1200]


def test_bad_channels_of_a_store(folders):
    for run in range(2):
        raw = raw_of(volts(3))
        raw.info["bads"] = ["A1"]
        saved(folders.of("sub-a") / f"run-{run}_raw.fif", raw)
    with pytest.raises(DataError, match=r"the number of channels is \d, but \d"):
        folders.create()
    folders.config["include_bads"] = True
    with folders.create() as store:
        assert store.attributes("sub-a", "eeg").channel_names == ("A0", "A1", "A2")


def test_channels_that_differ_between_subjects_are_refused(folders):
    names = ["A0", "A2", "A1"]
    for run in range(2):
        saved(folders.of("sub-ü") / f"run-{run}_raw.fif", raw_of(volts(3), names=names))
    with pytest.raises(DataError, match="sub-ü, .* the order of the channels differs: channel 1 is 'A2', but 'A1'"):
        folders.create()
    folders.config["picks"] = ["A0", "A1", "A2"]
    with folders.create() as store:
        np.testing.assert_allclose(store.read("sub-ü", "eeg", 0, 1000)[:, 1], volts(3)[2], rtol=1e-6)


@pytest.mark.parametrize(
    "settings", [{"picks": []}, {"picks": [""]}, {"picks": 3}, {"include_bads": "no"}, {"pick": "eeg"}]
)
def test_faulty_keys_are_named(folders, settings):
    folders.config |= settings
    with pytest.raises(ConfigurationError, match=rf"eeg\.{next(iter(settings))} is "):
        folders.create()


def test_keys_of_other_formats_are_refused(folders):
    folders.config["time_axis"] = "last"
    with pytest.raises(
        ConfigurationError, match=r"eeg\.time_axis is 'last', but must be left out for files like run-0_raw"
    ):
        folders.create()
    del folders.config["time_axis"]
    np.save(folders.of("sub-a") / "a.npy", volts(3).T)
    folders.config |= {"files": ["*.npy"], "picks": "eeg"}
    with pytest.raises(ConfigurationError, match=r"eeg\.picks is 'eeg', but must be left out for files like a\.npy"):
        folders.create()


def test_a_slow_repetition_time_that_the_files_say_too_is_taken(folders):
    for path in folders.folder.glob("ready/*/*.fif"):
        path.unlink()
    for subject in ("sub-a", "sub-ü"):
        info = mne.create_info(["x", "y"], 1 / 200, "eeg")
        mne.io.RawArray(volts(2), info).save(folders.of(subject) / "run-0_raw.fif", verbose="ERROR")
    folders.config["repetition_time"] = 200.0
    assert folders.create().attributes("sub-a", "eeg").sampling_frequency == 0.005
