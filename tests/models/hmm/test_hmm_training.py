"""Training of the HMM: what it finds, against the simulation's truth and hmmlearn; how it goes on after a stop."""

import json
import math

import numpy as np
import pytest
import torch
from hmmlearn.hmm import GaussianHMM as Peer
from interrupting import interrupt_at

from dynml import BatchLoader, BatchSampler, GaussianHMM, HMMConfig, HMMTrainer, MultiSubjectDataset, load_experiment
from dynml.errors import ConfigurationError, DataWarning, DynmlError, EmptyStateWarning
from dynml.files import sha256_of_file, write_json
from dynml.models.hmm.config import HMMInitializationConfig
from dynml.models.hmm.report import collapsed_states
from dynml.ops.hmm.statistics import GaussianHMMParameters
from dynml.ops.matching import match_covariances
from dynml.ops.metrics import dice_coefficient, riemannian_distance
from dynml.recording import recording_of_runs
from dynml.simulation import simulate_hmm
from dynml.training.costs import COST_ENDINGS
from dynml.training.data.em import PooledMoments


def peer_of(simulation, lengths, signals):
    """hmmlearn's EM at its optimum, started at the truth."""
    K = len(simulation.means)
    peer = Peer(K, "full", n_iter=200, tol=1e-6, init_params="", min_covar=0, covars_prior=0, covars_weight=0)
    peer.startprob_, peer.transmat_ = np.full(K, 1 / K), simulation.transition_probabilities
    peer.means_, peer.covars_ = simulation.means, simulation.covariances
    return peer.fit(signals, lengths)


def test_free_energy_and_covariances_equal_the_peers_at_its_optimum(make_trainer, simulation):
    lengths = [len(series) for series in simulation.time_series[:-1]]
    peer = peer_of(simulation, lengths, np.concatenate(simulation.time_series[:-1]))
    trainer = make_trainer(
        model={"covariance_prior_samples": 0, "covariances_epsilon": 0}, tolerance=1e-8, max_epochs=200
    )
    summary = trainer.train_and_validate()
    training = -peer.score(np.concatenate(simulation.time_series[:-1]), lengths) / sum(lengths)
    validation = -peer.score(simulation.time_series[-1]) / len(simulation.time_series[-1])
    assert summary["free_energy"]["training"] == pytest.approx(training, abs=2e-4)
    assert summary["free_energy"]["validation"] == pytest.approx(validation, abs=2e-3)
    found = trainer.model.full_covariances()
    order = match_covariances(torch.from_numpy(peer.covars_), found)
    for state, other in enumerate(order):
        assert riemannian_distance(torch.from_numpy(peer.covars_[state]), found[other]) < 0.05


def test_states_of_held_out_data_are_found(make_trainer, simulation):
    trainer = make_trainer()
    trainer.train_and_validate()
    series = torch.from_numpy(simulation.time_series[-1])
    posteriors, _ = trainer.model.posteriors(series, torch.tensor([0, len(series)]))
    order = match_covariances(torch.from_numpy(simulation.covariances), trainer.model.full_covariances())
    truth = torch.nn.functional.one_hot(torch.from_numpy(simulation.states[-1]), 3).double()
    assert dice_coefficient(truth, posteriors[:, order].double()) > 0.98


def test_the_logged_free_energy_of_the_best_epoch_is_that_of_the_saved_model(make_trainer):
    trainer = make_trainer(validation=False)
    summary = trainer.train_and_validate()
    column, objective = (trainer.history.column(f"training_{name}") for name in ("loss", "objective"))
    best = summary["best_epoch"]
    assert (summary["monitored"], summary["best_value"]) == ("training_objective", objective[best - 1])
    assert summary["free_energy"]["training"] == pytest.approx(column[best - 1], abs=1e-9)
    assert summary["free_energy"]["validation"] is None


def test_em_never_raises_its_objective_and_stops_when_it_has_converged(make_trainer):
    trainer = make_trainer(model={"covariance_prior_samples": 30, "transition_prior": 2.0}, tolerance=1e-5)
    summary = trainer.train_and_validate()
    objective = trainer.history.column("training_objective")
    assert summary["stopping_reason"] == "converged"
    assert (np.diff(objective) < 1e-6).all()
    assert objective[-2] - objective[-1] < 1e-5 <= objective[-3] - objective[-2]


