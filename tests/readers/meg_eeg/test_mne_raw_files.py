import os
import sys
from pathlib import Path

import numpy as np
import pytest

mne = pytest.importorskip("mne")

from recordings_making import Folders, raw_of, saved, volts  # noqa: E402

from dynml.errors import DataCorruptionError, DataError  # noqa: E402
from dynml.readers import extension_of  # noqa: E402
from dynml.readers.meg_eeg.raw import good_stretches  # noqa: E402
from dynml.readers.meg_eeg.reader import MneReader  # noqa: E402
from dynml.readers.without_channels import WithoutChannels  # noqa: E402


def described(path, **settings):
    return MneReader(MneReader.Config(**settings)).describe(path)


def read(path, **settings):
    return MneReader(MneReader.Config(**settings)).read(path)


@pytest.mark.parametrize("name", ["a_raw.fif", "a_raw.fif.gz", "Übung mit Leerzeichen_raw.fif", "l" * 180 + "_raw.fif"])
def test_signals_come_as_they_were_saved(tmp_path, name):
    signals = volts(3)
    path = saved(tmp_path / name, raw_of(signals))
    description = described(path)
    assert (description.n_samples, description.n_channels) == (1000, 3)
    assert description.channel_names == ("A0", "A1", "A2")
    assert (description.sampling_frequency, description.units, description.events) == (100.0, "V", None)
    assert description.stretches.tolist() == [[0, 1000]]
    np.testing.assert_array_equal(read(path), signals.T)


def test_reading_in_blocks_changes_nothing(tmp_path, monkeypatch):
    path = saved(tmp_path / "a_raw.fif", raw_of(volts(3)))
    monkeypatch.setattr("dynml.readers.meg_eeg.raw.BYTES_PER_BLOCK", 8 * 3 * 37)
    np.testing.assert_array_equal(read(path), volts(3).T)


@pytest.mark.parametrize(("extension", "tolerance"), [("edf", 3e-9), ("bdf", 1e-10), ("vhdr", 1e-11), ("set", 1e-11)])
def test_formats_of_eeg_give_the_numbers_that_were_exported(tmp_path, extension, tolerance):
    pytest.importorskip({"vhdr": "pybv", "set": "eeglabio"}.get(extension, "edfio"))
    raw = raw_of(volts(3).astype(np.float32).astype(float))
    raw.set_annotations(mne.Annotations([2.0, 5.0], [1.0, 0.5], ["BAD move", "face"]))
    path = tmp_path / f"a.{extension}"
    mne.export.export_raw(path, raw, fmt="edf" if extension == "bdf" else "auto") if extension != "bdf" else save_bdf(
        path, raw
    )
    description = described(path)
    assert (description.n_samples, description.sampling_frequency, description.units) == (1000, 100.0, "V")
    assert description.channel_names == ("A0", "A1", "A2")
    assert description.stretches.tolist() == [[0, 200], [300, 1000]]
    assert description.events.onset.tolist() == [500]
    assert description.events.duration.tolist() == [50]
    assert description.events.labels["description"][0].endswith("face")
    np.testing.assert_allclose(read(path), raw.get_data().T, rtol=0, atol=tolerance)
    assert [file.name for file in description.further_files] == (["a.eeg"] if extension == "vhdr" else [])


def save_bdf(path, raw):
    edfio = pytest.importorskip("edfio")
    signals = [
        edfio.BdfSignal(row * 1e6, 100, label=name, physical_dimension="uV")
        for row, name in zip(raw.get_data(), raw.ch_names)
    ]
    marks = [
        edfio.EdfAnnotation(onset, duration, text)
        for onset, duration, text in zip(raw.annotations.onset, raw.annotations.duration, raw.annotations.description)
    ]
    edfio.Bdf(signals, annotations=marks).write(path)


