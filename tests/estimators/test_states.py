"""The HMM as an estimator: what it computes is what the trainer computes, in the form that the data had."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import dynml
from dynml import HMM, BatchLoader, BatchSampler, DyNeMo, GaussianHMM, HMMConfig, HMMTrainer, MultiSubjectDataset
from dynml.errors import ConfigurationError, DataError, ResumeRefusedError
from dynml.simulation import simulate_hmm

SIMULATED = simulate_hmm(n_subjects=5, n_states=2, n_channels=3, n_samples=400)
SERIES = [signals[: 400 - 30 * number] for number, signals in enumerate(SIMULATED.time_series)]
QUICK = {"n_init": 1, "max_epochs": 8, "settings": {"initialization.n_epochs": 2}}


@pytest.fixture(scope="module")
def hmm():
    return HMM(2, **QUICK).fit(SERIES)


def test_it_is_the_trainer_s_model(tmp_path, hmm):
    dataset = MultiSubjectDataset.from_arrays(
        {f"recording-{number}": signals for number, signals in enumerate(SERIES)}, standardization="per_run"
    )
    torch.manual_seed(1234)
    model = GaussianHMM(HMMConfig(n_states=2), 3)
    sampler = BatchSampler(dataset, strategy="whole_segments", batch_size_units="nb_samples", batch_size_training=10**6)
    trainer = HMMTrainer(
        *(model, tmp_path, "run", sampler, BatchLoader(dataset, model, collate="packed")),
        initialization=dynml.HMMInitializationConfig(n_init=1, n_epochs=2),
        max_epochs=8,
        progress=False,
    )
    summary = trainer.train_and_validate()
    np.testing.assert_allclose(hmm.covariances_, model.arrays()["covariances"], rtol=1e-6)
    assert hmm.score(SERIES) == pytest.approx(-summary["free_energy"]["training"], abs=1e-5)


def test_results_have_the_form_of_the_data(hmm):
    listed = hmm.predict_proba(SERIES)
    assert listed.dtype == object
    assert [alpha.shape for alpha in listed] == [(len(signals), 2) for signals in SERIES]
    np.testing.assert_allclose(hmm.transform(SERIES[0]), listed[0], atol=1e-5)
    assert {name: states.shape for name, states in hmm.predict({"a": SERIES[0]}).items()} == {"a": (400,)}
    assert hmm.predict(np.stack([SERIES[0][:100], SERIES[1][:100]])).shape == (2, 100)
    assert hmm.predict(SERIES[:1])[0].shape == (400,)


def test_trials_are_segments_of_their_own(hmm):
    trials = SERIES[0].reshape(8, 50, 3)
    alpha = hmm.transform(trials)
    order = [3, 1, 0, 2, 7, 6, 5, 4]
    np.testing.assert_allclose(hmm.transform(trials[order]), alpha[order], atol=1e-5)
    by_person = HMM(2, standardization="none", **QUICK).fit(trials, groups=np.arange(8) % 2)
    assert by_person.summary_ is not None
    assert by_person.experiment_.parameters["dataset"]["subsets"]["training"]["n_participants"] == 2
    assert by_person.experiment_.parameters["dataset"]["subsets"]["training"]["n_segments"] == 8


def test_states_are_found():
    truth = SIMULATED.states[0]
    states = HMM(2, **QUICK).fit_predict(SIMULATED.time_series)[0]
    assert max(np.mean(states == truth), np.mean(states != truth)) > 0.9


def test_a_table_keeps_the_names_of_its_columns():
    table = pd.DataFrame(SERIES[0], columns=["left", "middle", "right"])
    fitted = HMM(2, **QUICK).fit(table).set_output(transform="pandas")
    assert fitted.feature_names_in_.tolist() == ["left", "middle", "right"]
    assert fitted.experiment_.parameters["dataset"]["channel_names"] == ["left", "middle", "right"]
    assert fitted.transform(table).columns.tolist() == ["state_0", "state_1"]
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(table[["right", "middle", "left"]])


def test_a_column_of_times_is_no_channel():
    table = pd.DataFrame(SERIES[0], columns=["Fz", "Cz", "Pz"])
    with pytest.raises(DataError, match="has a column 'time' that counts the samples and is not a channel"):
        HMM(2, **QUICK).fit(table.assign(time=np.arange(len(table)) / 250))
    HMM(2, **QUICK).fit(table.set_index(pd.Index(np.arange(len(table)) / 250, name="time")))


def test_model_selection_of_scikit_learn():
    search = GridSearchCV(HMM(**QUICK), {"n_states": [1, 2]}, cv=GroupKFold(2), refit=False)
    search.fit(SERIES[:3], groups=["a", "a", "b"])
    assert search.best_params_ == {"n_states": 2}
    scores = cross_val_score(HMM(2, **QUICK), SERIES[:2], cv=2)
    assert np.isfinite(scores).all()
    pipeline = make_pipeline(StandardScaler(), HMM(2, standardization="none", **QUICK)).fit(SERIES[0] * 1e-6)
    np.testing.assert_allclose(pipeline.transform(SERIES[0] * 1e-6).sum(axis=1), 1, atol=1e-5)


def test_a_folder_is_gone_on_with(tmp_path):
    kept = HMM(2, folder=tmp_path / "run", **QUICK).fit(SERIES)
    written = (tmp_path / "run" / "summary.json").stat().st_mtime_ns
    again = clone(kept).fit(SERIES)
    assert (tmp_path / "run" / "summary.json").stat().st_mtime_ns == written
    np.testing.assert_array_equal(again.means_, kept.means_)
    with pytest.raises(ResumeRefusedError):
        clone(kept).set_params(n_states=3).fit(SERIES)


def test_the_seed_and_the_random_numbers_of_the_caller():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    fitted = HMM(2, random_state=np.random.RandomState(0), **QUICK).fit(SERIES[0])
    assert torch.rand(1) == expected
    assert fitted.experiment_.parameters["trainer"]["seed"] == np.random.RandomState(0).randint(2**31 - 1)


def test_missing_samples():
    gappy = SERIES[0].copy()
    gappy[100:110] = np.nan
    with pytest.raises(DataError, match=r'contains NaN: mend it, or set missing="segment"'):
        HMM(2, **QUICK).fit(gappy)
    states = HMM(2, missing="mask", **QUICK).fit(gappy).predict(gappy)
    assert (states[100:110] == -1).all()
    assert (np.delete(states, np.s_[100:110]) >= 0).all()
    masked = np.ma.masked_invalid(gappy)
    masked.data[100:110] = 0.0  # what lies beneath a mask is no data
    with pytest.raises(DataError, match=r'contains NaN: mend it, or set missing="segment"'):
        HMM(2, **QUICK).fit(masked)
    np.testing.assert_array_equal(HMM(2, missing="mask", **QUICK).fit(masked).predict(masked), states)


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ({"n_states": 0}, "model.n_states"),
        ({"standardization": "mean"}, "standardization"),
        ({"settings": {"trainer.toleranc": 1}}, "did you mean 'tolerance'"),
        ({"settings": {"trainr.tolerance": 1}}, "did you mean 'trainer'"),
    ],
)
def test_parameters_are_refused_in_one_sentence(parameters, found):
    with pytest.raises(ConfigurationError, match=found):
        HMM(**{"n_states": 2} | parameters).fit(SERIES[0])


def test_groups_of_another_number_are_refused():
    with pytest.raises(DataError, match="2 groups for 5 recordings"):
        HMM(2).fit(SERIES, groups=["a", "b"])
    with pytest.raises(DataError, match="3 groups for the 8 trials"):
        HMM(2).fit(SERIES[0].reshape(8, 50, 3), groups=[1, 2, 3])


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_groups_without_a_participant_and_keys_that_are_one_as_text_are_refused(missing):
    with pytest.raises(DataError, match="groups has no participant for 1 of 3"):
        HMM(2, **QUICK).fit(SERIES[:3], groups=["a", missing, "b"])
    with pytest.raises(DataError, match="groups has no participant for 2 of 400"):
        HMM(2, **QUICK).fit(SERIES[0], groups=pd.Series([*["a"] * 200, missing, missing, *["b"] * 198], dtype=object))
    with pytest.raises(DataError, match="Two keys of X are '1' as text"):
        HMM(2, **QUICK).fit({1: SERIES[0], "1": SERIES[1]})


def test_objects_say_what_they_are(hmm):
    dataset = MultiSubjectDataset.from_arrays(SERIES, sampling_frequency=100, standardization="none")
    assert "training 5 subjects, 1700 samples (0.00472 h)" in repr(dataset)
    assert "3 (channel_0, channel_1, channel_2) at 100 Hz" in repr(dataset)
    assert "family hmm; parameters" in repr(hmm.experiment_)
    assert "<th>family</th><td>hmm</td>" in hmm.experiment_._repr_html_()
    assert "n_states=2, n_channels=3" in repr(hmm.experiment_.model)
    assert hmm.experiment_.model.summary() == hmm.summary()
    assert "Parameters:" in hmm.summary()


def test_dynemo():
    parameters = {"n_modes": 2, "sequence_length": 50, "max_epochs": 1, "n_kl_annealing_epochs": 1}
    start = {"initialization.method": "random", "initialization.n_epochs": 1}
    dynemo = DyNeMo(**parameters, inference_n_units=4, model_n_units=4, settings=start).fit(SERIES[:2])
    alpha = dynemo.transform(SERIES[0])
    np.testing.assert_allclose(alpha.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(dynemo.predict(SERIES[0]), alpha.argmax(axis=1))
    assert np.isfinite(dynemo.score(SERIES[2]))


def test_transposed_arrays_are_refused_as_files_are():
    series = np.random.default_rng(0).normal(size=(3, 400))
    with pytest.raises(DataError, match=r"^recording 1 has 3 samples of 400 channels, which looks transposed: .*X\.T"):
        HMM(n_states=2).fit([np.zeros((30, 400)) + series[0], series])
    with pytest.raises(DataError, match=r"^X has 3 samples"):
        HMM(n_states=2).fit(list(series))  # a list of channels