@pytest.mark.parametrize("batch_size", [1, 1300, 10**6])
def test_batches_change_nothing_but_rounding(make_trainer, batch_size):
    reference = make_trainer("whole", batch_size=10**7, max_epochs=5)
    reference.train_and_validate()
    trainer = make_trainer("parts", batch_size=batch_size, max_epochs=5)
    trainer.train_and_validate()
    np.testing.assert_allclose(
        trainer.history.column("training_loss"), reference.history.column("training_loss"), rtol=2e-6
    )


def test_a_cap_on_validation_batches_is_of_epochs_and_not_of_the_score(tmp_path, simulation):
    series = simulation.time_series[:2]
    dataset = MultiSubjectDataset.from_arrays(
        [series[0][:1000]], [series[1][:300], 3 * series[1][300:600], series[1][600:900]]
    )
    summaries, losses = [], []
    for name, most in {"whole": None, "capped": 1}.items():
        hmm = GaussianHMM(HMMConfig(n_states=3), dataset.n_channels)
        units = {"batch_size_units": "nb_samples", "batch_size_training": 300, "max_validation_batches": most}
        sampler = BatchSampler(dataset, strategy="whole_segments", **units)
        loader, start = BatchLoader(dataset, hmm, collate="packed"), HMMInitializationConfig(n_init=1, n_epochs=1)
        settings = {"initialization": start, "max_epochs": 1, "progress": False}
        trainer = HMMTrainer(hmm, tmp_path, name, sampler, loader, **settings)
        summaries.append(trainer.train_and_validate())
        losses.append(trainer.history.column("validation_loss")[0])
    whole, capped = (summary["free_energy"]["validation"] for summary in summaries)
    # The one in the middle has three times the amplitude.
    assert losses[1] > losses[0] + 0.5
    assert whole == pytest.approx(losses[0], rel=1e-6)
    assert capped == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
@pytest.mark.parametrize("learn_means", [True, False])
def test_baselines_are_those_of_independent_formulas(make_trainer, simulation, covariance_type, learn_means):
    trainer = make_trainer(model={"covariance_type": covariance_type, "learn_means": learn_means})
    summary = trainer.train_and_validate()
    signals = np.concatenate(simulation.time_series[:-1]).astype(np.float64)
    gaussian = torch.distributions.MultivariateNormal(
        torch.from_numpy(signals.mean(0)), torch.from_numpy(np.cov(signals.T, bias=True))
    )
    for name, data in {"training": signals, "validation": simulation.time_series[-1].astype(np.float64)}.items():
        expected = -float(gaussian.log_prob(torch.from_numpy(data)).mean())
        assert summary["baselines"]["gaussian"][name] == pytest.approx(expected, abs=2e-5)
    model, mixture = summary["free_energy"]["training"], summary["baselines"]["gaussian_mixture"]["training"]
    assert model < mixture


def numbers_of(trainer):
    rows = [
        {name: value for name, value in row.items() if not name.endswith(COST_ENDINGS)} for row in trainer.history.rows
    ]
    return rows, {name: tensor.clone() for name, tensor in trainer.weights().items()}