@pytest.mark.parametrize("first_samp", [0, 730])
@pytest.mark.parametrize("dated", [False, True])
def test_bad_annotations_leave_what_mne_omits(tmp_path, first_samp, dated):
    raw = raw_of(volts(2), rate=97.0, first_samp=first_samp)
    if dated:
        raw.set_meas_date(1_000_000_000)
    start = first_samp / 97.0 if dated else 0.0
    origin = raw.info["meas_date"] if dated else None
    onset = start + np.array([0.0, 2.03, 2.5, 7.7])
    marks = ["BAD_start", "bad jump", "Bad again", "cue"]
    raw.set_annotations(mne.Annotations(onset, [0.33, 1.0, 1.2, 0.5], marks, orig_time=origin))
    path = saved(tmp_path / "a_raw.fif", raw)
    description = described(path)
    signals = read(path)
    kept = np.concatenate([signals[start:stop] for start, stop in description.stretches])
    np.testing.assert_array_equal(kept, mne.io.read_raw_fif(path).get_data(reject_by_annotation="omit").T)
    assert description.stretches.tolist() == [[32, 197], [359, 1000]]
    assert description.events.onset.tolist() == [round(7.7 * 97)]
    assert description.events.labels == {"description": ["cue"]}


def test_a_cropped_recording_counts_from_its_own_start(tmp_path):
    raw = raw_of(volts(2))
    raw.set_meas_date(1_000_000_000)
    raw.set_annotations(mne.Annotations([5.0, 6.0], [0.5, 0.1], ["BAD", "go"], orig_time=raw.info["meas_date"]))
    description = described(saved(tmp_path / "a_raw.fif", raw.copy().crop(4.0, 9.0)))
    assert description.n_samples == 501
    assert description.stretches.tolist() == [[0, 100], [150, 501]]
    assert description.events.onset.tolist() == [200]


def test_joined_recordings_are_two_segments(tmp_path):
    joined = mne.concatenate_raws([raw_of(volts(2, 300)), raw_of(volts(2, 200, seed=1))])
    description = described(saved(tmp_path / "a_raw.fif", joined))
    assert description.stretches.tolist() == [[0, 300], [300, 500]]
    assert description.events is None


def test_a_bad_annotation_without_length_divides(tmp_path):
    raw = raw_of(volts(2, 500)).set_annotations(mne.Annotations([3.0], [0.0], ["BAD boundary"]))
    assert described(saved(tmp_path / "a_raw.fif", raw)).stretches.tolist() == [[0, 300], [300, 500]]


@pytest.mark.parametrize("types", [("go", "boundary"), ("go", "Boundary"), (7.0, -99.0), (7, -99), ("7", "-99")])
def test_a_boundary_of_eeglab_divides_and_its_duration_is_not_cut_out(tmp_path, types):
    import scipy.io

    signals = volts(2).astype(np.float32) * 1e6
    signals.T.tofile(tmp_path / "a.fdt")
    places = np.zeros(2, dtype=[("labels", object)])
    places["labels"] = ["A", "B"]
    events = np.zeros(2, dtype=[("type", object), ("latency", object), ("duration", object)])
    events["type"], events["latency"], events["duration"] = types, [101.0, 401.5], [1.0, 300.0]
    empty = ("icawinv", "icaweights", "icasphere", "icachansind", "icaact", "epoch")
    eeg = {"nbchan": 2, "pnts": 1000, "trials": 1, "srate": 100.0, "xmin": 0.0, "xmax": 9.99, "data": "a.fdt"}
    eeg |= {"setname": "a", "chanlocs": places, "event": events, "ref": "common", **{name: [] for name in empty}}
    path = tmp_path / "a.set"
    scipy.io.savemat(path, {"EEG": eeg}, appendmat=False)
    description = described(path)
    assert description.stretches.tolist() == [[0, 401], [401, 1000]]
    assert description.events.onset.tolist() == [100]
    np.testing.assert_allclose(read(path), signals.T * 1e-6, rtol=1e-6)
    assert [file.name for file in description.further_files] == ["a.fdt"]
    (tmp_path / "a.fdt").write_bytes((tmp_path / "a.fdt").read_bytes()[:-500])
    with pytest.raises(DataCorruptionError, match=r"a\.set could not be read by mne, as if damaged or truncated"):
        read(path)


