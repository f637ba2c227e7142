import struct

import numpy as np
import pytest

mne = pytest.importorskip("mne")

from recordings_making import Folders, raw_of, volts  # noqa: E402

from dynml.errors import DataCorruptionError, DataError  # noqa: E402
from dynml.readers import reading_process  # noqa: E402
from dynml.readers.meg_eeg.reader import MneReader  # noqa: E402

EVENTS = 3561
"""Kind of the value that lists the events of a `.fif` file."""
MARKS = np.array([[100, 0, 1], [300, 0, 2], [500, 0, 1], [700, 0, 7]])


def described(path, **settings):
    return MneReader(MneReader.Config(**settings)).describe(path)


def read(path, **settings):
    return MneReader(MneReader.Config(**settings)).read(path)


def epochs_of(signals, length=0.5, marks=MARKS, names=None):
    raw = raw_of(signals)
    names = {"face": 1, "house": 2, "rest/long": 7} if names is None else names
    return mne.Epochs(raw, marks, names, tmin=-0.1, tmax=length - 0.11, baseline=None, preload=True)


def save(path, epochs, **settings):
    epochs.save(path, fmt="double", overwrite=True, **settings)
    return path


def cut(signals, onset, n_samples=50):
    return signals[:, onset - 10 : onset - 10 + n_samples].T


@pytest.mark.parametrize("name", ["a-epo.fif", "a_epo.fif.gz", "epochs of another name.fif"])
def test_each_epoch_is_a_segment_with_its_event(tmp_path, name):
    signals = volts(3)
    path = save(tmp_path / name, epochs_of(signals))
    description = described(path)
    assert (description.n_samples, description.sampling_frequency, description.units) == (200, 100.0, "V")
    assert description.stretches.tolist() == [[0, 50], [50, 100], [100, 150], [150, 200]]
    assert description.events.onset.tolist() == [0, 50, 100, 150]
    assert description.events.duration.tolist() == [50] * 4
    assert description.events.labels == {"event": ["face", "house", "face", "rest/long"]}
    np.testing.assert_array_equal(read(path), np.concatenate([cut(signals, onset) for onset in MARKS[:, 0]]))


def test_rejected_epochs_are_absent_and_blocks_change_nothing(tmp_path, monkeypatch):
    signals = volts(3)
    epochs = epochs_of(signals)
    epochs.drop([1])
    path = save(tmp_path / "a-epo.fif", epochs)
    monkeypatch.setattr("dynml.readers.meg_eeg.epochs.BYTES_PER_BLOCK", 8 * 3 * 50 * 2)
    assert described(path).events.labels["event"] == ["face", "face", "rest/long"]
    np.testing.assert_array_equal(read(path), np.concatenate([cut(signals, onset) for onset in (100, 500, 700)]))
    epochs.drop([0, 1, 2])
    with pytest.raises(DataError, match=r"a-epo\.fif has no epoch that was not rejected|could not be read"):
        described(save(path, epochs))


def test_projections_are_not_applied_and_told(tmp_path):
    signals = volts(3)
    epochs = epochs_of(signals)
    epochs.set_eeg_reference(projection=True)
    path = save(tmp_path / "a-epo.fif", epochs)
    np.testing.assert_array_equal(read(path)[:50], cut(signals, 100))
    assert any("not applied" in warning for warning in described(path).warned)


def test_picks_and_bads(tmp_path):
    signals = volts(3)
    epochs = epochs_of(signals)
    epochs.info["bads"] = ["A0"]
    path = save(tmp_path / "a-epo.fif", epochs)
    assert described(path).channel_names == ("A1", "A2")
    np.testing.assert_array_equal(read(path, picks=["A2"])[:50, 0], cut(signals, 100)[:, 2])


def test_epochs_of_eeglab(tmp_path):
    pytest.importorskip("eeglabio")
    signals = volts(3)
    mne.export.export_epochs(tmp_path / "a.set", epochs_of(signals))
    description = described(tmp_path / "a.set")
    assert description.stretches.tolist() == [[0, 50], [50, 100], [100, 150], [150, 200]]
    assert description.events.labels["event"] == ["face", "house", "face", "rest/long"]
    np.testing.assert_allclose(read(tmp_path / "a.set")[50:100], cut(signals, 300), rtol=1e-6, atol=1e-11)


