"""The HMM family on masked samples: training, report, inference, and the scripts on a store."""

import csv
import json

import numpy as np
import pytest
import torch
from running_scripts import run_script

from dynml import BatchLoader, BatchSampler, GaussianHMM, HMMConfig, HMMTrainer, MultiSubjectDataset, load_experiment
from dynml.batches import whole_segments
from dynml.batches.whole_segments import PackedSegments, SegmentPasses
from dynml.errors import ConfigurationError
from dynml.models.hmm.config import HMMInitializationConfig
from dynml.models.hmm.inference import infer
from dynml.models.hmm.starts import make_start
from dynml.ops.hmm.gaussian_hmm import CovariancePrior, log_prior
from dynml.ops.matching import match_covariances
from dynml.ops.metrics import riemannian_distance
from dynml.simulation import simulate_hmm
from dynml.training.data.em import MStepSettings, expectation


def with_gaps(series, seed, share=0.2):
    """The series with about this share of its rows masked, in gaps of 2 and of 20; no observed row stands alone."""
    generator = np.random.default_rng(seed)
    masked = np.repeat(generator.random(len(series) // 2 + 1) < share / 2, 2)[: len(series)]
    for first in generator.integers(0, len(series) // 2, int(share / 2 * len(series) / 20)):
        masked[2 * first : 2 * first + 20] = True
    masked[[0, 1, -2, -1]] = False
    return np.where(masked[:, None], np.float32(np.nan), series)


@pytest.fixture(scope="module")
def masked(simulation):
    """The simulation's four subjects; the third has no masked sample."""
    return [series if i == 2 else with_gaps(series, i) for i, series in enumerate(simulation.time_series)]


@pytest.fixture
def trainer_of(tmp_path):
    def make(arrays, n_states=3, name="run", *, batch_size=1000, model=None, **settings):
        dataset = MultiSubjectDataset.from_arrays(arrays[:-1], arrays[-1:], missing="mask")
        hmm = GaussianHMM(HMMConfig(n_states=n_states, **(model or {})), dataset.n_channels)
        sampler = BatchSampler(
            dataset, strategy="whole_segments", batch_size_units="nb_samples", batch_size_training=batch_size
        )
        loader = BatchLoader(dataset, hmm, collate="packed")
        start = HMMInitializationConfig(n_init=2, n_epochs=3)
        settings = {"max_epochs": 40, "progress": False} | settings
        return HMMTrainer(hmm, tmp_path, name, sampler, loader, initialization=start, **settings)

    return make


def log_p(series, parameters):
    """Forward algorithm over the observed rows, by the chain's power from each to the next, in float64."""
    rows = np.flatnonzero(np.isfinite(series[:, 0]))
    gaussians = torch.distributions.MultivariateNormal(parameters.means_KC, parameters.covariances_KCC)
    densities = gaussians.log_prob(torch.from_numpy(series[rows]).double()[:, None]).numpy()
    transitions = parameters.transition_probabilities_KK.numpy()
    expected, total = parameters.initial_probabilities_K.numpy(), 0.0
    for number, density in enumerate(densities):
        weights = expected * np.exp(density - density.max())
        total += density.max() + np.log(weights.sum())
        if number + 1 < len(rows):
            step = np.linalg.matrix_power(transitions, rows[number + 1] - rows[number])
            expected = weights / weights.sum() @ step
    return total


def energy(arrays, parameters):
    n_observed = sum(int(np.isfinite(series[:, 0]).sum()) for series in arrays)
    return -sum(log_p(series, parameters) for series in arrays) / n_observed


def test_a_run_finds_the_states_and_reports_per_observed_sample(trainer_of, masked, simulation):
    trainer = trainer_of(masked)
    assert 0.1 < trainer.dataset.n_masked / sum(map(len, masked)) < 0.2
    summary = trainer.train_and_validate()
    assert (np.diff(trainer.history.column("training_objective")) < 1e-6).all()
    parameters = trainer.model.get_parameters()
    assert summary["free_energy"]["training"] == pytest.approx(energy(masked[:-1], parameters), abs=1e-5)
    assert summary["free_energy"]["validation"] == pytest.approx(energy(masked[-1:], parameters), abs=1e-5)
    logged = trainer.history.column("training_loss")[summary["best_epoch"] - 1]
    assert logged == pytest.approx(summary["free_energy"]["training"], abs=1e-9)
    assert sum(summary["fractional_occupancies"]) == pytest.approx(1, abs=1e-6)
    observed = np.concatenate([series[np.isfinite(series[:, 0])] for series in masked[:-1]]).astype(np.float64)
    gaussian = torch.distributions.MultivariateNormal(
        torch.from_numpy(observed.mean(0)), torch.from_numpy(np.cov(observed.T, bias=True))
    )
    expected = -float(gaussian.log_prob(torch.from_numpy(observed)).mean())
    assert summary["baselines"]["gaussian"]["training"] == pytest.approx(expected, abs=1e-5)
    assert summary["free_energy"]["validation"] < summary["baselines"]["gaussian_mixture"]["validation"] - 0.05
    truth, found = torch.from_numpy(simulation.covariances), trainer.model.full_covariances()
    for state, other in enumerate(match_covariances(truth, found)):
        assert riemannian_distance(truth[state], found[other]) < 0.35
    staying = parameters.transition_probabilities_KK.diagonal()
    assert staying == pytest.approx(np.full(3, 0.95), abs=0.02)


def test_incremental_em_and_a_prior_take_masked_samples_too(trainer_of, masked):
    batch = trainer_of(masked, name="batch", model={"covariance_prior_samples": 5.0})
    incremental = trainer_of(
        masked,
        name="incremental",
        model={"covariance_prior_samples": 5.0},
        algorithm="incremental",
        max_epochs=20,
    )
    values = [trainer.train_and_validate()["free_energy"]["validation"] for trainer in (batch, incremental)]
    assert values[1] == pytest.approx(values[0], abs=0.02)


def test_starts_are_compared_by_an_objective_per_observed_sample(masked):
    subset, prior = MultiSubjectDataset.from_arrays(masked, missing="mask").training_set, CovariancePrior(50, np.eye(6))
    model, settings = GaussianHMM(HMMConfig(n_states=3), 6), MStepSettings(covariance_prior=prior)
    start = make_start(0, subset, model, HMMInitializationConfig(), settings, 7)
    assert start.free_energy == pytest.approx(energy(masked, start.parameters), abs=1e-5)
    of_prior = log_prior(start.parameters, covariance_prior=prior)
    n_observed = sum(int(np.isfinite(series[:, 0]).sum()) for series in masked)
    assert start.objective == pytest.approx(start.free_energy - of_prior / n_observed, rel=1e-9)


def test_a_batch_without_any_observed_sample_teaches_nothing(trainer_of, masked):
    trainer = trainer_of(masked, algorithm="incremental")
    trainer.initialize()
    before = trainer.model.get_parameters().to_dictionary()
    batch = PackedSegments(torch.full((40, 6), torch.nan), torch.tensor([0, 30, 40]))
    result = trainer.run_one_batch(batch)
    assert (float(result.loss), result.n) == (0.0, 0.0)
    trainer.back_propagation(result)
    for name, tensor in trainer.model.get_parameters().to_dictionary().items():
        assert torch.equal(tensor, before[name])


def test_states_are_counted_against_observed_samples(trainer_of):
    series = np.random.default_rng(0).standard_normal((30, 2)).astype(np.float32)
    series[2::4] = series[3:-2:4] = np.nan
    series[-2:] = 0.5
    n_observed = 2 * int(np.isfinite(series[:, 0]).sum())
    with pytest.raises(ConfigurationError, match=f"at most the number of training samples \\({n_observed}\\)"):
        trainer_of([series, series, series], n_states=n_observed + 1)


def test_inference_goes_through_gaps_and_says_what_was_observed(trainer_of, masked, simulation):
    trainer = trainer_of(masked, max_epochs=15)
    trainer.train_and_validate()
    parameters = trainer.model.get_parameters()
    results = list(infer(trainer.model, trainer.dataset.training_set))
    assert [result.observed is None for result in results] == [False, False, True]
    order = np.argsort(match_covariances(torch.from_numpy(simulation.covariances), trainer.model.full_covariances()))
    for result, series, states in zip(results, masked, simulation.states):
        observed = np.isfinite(series[:, 0])
        assert result.n_samples == observed.sum()
        assert result.free_energy == pytest.approx(-log_p(series, parameters) / observed.sum(), abs=1e-5)
        np.testing.assert_allclose(result.alpha.sum(1), 1, atol=1e-5)
        found = order[result.states]
        assert (found == states)[observed].mean() > 0.95
        if result.observed is not None:
            np.testing.assert_array_equal(result.observed, observed)
            # States last 20 samples on average, so neighbours tell much of what lies between them, but not all.
            assert 0.7 < (found == states)[~observed].mean() < 0.98
        weights, rows = result.alpha[observed].astype(np.float64), series[observed].astype(np.float64)
        for state in range(3):
            mean = np.average(rows, axis=0, weights=weights[:, state])
            np.testing.assert_allclose(result.means[state], mean, atol=1e-3)


def test_scripts_from_recordings_with_missing_samples_to_states(tmp_path, monkeypatch):
    simulated = simulate_hmm(n_subjects=3, n_samples=900, n_states=2, n_channels=4, stay_probability=0.95, seed=1)
    ready = tmp_path / "ready"
    arrays = [simulated.time_series[0], *(with_gaps(one, i) for i, one in enumerate(simulated.time_series[1:]))]
    for number, series in enumerate(arrays):
        (ready / f"sub-{number}").mkdir(parents=True)
        np.save(ready / f"sub-{number}" / "run.npy", series)
    group = {"type": "timeseries", "files": ["run.npy"], "sampling_frequency": 100, "missing": "mask"}
    (tmp_path / "config.json").write_text(json.dumps({"signals": group}))
    for name, subjects in (("training", "sub-0\nsub-1\n"), ("validation", "sub-2\n"), ("testing", "")):
        (tmp_path / f"{name}.txt").write_text(subjects)
    lists = [tmp_path / f"{name}.txt" for name in ("training", "validation", "testing")]
    store, out = tmp_path / "store.hdf5", tmp_path / "states"
    run_script("dynml_create_hdf5_dataset.py", ready, store, tmp_path / "config.json", *lists)
    run_script("dynml_train_model.py", "hmm", tmp_path, "run", store, "signals", "--model.n_states", 2)
    run_script("dynml_infer_from_model.py", tmp_path / "run", store, out, "--dual_estimation")
    trained, inferred = (json.loads((folder / "summary.json").read_text()) for folder in (tmp_path / "run", out))
    assert inferred["free_energy"]["training"] == pytest.approx(trained["free_energy"]["training"], abs=1e-5)
    assert inferred["free_energy"]["validation"] == pytest.approx(trained["free_energy"]["validation"], abs=1e-5)
    assert trained["free_energy"]["validation"] < trained["baselines"]["gaussian"]["validation"] - 0.05
    observed = [np.isfinite(series[:, 0]) for series in arrays]
    assert inferred["training_information_criteria"]["n_samples"] == observed[0].sum() + observed[1].sum()
    assert not (out / "sub-0_observed.npy").exists()
    for number in (1, 2):
        saved = np.load(out / f"sub-{number}_observed.npy")
        assert saved.dtype == bool
        np.testing.assert_array_equal(saved, observed[number])
        assert np.isfinite(np.load(out / f"sub-{number}_alpha.npy")).all()
        assert (np.load(out / f"sub-{number}_viterbi.npy") >= 0).all()
    rows = list(csv.DictReader((out / "state_statistics.tsv").open(), delimiter="\t"))
    alpha = np.load(out / "sub-1_alpha.npy")
    shares = np.bincount(alpha.argmax(1), minlength=2) / len(alpha)  # masked samples included
    found = [float(row["fractional_occupancy"]) for row in rows if row["subject"] == "sub-1"]
    assert found == pytest.approx(shares.tolist(), abs=1e-5)
    # Read from the file in small pieces, the same comes out.
    dataset = MultiSubjectDataset(store, group="signals", residency="lazy")
    dataset.load_data()
    monkeypatch.setattr(whole_segments, "SAMPLES_PER_BATCH", 300)
    batches = list(SegmentPasses(dataset)("training"))
    assert not any(isinstance(batch.signals, torch.Tensor) for batch in batches)
    parameters = load_experiment(tmp_path / "run").model.get_parameters()
    statistics = expectation(batches, parameters)
    assert statistics.n_samples == observed[0].sum() + observed[1].sum()
    assert statistics.free_energy == pytest.approx(trained["free_energy"]["training"], abs=1e-6)
    # What an earlier run left behind must not stay beside results to which it does not belong.
    np.save(out / "sub-0_observed.npy", observed[1])
    run_script("dynml_infer_from_model.py", tmp_path / "run", store, out, "--force")
    assert not (out / "sub-0_observed.npy").exists()
    assert (out / "sub-1_observed.npy").exists()