def test_stretches_that_overlap_and_touch_the_ends():
    assert good_stretches(10, []).tolist() == [[0, 10]]
    assert good_stretches(10, [(0, 2), (1, 3), (9, 12)]).tolist() == [[3, 9]]
    assert good_stretches(10, [(-5, 2), (4, 4)], [6, 1, 0, 10]).tolist() == [[2, 6], [6, 10]]
    assert good_stretches(10, [(0, 10)], [5]).tolist() == []


def test_annotations_of_other_channels_do_not_count(tmp_path):
    raw = raw_of(volts(3))
    raw.set_annotations(mne.Annotations([1, 3], [1, 1], ["BAD", "BAD"], ch_names=[["A0"], ["A2"]]))
    path = saved(tmp_path / "a_raw.fif", raw)
    assert described(path, picks=["A0", "A1"]).stretches.tolist() == [[0, 100], [200, 1000]]
    assert described(path).stretches.tolist() == [[0, 100], [200, 300], [400, 1000]]


def test_a_recording_that_is_all_bad_is_refused(tmp_path):
    raw = raw_of(volts(2))
    raw.set_annotations(mne.Annotations([0], [10.0], ["BAD"]))
    with pytest.raises(DataError, match=r"a_raw\.fif: annotations mark all 1000 samples as bad"):
        described(saved(tmp_path / "a_raw.fif", raw))


MIXED = ["mag", "grad", "eeg", "misc", "stim", "eog"]


@pytest.mark.parametrize(
    ("picks", "names", "units"),
    [
        (None, ("A0", "A1", "A2"), "T (mag), T/m (grad), V (eeg)"),
        ("meg", ("A0", "A1"), "T (mag), T/m (grad)"),
        (["grad"], ("A1",), "T/m"),
        ("misc", ("A3",), "arbitrary"),
        (["A5", "A2"], ("A5", "A2"), "V"),
        (["eeg", "A2", "mag"], ("A2", "A0"), "V (eeg), T (mag)"),
    ],
)
def test_picks_by_type_and_name(tmp_path, picks, names, units):
    path = saved(tmp_path / "a_raw.fif", raw_of(volts(6), MIXED))
    description = described(path, picks=picks)
    assert (description.channel_names, description.units) == (names, units)
    np.testing.assert_array_equal(read(path, picks=picks), volts(6)[[int(name[1]) for name in names]].T)


@pytest.mark.parametrize(
    ("picks", "sentence"),
    [
        ("seeg", r"no channels 'seeg' as asked for by 'picks'; it has mag \(A0\), grad \(A1\), eeg \(A2\), misc"),
        (["eeg", "A9"], "no channels 'A9' as asked for"),
        ("stim", "stim of 'picks' holds triggers"),
        ("A4", "A4 of 'picks' holds triggers"),
    ],
)
def test_channels_that_are_not_there_or_no_signals(tmp_path, picks, sentence):
    path = saved(tmp_path / "a_raw.fif", raw_of(volts(6), MIXED))
    with pytest.raises(DataError, match=sentence):
        described(path, picks=picks)


def test_parcels_need_picks(tmp_path):
    path = saved(tmp_path / "lcmv-parc-raw.fif", raw_of(volts(9), "misc"))
    with pytest.raises(DataError, match=r"no channels of MEG, EEG or other data; it has misc \(A0, .*, 9 in all\)"):
        described(path)
    assert described(path, picks="misc").n_channels == 9