@pytest.mark.parametrize("algorithm", ["batch", "incremental"])
@pytest.mark.parametrize(
    ("call", "n"),
    [
        ("initialization_step_done", 1),
        ("initialization_step_done", 2),
        ("run_one_batch", 1),
        ("run_one_batch", 5),
        ("run_one_batch", 9),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_numbers(make_trainer, algorithm, call, n):
    settings = {"algorithm": algorithm, "max_epochs": 4, "tolerance": 0.0}
    whole = make_trainer("whole", **settings)
    starts = whole.train_and_validate()["starts"]
    first = make_trainer("broken", **settings)
    interrupt_at(first, call, n)
    assert first.train_and_validate()["stopping_reason"] == "signal SIGTERM"
    second = make_trainer("broken", resume="auto", **settings)
    assert second.train_and_validate()["starts"] == starts
    rows, weights = numbers_of(second)
    expected_rows, expected_weights = numbers_of(whole)
    assert rows == expected_rows
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=0)


def test_incremental_em_comes_close_to_exact_em_in_few_passes(make_trainer):
    simulated = simulate_hmm(n_subjects=40, n_samples=500, n_states=3, n_channels=5, seed=4)
    exact = make_trainer("exact", arrays=simulated.time_series).train_and_validate()
    trainer = make_trainer("incremental", arrays=simulated.time_series, algorithm="incremental", max_epochs=4)
    incremental = trainer.train_and_validate()
    assert incremental["free_energy"]["validation"] == pytest.approx(exact["free_energy"]["validation"], abs=0.05)


def test_fixed_transitions_and_means_stay_as_they_are(make_trainer):
    trainer = make_trainer(model={"learn_transitions": False, "learn_means": False}, max_epochs=3)
    before = trainer.model.transition_probabilities.clone()
    trainer.train_and_validate()
    assert torch.equal(trainer.model.transition_probabilities, before)
    assert not trainer.model.means.any()


def with_an_unreachable_state(trainer):
    """Let the run begin with a third state that no sample can belong to."""
    initialize = trainer.initialize

    def initializing():
        initialize()
        trainer.model.means[2] = 1000.0

    trainer.initialize = initializing
    return trainer


def test_an_empty_state_is_frozen_with_a_warning(make_trainer):
    trainer = with_an_unreachable_state(make_trainer(empty_states="freeze"))
    with pytest.warns(EmptyStateWarning, match="State 3 is empty"):
        summary = trainer.train_and_validate()
    assert trainer.model.means[2].tolist() == [1000.0] * 6
    assert all(torch.isfinite(tensor).all() for tensor in trainer.model.state_dict().values())
    assert any("hardly occur: 3 (0.00%)" in finding for finding in summary["findings"])


@pytest.mark.filterwarnings("ignore::dynml.errors.EmptyStateWarning")
def test_a_revived_state_takes_its_share_and_explains_more_than_a_frozen_one(make_trainer):
    frozen = with_an_unreachable_state(make_trainer("frozen", empty_states="freeze")).train_and_validate()
    revived = with_an_unreachable_state(make_trainer("revived", empty_states="revive")).train_and_validate()
    assert min(frozen["fractional_occupancies"]) == 0
    assert min(revived["fractional_occupancies"]) > 0.01
    assert revived["free_energy"]["training"] < frozen["free_energy"]["training"] - 0.001


def test_more_states_than_short_data_can_hold_never_give_nan(make_trainer, simulation):
    summary = make_trainer(arrays=[series[:40] for series in simulation.time_series], n_states=12).train_and_validate()
    assert math.isfinite(summary["best_value"])
    assert np.isfinite(summary["fractional_occupancies"]).all()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"collate": "padded"}, "loader.collate"), ({"collate": "packed", "noise": 0.1}, r"loader\.noise is 0\.1")],
)
def test_padding_and_augmentation_are_refused(simulation, tmp_path, settings, sentence):
    dataset = MultiSubjectDataset.from_arrays(simulation.time_series)
    model = GaussianHMM(HMMConfig(n_states=3), 6)
    loader = BatchLoader(dataset, model, **settings)
    with pytest.raises(ConfigurationError, match=sentence):
        HMMTrainer(model, tmp_path, "run", BatchSampler(dataset), loader)


@pytest.mark.parametrize("name", ["batches_per_epoch", "draws_per_epoch"])
def test_epochs_that_are_no_pass_over_all_segments_are_refused(simulation, tmp_path, name):
    dataset = MultiSubjectDataset.from_arrays(simulation.time_series)
    model, sampler = GaussianHMM(HMMConfig(n_states=3), 6), BatchSampler(dataset, **{name: 2})
    with pytest.raises(ConfigurationError, match=rf"sampler\.{name} is 2, but must be null for an HMM"):
        HMMTrainer(model, tmp_path, "run", sampler, BatchLoader(dataset, model, collate="packed"))


def test_too_many_states_are_refused(make_trainer, simulation):
    with pytest.raises(
        ConfigurationError, match=r"model\.n_states is 12, but must be at most the number of training samples .9."
    ):
        make_trainer(arrays=[series[:3] for series in simulation.time_series], n_states=12)