def test_split_epochs_are_read_whole_from_their_first_part(tmp_path):
    signals = np.random.default_rng(0).normal(size=(400, 5, 120))
    path = save(tmp_path / "a-epo.fif", mne.EpochsArray(signals, mne.create_info(5, 100.0, "eeg")), split_size="1.5MB")
    description = described(path)
    assert description.n_samples == 48_000
    assert [part.name for part in description.further_files] == ["a-epo-1.fif", "a-epo-2.fif", "a-epo-3.fif"]
    np.testing.assert_array_equal(read(path), signals.transpose(0, 2, 1).reshape(-1, 5))
    later = tmp_path / "a-epo-1.fif"
    with pytest.raises(DataError, match=r"a-epo-1\.fif is a later part .* \(a-epo\.fif\)"):
        described(later)
    later.unlink()
    with pytest.raises(DataError, match=r"its part a-epo-1\.fif is missing"):
        described(path)


def test_truncated_epochs_are_refused(tmp_path):
    path = save(tmp_path / "a-epo.fif", epochs_of(volts(3)))
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(DataCorruptionError, match="truncated"):
        described(path)


def test_epochs_of_different_lengths_in_one_store(tmp_path):
    folders = Folders(tmp_path, ["sub-a", "sub-b"], files=["*-epo.fif"], standardization="none")
    save(folders.of("sub-a") / "one-epo.fif", epochs_of(volts(3)))
    save(folders.of("sub-a") / "two-epo.fif", epochs_of(volts(3, seed=1), length=0.8))
    save(
        folders.of("sub-b") / "one-epo.fif", epochs_of(volts(3, seed=2), marks=MARKS[:2], names={"face": 1, "house": 2})
    )
    with folders.create() as store:
        lengths = np.diff(store.segments("sub-a", "eeg"), axis=1).ravel().tolist()
        assert lengths == [50] * 4 + [80] * 4
        assert store.run_names("sub-a", "eeg") == ["one-epo", "two-epo"]
        events = store.events("sub-a", "eeg")
        assert events.onset.tolist() == store.segments("sub-a", "eeg")[:, 0].tolist()
        assert events.names == {"event": ("face", "house", "rest/long")}
        np.testing.assert_allclose(store.read("sub-a", "eeg", 200, 280), cut(volts(3, seed=1), 100, 80), rtol=1e-6)
        assert store.events("sub-b", "eeg").names == {"event": ("face", "house")}


def test_an_epoch_that_lost_its_samples_is_refused_or_cut_out(tmp_path):
    signals = np.random.default_rng(0).normal(size=(3, 2, 50))
    signals[1, 0] = np.nan
    folders = Folders(tmp_path, ["sub-a"], files=["a-epo.fif"])
    save(folders.of("sub-a") / "a-epo.fif", mne.EpochsArray(signals, mne.create_info(2, 100.0, "eeg")))
    with pytest.raises(DataError, match="channel 0 is nan at sample 50, the first of 50 values"):
        folders.create()
    folders.config["missing"] = "segment"
    with folders.create() as store:
        assert store.segments("sub-a", "eeg").tolist() == [[0, 50], [100, 150]]
    folders.config["missing"] = "mask"
    with folders.create() as store:
        assert store.segments("sub-a", "eeg").tolist() == [[0, 50], [100, 150]]


def with_points(path, kind, n_bytes_before, n_points):
    """Give the first value of a kind the type of a list of points, and the count of them that its bytes then hold."""
    content, place = bytearray(path.read_bytes()), 0
    while True:
        found, _, size, following = struct.unpack(">iIii", content[place : place + 16])
        if found == kind:
            break
        place = following or place + 16 + size
    content[place + 4 : place + 8] = struct.pack(">I", 36)
    content[place + 16 + n_bytes_before : place + 20 + n_bytes_before] = struct.pack(">i", n_points)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("n_points", [2**31 - 1, -1, 40])
def test_a_value_said_to_hold_more_points_than_fit_into_it_is_refused_at_once(tmp_path, n_points):
    path = save(tmp_path / "a-epo.fif", epochs_of(volts(3)))
    with pytest.raises(DataCorruptionError, match=rf"a-epo\.fif is damaged: a value of 48 bytes .* {n_points} points"):
        described(with_points(path, EVENTS, 8, n_points))


def test_headers_are_read_in_a_process_whose_time_is_limited_and_signals_in_this_one(tmp_path, monkeypatch):
    path, elsewhere = save(tmp_path / "a-epo.fif", epochs_of(volts(3))), []

    def in_own_process(reader, method, path):
        elsewhere.append(method)
        return reading_process.in_own_process(reader, method, path)

    monkeypatch.setattr("dynml.readers.guard.in_own_process", in_own_process)
    assert (described(path).n_samples, read(path).shape, elsewhere) == (200, (200, 3), ["describe"])