def test_bad_channels_are_left_out_unless_asked_for(tmp_path):
    raw = raw_of(volts(3))
    raw.info["bads"] = ["A1"]
    path = saved(tmp_path / "a_raw.fif", raw)
    description = described(path)
    assert description.channel_names == ("A0", "A2")
    assert description.warned == ("channels marked bad were left out: A1",)
    assert described(path, include_bads=True).channel_names == ("A0", "A1", "A2")
    with pytest.raises(DataError, match="channel A1 of 'picks' is marked bad; .*\"include_bads\": true"):
        described(path, picks=["A0", "A1"])
    assert described(path, picks=["A1"], include_bads=True).channel_names == ("A1",)
    raw.info["bads"] = ["A0", "A1", "A2"]
    with pytest.raises(DataError, match=r"all channels of data are marked bad \(A0, A1, A2\)"):
        described(saved(path, raw))


def test_projections_that_are_not_applied_are_remarked_on(tmp_path):
    raw = raw_of(volts(3))
    raw.set_eeg_reference(projection=True)
    path = saved(tmp_path / "a_raw.fif", raw)
    assert "not applied" in described(path).warned[0]
    np.testing.assert_array_equal(read(path), volts(3).T)


@pytest.fixture
def split(tmp_path):
    saved(tmp_path / "a_raw.fif", raw_of(volts(2, 200_000)), split_size="2MB", buffer_size_sec=1)
    return tmp_path / "a_raw.fif"


def test_a_split_recording_is_read_whole_from_its_first_part(split):
    description = described(split)
    assert description.n_samples == 200_000
    assert [part.name for part in description.further_files] == ["a_raw-1.fif", "a_raw-2.fif", "a_raw-3.fif"]
    np.testing.assert_array_equal(read(split), volts(2, 200_000).T)


def test_later_and_missing_parts_are_refused(split):
    later = split.with_name("a_raw-1.fif")
    with pytest.raises(DataError, match=r"a_raw-1\.fif is a later part .* name only its first part \(a_raw\.fif\)"):
        described(later)
    moved = later.rename(later.with_name("gone.fif"))
    with pytest.raises(DataError, match=r"a_raw\.fif is split over files, and its part a_raw-1\.fif is missing"):
        described(split)
    with pytest.raises(DataError, match=r"gone\.fif is a later part"):
        described(moved)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.999])
@pytest.mark.parametrize("name", ["a_raw.fif", "a_raw.fif.gz"])
def test_truncated_files_are_refused(tmp_path, name, share):
    path = saved(tmp_path / name, raw_of(volts(3)))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataCorruptionError, match="truncated|no .fif file"):
        described(path)


def test_files_of_another_kind_are_refused(tmp_path):
    (tmp_path / "a_raw.fif").write_bytes(b"no such thing" * 10)
    with pytest.raises(DataCorruptionError, match=r"a_raw\.fif is not a \.fif file"):
        described(tmp_path / "a_raw.fif")
    raw = raw_of(volts(3))
    epochs = mne.make_fixed_length_epochs(raw, 1.0, preload=True)
    epochs.average().save(tmp_path / "a-ave.fif")
    with pytest.raises(DataError, match=r"a-ave\.fif holds averages \(evoked\), but must hold a continuous"):
        described(tmp_path / "a-ave.fif")
    with pytest.raises(DataError, match=r"absent_raw\.fif does not exist"):
        described(tmp_path / "absent_raw.fif")
    for name in ("a.edf", "a.bdf", "a.set", "a.vhdr"):
        (tmp_path / name).write_bytes(b"no such thing" * 50)
        with pytest.raises(DataCorruptionError, match=name.replace(".", r"\.")):
            described(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["a_raw.fif", "a.edf"])
def test_files_without_permission_are_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(DataError, match="could not be read: Permission denied"):
        described(path)