def test_rank_deficient_data_without_a_prior_are_refused_and_with_one_trained(make_trainer, simulation):
    deficient = [series - series.mean(axis=1, keepdims=True) for series in simulation.time_series]
    with pytest.raises(ConfigurationError, match="rank 5 of 6"):
        make_trainer("bare", arrays=deficient, model={"covariance_prior_samples": 0}).train_and_validate()
    summary = make_trainer("held", arrays=deficient, max_epochs=15).train_and_validate()
    assert math.isfinite(summary["free_energy"]["validation"])
    assert any("rank 5 of 6" in finding for finding in summary["findings"])


def test_a_pretrained_experiment_is_where_another_run_starts(make_trainer, tmp_path):
    first = make_trainer("first", validation=False)
    first.train_and_validate()
    second = make_trainer("second", validation=False, pretrained=str(tmp_path / "first"), max_epochs=1)
    second.train_and_validate()
    assert second.history.rows[0]["training_loss"] == pytest.approx(
        first.history.rows[first.best.best_epoch - 1]["training_loss"], abs=1e-9
    )


def test_parameters_of_odd_keys_and_types_are_told(make_trainer, tmp_path):
    make_trainer(validation=False, max_epochs=1).train_and_validate()
    folder = tmp_path / "run" / "best_model"
    sound = json.loads((folder / "parameters.json").read_text(encoding="utf-8"))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for odd in ([], {**sound, "dataset": None}, {**sound, "model": 3}, {"family": "hmm"}, {**sound, "family": ["hmm"]}):
        write_json(folder / "parameters.json", odd)
        manifest["files"]["parameters.json"] = {
            "bytes": (folder / "parameters.json").stat().st_size,
            "sha256": sha256_of_file(folder / "parameters.json"),
        }
        write_json(folder / "manifest.json", manifest)
        with pytest.raises(DynmlError, match=r"run is not as dynml wrote it, and cannot be used|no family|family"):
            load_experiment(tmp_path / "run")


def test_a_saved_model_gives_the_same_inference_as_the_trained_one(make_trainer, simulation, tmp_path):
    trainer = make_trainer()
    summary = trainer.train_and_validate()
    experiment = load_experiment(tmp_path / "run")
    torch.testing.assert_close(dict(experiment.model.state_dict()), dict(trainer.model.state_dict()), rtol=0, atol=0)
    results = list(experiment.infer(simulation.time_series[:-1]))
    samples = sum(result.n_samples for result in results)
    energy = -sum(result.log_likelihood for result in results) / samples
    assert energy == pytest.approx(summary["free_energy"]["training"], abs=1e-9)
    assert json.loads(trainer.folder.summary.read_text())["free_energy"]["training"] == pytest.approx(energy, abs=1e-9)


@pytest.mark.parametrize("covariance_type", ["full", "diagonal"])
def test_signals_far_from_zero_train_as_the_same_signals_near_zero(tmp_path, simulation, covariance_type):
    """At ten thousand standard deviations from zero float32 keeps three digits of a sample: that is all that goes."""
    summaries = []
    for name, shift in (("near", 0.0), ("far", 1e4)):
        arrays = [(series.astype(np.float64) + shift).astype(np.float32) for series in simulation.time_series]
        dataset = MultiSubjectDataset.from_arrays(arrays[:-1], arrays[-1:], standardization="none")
        model = GaussianHMM(HMMConfig(n_states=3, covariance_type=covariance_type), dataset.n_channels)
        loader = BatchLoader(dataset, model, collate="packed")
        trainer = HMMTrainer(model, tmp_path, name, BatchSampler(dataset), loader, max_epochs=15, progress=False)
        summaries.append(trainer.train_and_validate())
    near, far = summaries
    for subset in ("training", "validation"):
        assert far["free_energy"][subset] == pytest.approx(near["free_energy"][subset], abs=2e-3)
        for baseline in ("gaussian", "gaussian_mixture"):
            assert far["baselines"][baseline][subset] == pytest.approx(near["baselines"][baseline][subset], abs=2e-3)


