"""What is said of models that count time in samples, on recordings of several rates."""

import pytest

from dynml import CSM, HMM, Decoder
from dynml.analysis.checks.checked import CheckSettings, checked
from dynml.errors import DataError, DataWarning
from dynml.simulation import simulate_sines
from dynml.simulation.store import write_simulation

SAID = r"several sampling frequencies \(0\.5, 1 Hz\), but the model goes from sample to sample"
QUICK = {"max_epochs": 1, "settings": {"initialization.n_epochs": 1, "initialization.method": "random_subset"}}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Paths of stores by whether subjects differ in their rate."""
    found = {}
    for is_mixed in (True, False):
        found[is_mixed] = tmp_path_factory.mktemp("stores") / "store.hdf5"
        rates = [0.5, 1.0] if is_mixed else [0.5]
        sines = simulate_sines(n_subjects=4, n_channels=3, n_samples=300, sampling_frequencies=rates, seed=1)
        write_simulation(sines, found[is_mixed])
    return found


def test_a_hidden_markov_model_tells_of_several_rates_and_is_not_checked_at_them(stores):
    with pytest.warns(DataWarning, match=SAID):
        hmm = HMM(2, n_init=1, **QUICK).fit(stores[True])
    assert any("several sampling frequencies" in one for one in hmm.summary_["findings"])
    dataset = hmm.experiment_.open(stores[True])
    with pytest.raises(DataError, match=r"several sampling frequencies \(0\.5, 1 Hz\), but models are refitted"):
        checked(hmm.experiment_, dataset, CheckSettings(n_surrogates=1), tell=str)
    assert hmm.sampling_frequency_ is None
    of_one = HMM(2, n_init=1, **QUICK).fit(stores[False])
    assert of_one.sampling_frequency_ == 0.5
    assert not any("sampling frequencies" in one for one in of_one.summary_["findings"])


def test_linear_decoders_tell_and_models_that_know_seconds_do_not(stores, recwarn):
    CSM(4, n_layers=1, window_length=10, max_epochs=1).fit(stores[True])
    assert not [one for one in recwarn if "sampling frequencies" in str(one.message)]
    with pytest.warns(DataWarning, match=SAID):
        Decoder(
            target="trial_type", max_epochs=1, settings={"trainer.inner_folds": 0, "model.linear_answer": "none"}
        ).fit(stores[True])