@pytest.fixture
def mixed_edf(tmp_path):
    edfio = pytest.importorskip("edfio")
    signals = [("EEG", 100, "uV"), ("Resp", 10, "%"), ("Temp", 10, "degC")]
    rows = [np.random.default_rng(rate).normal(size=10 * rate) for _, rate, _ in signals]
    channels = [
        edfio.EdfSignal(row, rate, label=label, physical_dimension=unit)
        for row, (label, rate, unit) in zip(rows, signals)
    ]
    marks = [
        edfio.EdfAnnotation(2.0, 1.0, "bad"),
        edfio.EdfAnnotation(9.5, 3.0, "late"),
        edfio.EdfAnnotation(11.0, 1.0, "x"),
    ]
    edf = edfio.Edf(channels, annotations=marks)
    edf.write(tmp_path / "a.edf")
    return tmp_path / "a.edf", [signal.data for signal in edf.signals]


def test_channels_of_several_rates_are_refused_and_slow_ones_keep_their_own(mixed_edf):
    path, rows = mixed_edf
    with pytest.raises(DataError, match="channel Resp has 10 samples per second, but EEG 100; choose"):
        described(path)
    np.testing.assert_allclose(read(path, picks="EEG")[:, 0], rows[0] * 1e-6, rtol=1e-9, atol=1e-15)
    description = described(path, picks=["Temp", "Resp"])
    assert (description.sampling_frequency, description.n_samples) == (10.0, 100)
    assert description.units is None
    assert "a.edf: channel Temp is in 'degC', which is no unit of volts, and 1 more" in description.units_fault
    np.testing.assert_allclose(read(path, picks=["Temp", "Resp"]), np.stack([rows[2], rows[1]], axis=1), rtol=1e-9)
    assert description.stretches.tolist() == [[0, 20], [30, 100]]


UNITS = dict(
    zip(
        ["V", "mV", "uV", "\u00b5V", "nV", "pV", "kV", "uv", "UV", "nanoVolt", "Microv", "MV", "fT", "%", ""],
        [1.0, 1e-3, 1e-6, 1e-6, 1e-9, 1e-12, 1e3, 1e-6, 1e-6, 1e-9, None, None, None, None, None],
    )
)
"""With what makes volts of them."""


@pytest.mark.parametrize("extension", ["edf", "bdf"])
def test_units_of_volts_are_scaled_and_numbers_in_others_stay(tmp_path, extension):
    edfio = pytest.importorskip("edfio")
    signals, file = (edfio.EdfSignal, edfio.Edf) if extension == "edf" else (edfio.BdfSignal, edfio.Bdf)
    numbers = np.random.default_rng(0).normal(size=(len(UNITS), 300))
    channels = [signals(row, 100, label=f"c{n}") for n, row in enumerate(numbers)]
    made, path = file(channels), tmp_path / f"a.{extension}"
    made.write(path)
    content = bytearray(path.read_bytes())
    for channel, unit in enumerate(UNITS):
        start = 256 + 96 * len(UNITS) + 8 * channel
        content[start : start + 8] = unit.encode("utf-8").ljust(8)
    path.write_bytes(content)
    truth = [signal.data * (factor or 1.0) for signal, factor in zip(made.signals, UNITS.values())]
    np.testing.assert_allclose(read(path), np.stack(truth, axis=1), rtol=1e-9, atol=1e-24)
    of_volts = [f"c{n}" for n, factor in enumerate(UNITS.values()) if factor]
    assert (described(path, picks=of_volts).units, described(path, picks=of_volts).units_fault) == ("V", "")
    others = described(path)
    assert others.units is None
    assert "channel c10 is in 'Microv', which is no unit of volts, and 3 more are in others" in others.units_fault
    assert "channels without a unit in the header keep their numbers: c14" in others.warned


def test_a_store_of_a_unit_that_is_not_known_needs_it_stated(mixed_edf, tmp_path):
    folders = Folders(tmp_path, ["a"], files=["a.edf"], picks=["Resp", "Temp"])
    mixed_edf[0].rename(folders.of("a") / "a.edf")
    with pytest.raises(
        DataError, match="Subject a, group eeg: .*channel Resp is in '%'.*state the unit of all channels"
    ):
        folders.create()
    folders.config["units"] = "as in the header"
    assert folders.create().attributes("a", "eeg").units == "as in the header"