def average_referenced(n_runs, n_subjects=5, n_channels=10):
    """Recordings of noise whose channels sum to zero before each run is standardized: each lacks another direction."""
    generator = np.random.default_rng(0)
    recordings = []
    for _ in range(n_subjects):
        runs = []
        for _ in range(n_runs):
            run = generator.normal(size=(1500, n_channels)) * generator.uniform(0.5, 2, n_channels)
            run -= run.mean(axis=1, keepdims=True)
            runs.append(run / run.std(axis=0))
        recordings.append(
            recording_of_runs(
                runs,
                sampling_frequency=250.0,
                channel_names=[f"E{channel}" for channel in range(n_channels)],
                run_names=[f"run-{run}" for run in range(n_runs)],
            )
        )
    return recordings


@pytest.mark.parametrize("n_runs", [1, 2])
def test_states_share_the_directions_that_runs_lack_each_another_one(tmp_path, n_runs):
    recordings = average_referenced(n_runs)
    dataset = MultiSubjectDataset.from_arrays(recordings[:-1], recordings[-1:], standardization="per_run")
    model = GaussianHMM(HMMConfig(n_states=4), 10)
    loader = BatchLoader(dataset, model, collate="packed")
    trainer = HMMTrainer(model, tmp_path, "run", BatchSampler(dataset), loader, max_epochs=30, progress=False)
    with pytest.warns(DataWarning, match=r"rank 9 of 10 in training-0, run run-0.*\"n_components\": 9"):
        summary = trainer.train_and_validate()
    gaussian = summary["baselines"]["gaussian"]["validation"]
    assert summary["free_energy"]["validation"] < gaussian + 0.2
    assert summary["baselines"]["gaussian_mixture"]["validation"] < gaussian + 0.2
    assert any("rank 9 of 10" in finding for finding in summary["findings"])


def test_a_run_that_shares_directions_is_resumed_to_the_same_numbers(tmp_path):
    def trainer(name, resume="refuse"):
        recordings = average_referenced(1, n_subjects=3)
        dataset = MultiSubjectDataset.from_arrays(recordings, standardization="per_run")
        model = GaussianHMM(HMMConfig(n_states=3), 10)
        loader = BatchLoader(dataset, model, collate="packed")
        settings = {"max_epochs": 8, "progress": False, "tolerance": 0.0}
        return HMMTrainer(model, tmp_path, name, BatchSampler(dataset), loader, resume=resume, **settings)

    whole = trainer("whole")
    whole.train_and_validate()
    interrupted = trainer("parts")
    interrupt_at(interrupted, "start_of_epoch", 3)
    assert interrupted.train_and_validate()["stopping_reason"] == "signal SIGTERM"
    resumed = trainer("parts", resume="auto")
    resumed.train_and_validate()
    np.testing.assert_array_equal(resumed.model.covariances, whole.model.covariances)


def test_states_that_are_subjects_are_findings(tmp_path):
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=(800, 5)) @ generator.normal(size=(5, 5)) for _ in range(5)]
    dataset = MultiSubjectDataset.from_arrays(arrays, standardization="per_subject")
    model = GaussianHMM(HMMConfig(n_states=5), 5)
    loader = BatchLoader(dataset, model, collate="packed")
    summary = HMMTrainer(model, tmp_path, "run", BatchSampler(dataset), loader, progress=False).train_and_validate()
    assert summary["explained_entropy"]["subject"]["share"] > 0.9
    assert any("of the entropy of the states" in finding for finding in summary["findings"])
    assert any("live in one subject each" in finding for finding in summary["findings"])


def test_a_good_simulation_has_no_findings(make_trainer):
    summary = make_trainer(max_epochs=30).train_and_validate()
    assert summary["findings"] == []
    assert summary["explained_entropy"]["subject"]["share"] < 0.2
    assert set(summary["occupancies_of_subjects"]) == {"training-0", "training-1", "training-2"}


def test_a_collapsed_covariance_is_a_finding():
    covariances = torch.stack([torch.eye(3), torch.diag(torch.tensor([1.0, 1.0, 1e-5]))]).double()
    half = torch.full((2,), 0.5)
    parameters = GaussianHMMParameters(torch.zeros(2, 3), covariances, half, half.expand(2, 2))
    moments = PooledMoments(100.0, torch.zeros(3).double(), torch.eye(3).double())
    [finding] = collapsed_states(parameters, moments, 0.0)
    assert "2 (1.0e-05)" in finding
    assert collapsed_states(parameters.permuted([0, 0]), moments, 0.0) == []
