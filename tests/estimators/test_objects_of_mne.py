"""Raw and Epochs of MNE, and trials with labels."""

import numpy as np
import pytest

from dynml import CSM, HMM, Decoder
from dynml.errors import DataError, DataWarning

mne = pytest.importorskip("mne")
GENERATOR = np.random.default_rng(3)
QUICK = {
    "n_init": 1,
    "max_epochs": 2,
    "settings": {"initialization.n_epochs": 1, "initialization.method": "random_subset"},
}


def raw_of(n_samples=600, kind="eeg"):
    info = mne.create_info(["Fz", "Cz", "Pz", "Oz"], 100.0, [kind] * 4)
    signals = 1e-6 * GENERATOR.normal(size=(4, n_samples)) * np.repeat([[1, 3], [3, 1]], 2, axis=0)[:, [0]]
    return mne.io.RawArray(signals, info, verbose="error")


def test_a_raw_without_its_bad_channel_and_its_bad_stretch():
    raw = raw_of()
    raw.info["bads"] = ["Pz"]
    raw.set_annotations(mne.Annotations([1.0], [0.5], ["BAD_movement"]))
    hmm = HMM(n_states=2, **QUICK).fit(raw)
    assert hmm.feature_names_in_.tolist() == ["Fz", "Cz", "Oz"]
    assert hmm.sampling_frequency_ == 100
    states, alpha = hmm.predict(raw), hmm.predict_proba(raw)
    assert (states[100:150] == -1).all()
    assert np.isnan(alpha[100:150]).all()
    np.testing.assert_allclose(np.delete(alpha, np.s_[100:150], axis=0).sum(axis=1), 1, atol=1e-5)
    with pytest.raises(DataError, match="lacks Fz"):
        hmm.predict(raw.copy().drop_channels(["Fz"]))


def test_several_raws_and_parcels_of_the_type_misc():
    raws = [raw_of(300, "misc"), raw_of(400, "misc")]
    hmm = HMM(n_states=2, **QUICK).fit(raws, groups=["a", "b"])
    assert [states.shape for states in hmm.predict(raws)] == [(300,), (400,)]


def test_epochs_are_trials():
    trials = 1e-6 * GENERATOR.normal(size=(40, 4, 10))
    labels = np.arange(40) % 2
    trials[labels == 1, 2] += 2e-6
    events = np.stack([np.arange(40), np.zeros(40), labels + 1], axis=1).astype(int)
    epochs = mne.EpochsArray(trials, mne.create_info(4, 100.0, "eeg"), events, verbose="error")
    assert HMM(n_states=2, **QUICK).fit(epochs).predict(epochs).shape == (40, 10)
    decoder = Decoder(max_epochs=30, learning_rate=0.02).fit(epochs[:30], epochs.events[:30, 2])
    assert decoder.classes_.tolist() == [1, 2]
    assert decoder.score(epochs[30:], epochs.events[30:, 2]) == 1.0
    arrays = trials.transpose(0, 2, 1)
    probabilities = decoder.predict_proba(arrays[30:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(probabilities[:1], decoder.predict_proba(arrays[30:31]), atol=1e-6)


def test_bad_epochs_that_are_not_dropped_yet_are_left_out():
    raw = raw_of()
    raw.set_annotations(mne.Annotations([1.0], [0.5], ["BAD_movement"]))
    lazy, clean = (mne.make_fixed_length_epochs(raw, 1.0, verbose="error") for _ in range(2))
    clean.drop_bad(verbose="error")
    with pytest.warns(DataWarning, match="1 of 6 epochs are bad and are left out"):
        hmm = HMM(n_states=2, **QUICK).fit(lazy)
    states = hmm.predict(clean)
    assert states.shape == (5, 100)
    np.testing.assert_array_equal(states, HMM(n_states=2, **QUICK).fit(clean).predict(clean))
    assert len(lazy.events) == 6  # the user's object is left as it was


def test_trials_in_a_list_are_one_array():
    trials, labels = GENERATOR.normal(size=(40, 20, 3)), np.repeat(["a", "b"], 20)
    trials[20:, :, 0] += 2
    decoder = Decoder(max_epochs=3).fit(list(trials), labels)
    for given in (list(trials), tuple(trials)):
        np.testing.assert_array_equal(decoder.predict(given), decoder.predict(trials))
    with pytest.raises(DataError, match=r"several shapes \(\(5, 3\), \(20, 3\)\)"):
        decoder.predict([trials[0], trials[1][:5]])
    with pytest.raises(DataError, match="X must be one array"):
        decoder.predict({"a": trials[0], "b": trials[1]})


def test_the_causal_model_predicts_what_comes_next():
    sines = np.sin(0.3 * np.arange(300))[:, None] + 0.1 * GENERATOR.normal(size=(300, 2))
    csm = CSM(8, n_layers=1, window_length=20, max_epochs=1).fit(sines)
    predicted = csm.predict(sines)
    assert csm.transform(sines).shape == (300, 8)
    assert np.isnan(predicted[::20]).all()
    standard = (sines - sines.mean(axis=0)) / sines.std(axis=0)
    errors = np.abs(predicted - standard)
    assert csm.score(sines) == pytest.approx(-np.nanmean(errors), rel=1e-3)


def test_what_is_said_of_channels_that_are_marked_bad_and_of_projections():
    raw = raw_of()
    raw.info["bads"] = ["Fz"]
    with pytest.raises(DataError, match=r"Fz of 'picks' is marked bad; leave it out, or take it out of info\['bads'\]"):
        HMM(n_states=2, picks=["Fz", "Cz"], **QUICK).fit(raw)
    raw.info["bads"] = []
    raw.set_eeg_reference(projection=True, verbose="error")
    with pytest.warns(DataWarning, match="RawArray: projections .* are in the file but not applied"):
        HMM(n_states=2, **QUICK).fit(raw)


def test_a_fitted_model_is_spoken_of_by_no_folder_of_its_own():
    series = GENERATOR.normal(size=(200, 3))
    hmm = HMM(n_states=2, standardization="none", **QUICK).fit(series)
    with pytest.raises(DataError, match=r"^The arrays were prepared differently .* of the fitted hmm model: "):
        hmm.predict(1e6 * series)