def test_events_beyond_the_end_are_remarked_on(mixed_edf, capsys):
    mne.set_log_level("WARNING")
    description = described(mixed_edf[0], picks="EEG")
    mne.set_log_level("ERROR")
    assert capsys.readouterr().out == ""  # where mne would print
    assert description.events.onset.tolist() == [950]
    assert description.events.duration.tolist() == [50]
    assert description.warned == (
        "Omitted 1 annotation(s) that were outside data range",
        "Limited 1 annotation(s) that were expanding outside the data range",
    )


def test_edf_with_gaps_or_lost_ends_is_refused(mixed_edf):
    path, _ = mixed_edf
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(
        DataCorruptionError, match=rf"truncated: it has {len(content) - 1} bytes instead of {len(content)}"
    ):
        described(path)
    path.write_bytes(content[:192] + b"EDF+D" + content[197:])
    with pytest.raises(DataError, match=r"a recording with gaps \(EDF\+D\)"):
        described(path)


def test_brainvision_that_ends_within_a_sample_or_too_early_is_refused(tmp_path):
    pytest.importorskip("pybv")
    path = tmp_path / "a.vhdr"
    mne.export.export_raw(path, raw_of(volts(3).astype(np.float32).astype(float)))
    data = path.with_suffix(".eeg")
    content = data.read_bytes()
    data.write_bytes(content[:-2])
    with pytest.raises(DataCorruptionError, match=r"a\.eeg is truncated: it ends within a sample of 3 channels"):
        described(path)
    data.write_bytes(content[: len(content) // 2])
    path.write_text(path.read_text().replace("NumberOfChannels", "DataPoints=1000\nNumberOfChannels"))
    with pytest.raises(DataCorruptionError, match=r"a\.eeg is truncated: it has 500 samples instead of 1000"):
        described(path)


def test_without_mne_the_way_to_install_it_is_told(tmp_path, monkeypatch):
    folders = Folders(tmp_path, ["sub-a"])
    saved(folders.of("sub-a") / "a_raw.fif", raw_of(volts(2)))
    monkeypatch.setitem(sys.modules, "mne", None)
    with pytest.raises(DataError, match=r"a_raw\.fif .* not installed; install it by: pip install dynml\[mne\]"):
        folders.create()
    assert not folders.target.exists()


def test_the_longest_extension_counts():
    assert extension_of(Path("A_RAW.FIF.GZ")) == ".fif.gz"


def test_all_files_of_a_recording_stand_in_its_sources(tmp_path, split):
    folders = Folders(tmp_path, ["sub-a"], files=["a_raw.fif"])
    for part in split.parent.glob("a_raw*.fif"):
        part.rename(folders.of("sub-a") / part.name)
    with folders.create() as store:
        sources = store.attributes("sub-a", "eeg").sources
    assert [source.file for source in sources] == ["a_raw.fif", "a_raw-1.fif", "a_raw-2.fif", "a_raw-3.fif"]


def test_a_channel_that_is_bad_in_some_files_can_be_excluded_from_all(tmp_path):
    signals = volts(3, seed=4)
    for name, bads in (("marked", ["A1"]), ("unmarked", [])):
        raw = raw_of(signals)
        raw.info["bads"] = bads
        path = saved(tmp_path / f"{name}_raw.fif", raw)
        reader = WithoutChannels(MneReader(MneReader.Config()), ("A1",))
        assert reader.describe(path).channel_names == ("A0", "A2")
        np.testing.assert_allclose(reader.read(path), signals[[0, 2]].T, rtol=1e-5)
        with pytest.raises(DataError, match="exclude_channels names 'A7'"):
            WithoutChannels(MneReader(MneReader.Config()), ("A1", "A7")).describe(path)
