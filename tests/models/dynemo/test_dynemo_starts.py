"""Where DyNeMo starts from: unmixed states, an HMM's states, several starts, another experiment."""

import math

import numpy as np
import pytest
import torch
from dynemo_oracles import dataset_of, double, soft_mixture, trainer_of, walks

from dynml import (
    BatchLoader,
    BatchSampler,
    DynemoConfig,
    DynemoInitializationConfig,
    GaussianHMM,
    HMMConfig,
    HMMTrainer,
)
from dynml.batches.whole_segments import SegmentPasses
from dynml.errors import CheckpointError, ConfigurationError
from dynml.models.dynemo import starts
from dynml.models.dynemo.starts import modes_from_states
from dynml.ops.matching import match_covariances
from dynml.ops.metrics import riemannian_distance
from dynml.training.data.em import PooledMoments, pooled_moments


@pytest.fixture(scope="module")
def mixture():
    return soft_mixture((3000, 2500, 800))


def start(dataset, number=0, *, model=None, seed=7, **settings):
    moments = pooled_moments(SegmentPasses(dataset)("training"), dataset.n_channels)
    config = DynemoConfig(**{"n_modes": 3, "learn_means": False, **(model or {})})
    return modes_from_states(
        number, dataset.training_set, config, DynemoInitializationConfig(**settings), moments, seed
    )


def distances(covariances, truth):
    truth = torch.from_numpy(truth)
    order = match_covariances(truth, covariances)
    return [float(riemannian_distance(truth[mode], covariances[other])) for mode, other in enumerate(order)]


def test_unmixing_comes_closer_to_the_modes_than_the_states_of_an_hmm(mixture):
    signals, _, truth = mixture
    dataset = dataset_of(signals)
    unmixed, means = start(dataset)
    states, _ = start(dataset, method="hmm")
    assert means is None
    assert unmixed.shape == states.shape == (3, 6, 6)
    assert unmixed.dtype == torch.float64
    assert max(distances(unmixed, truth)) < 1.0
    assert sum(distances(unmixed, truth)) < 0.8 * sum(distances(states, truth))


def test_a_start_depends_on_seed_and_number_alone(mixture):
    dataset = dataset_of([series[:900] for series in mixture[0]])
    first, again, other, seeded = (
        start(dataset, number, seed=seed)[0] for number, seed in ((1, 7), (1, 7), (2, 7), (1, 8))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, seeded)


def test_the_hmm_has_as_many_states_as_asked_for_and_as_the_data_afford(mixture, monkeypatch):
    seen = []
    fit = starts.fitted_states

    def counting(part, n_states, *further):
        seen.append((len(part.signals), n_states))
        return fit(part, n_states, *further)

    monkeypatch.setattr(starts, "fitted_states", counting)
    dataset = dataset_of(mixture[0])
    start(dataset, max_samples=2000)
    start(dataset, states_per_mode=2, max_samples=2000)
    start(dataset, max_samples=215)  # 215 samples of 6 channels: 7 states of 5 samples per channel
    start(dataset, max_samples=60)  # never fewer than modes
    start(dataset, method="hmm", max_samples=2000)
    assert seen == [(2000, 9), (2000, 6), (215, 7), (60, 3), (2000, 3)]


def test_means_come_along_where_they_are_learnt():
    signals = walks((900, 800, 300), n_channels=4, seed=2)
    states = [np.repeat(np.random.default_rng(k).integers(0, 3, 60), 15)[: len(one)] for k, one in enumerate(signals)]
    truth = np.array([[3.0, 0, 0, 0], [0, 3.0, 0, 0], [0, 0, 3.0, 0]])
    dataset = dataset_of([(0.5 * one + truth[state]).astype(np.float32) for one, state in zip(signals, states)])
    for method in ("hmm", "unmixing"):
        covariances, means = start(dataset, model={"learn_means": True}, method=method)
        assert covariances.shape == (3, 4, 4)
        for mean in truth:
            assert float((means - torch.from_numpy(mean)).norm(dim=1).min()) < 0.4
    assert start(dataset, method="hmm")[1] is None


def test_covariances_are_pooled_about_zero_where_means_are_not_learnt():
    signals = np.random.default_rng(0).normal(size=(500, 3)) + np.array([1.0, 0.0, -2.0])
    mean, covariance = signals.mean(0), np.cov(signals.T, bias=True)
    moments = PooledMoments(500, torch.from_numpy(mean), torch.from_numpy(covariance))
    about_zero = moments.scatter(about_mean=False)
    np.testing.assert_allclose(about_zero, signals.T @ signals / 500)
    np.testing.assert_allclose(moments.scatter(about_mean=True), covariance)


# ---------------------------------------------------------------------- several starts


def starts_of(trainer):
    """Record the bound and the weights with which each start ends."""
    seen, train = [], trainer._train_start

    def recording(number):
        bound = train(number)
        seen.append((bound, {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}))
        return bound

    trainer._train_start = recording
    trainer.initialize()
    return seen


@pytest.mark.parametrize("method", ["random_subset", "random", "unmixing"])
def test_the_best_of_several_starts_is_kept(tmp_path, method):
    trainer = trainer_of(tmp_path, walks((300, 200, 75)), initialization={"method": method, "n_init": 3, "n_epochs": 2})
    before = trainer.learner.optimizer.state_dict()
    with trainer.record.locked():
        seen = starts_of(trainer)
    bounds = [bound for bound, _ in seen]
    assert len(set(bounds)) == 3
    best = dict(seen[int(np.argmin(bounds))][1])
    torch.testing.assert_close(dict(trainer.model.state_dict()), best, rtol=0, atol=0)
    assert not torch.equal(seen[0][1]["covariance_vectors"], seen[1][1]["covariance_vectors"])
    # The run itself begins with an optimizer that knows nothing of the starts.
    assert trainer.learner.optimizer.state_dict() == before
    assert not before["state"]


def test_one_start_on_a_random_subset_is_trained_too(tmp_path):
    trainer = trainer_of(
        tmp_path, walks(), initialization={"method": "random_subset", "n_init": 1, "n_epochs": 2, "take": 0.4}
    )
    seen, batches = [], trainer.run_one_batch
    trainer.run_one_batch = lambda batch: (seen.append(batch), batches(batch))[1]
    with trainer.record.locked():
        assert len(starts_of(trainer)) == 1
    per_epoch = [sum(batch.epoch == epoch for batch in seen) for epoch in sorted({batch.epoch for batch in seen})]
    sampler = trainer.batch_sampler
    assert per_epoch == [round(0.4 * sampler.n_batches(epoch)) for epoch in (1_000_000, 1_000_001)]


def test_a_start_is_judged_by_the_last_epochs_bound_with_the_prior_in_full(tmp_path):
    trainer = trainer_of(tmp_path, walks(), initialization={"method": "random_subset", "n_epochs": 3})
    results, run = [], trainer.run_one_batch
    trainer.run_one_batch = lambda batch: results.append((batch, run(batch))) or results[-1][1]
    with trainer.record.locked():
        ((bound, _),) = starts_of(trainer)
    last = [(batch, result) for batch, result in results if batch.epoch == results[-1][0].epoch]
    values = [float(r.metrics["negative_log_likelihood"] + r.metrics["divergence"]) for _, r in last]
    assert bound == pytest.approx(np.average(values, weights=[b.n_samples for b, _ in last]), rel=1e-6)


@pytest.mark.parametrize("faulty", [0, 1])
def test_a_start_whose_loss_is_not_finite_is_never_the_best(tmp_path, faulty):
    trainer = trainer_of(
        tmp_path,
        walks(),
        non_finite="skip",
        initialization={"method": "random_subset", "n_init": 2, "n_epochs": 1},
    )
    begin = trainer._begin_start

    def beginning(number):
        begin(number)
        if number == faulty:
            with torch.no_grad():
                trainer.model.posterior_head.mean.bias.fill_(math.nan)

    trainer._begin_start = beginning
    with trainer.record.locked():
        seen = starts_of(trainer)
    assert seen[faulty][0] == math.inf
    assert math.isfinite(trainer.best_start[0])
    assert all(torch.isfinite(tensor).all() for tensor in trainer.model.state_dict().values())
    assert trainer.progress.n_skipped > 0


def test_one_bad_batch_does_not_spoil_the_bound_of_a_start(tmp_path):
    trainer = trainer_of(
        tmp_path, walks(), non_finite="skip", initialization={"method": "random_subset", "n_epochs": 1}
    )
    run, seen = trainer.run_one_batch, []

    def failing(batch):
        result = run(batch)
        seen.append(result)
        if len(seen) == 1:
            result.loss = result.loss * math.nan
            result.metrics = {name: value * math.nan for name, value in result.metrics.items()}
        return result

    trainer.run_one_batch = failing
    with trainer.record.locked():
        ((bound, _),) = starts_of(trainer)
    assert len(seen) > 1
    values, weights = zip(*[(float(result.metrics["bound"]), result.n) for result in seen[1:]])
    assert bound == pytest.approx(np.average(values, weights=weights))


# ---------------------------------------------------------------------- from other experiments


def train_hmm(folder, signals, name="states", n_states=3, **model):
    dataset = dataset_of(signals)
    hmm = GaussianHMM(HMMConfig(n_states=n_states, **model), dataset.n_channels)
    sampler = BatchSampler(dataset, strategy="whole_segments")
    trainer = HMMTrainer(
        hmm, folder, name, sampler, BatchLoader(dataset, hmm, collate="packed"), max_epochs=3, progress=False
    )
    trainer.train_and_validate()
    return hmm


@pytest.mark.parametrize("learn_means", [True, False])
def test_a_run_starts_from_the_states_of_a_trained_hmm(tmp_path, learn_means):
    hmm = train_hmm(tmp_path, walks())
    trainer = trainer_of(
        tmp_path,
        walks(),
        model={"learn_means": learn_means},
        initialization={"from_experiment": str(tmp_path / "states")},
    )
    with trainer.record.locked():
        trainer.initialize()
    np.testing.assert_allclose(trainer.model.full_covariances(), hmm.full_covariances(), rtol=1e-4, atol=1e-5)
    expected = double(hmm.means) if learn_means else np.zeros((3, 3))
    np.testing.assert_allclose(double(trainer.model.means), expected, atol=1e-6)


def test_a_run_starts_from_the_modes_of_a_trained_dynemo_but_not_from_its_networks(tmp_path):
    first = trainer_of(tmp_path, walks(), "first", max_epochs=2)
    first.train_and_validate()
    trainer = trainer_of(
        tmp_path,
        walks(),
        "second",
        model={"inference_n_units": 7},
        initialization={"from_experiment": str(tmp_path / "first")},
    )
    networks = trainer.model.posterior_head.mean.weight.clone()
    with trainer.record.locked():
        trainer.initialize()
    np.testing.assert_allclose(trainer.model.full_covariances(), first.model.full_covariances(), rtol=1e-5, atol=1e-6)
    assert torch.equal(trainer.model.posterior_head.mean.weight, networks)


def test_variances_are_taken_from_a_diagonal_hmm(tmp_path):
    hmm = train_hmm(tmp_path, walks(), covariance_type="diagonal")
    trainer = trainer_of(
        tmp_path,
        walks(),
        model={"covariance_type": "diagonal"},
        initialization={"from_experiment": str(tmp_path / "states")},
    )
    with trainer.record.locked():
        trainer.initialize()
    np.testing.assert_allclose(trainer.model.full_covariances(), hmm.full_covariances(), rtol=1e-5, atol=1e-6)


def test_modes_of_another_number_or_other_channels_are_refused(tmp_path):
    train_hmm(tmp_path, walks(), n_states=4)
    path = str(tmp_path / "states")
    trainer = trainer_of(tmp_path, walks(), initialization={"from_experiment": path})
    with pytest.raises(
        ConfigurationError, match=r"initialization\.from is .*3 states or modes and 3 channels.*\(4, 3, 3\)"
    ):
        trainer.train_and_validate()
    wide = trainer_of(
        tmp_path, walks(n_channels=5), "wide", model={"n_modes": 4}, initialization={"from_experiment": path}
    )
    with pytest.raises(ConfigurationError, match=r"4 states or modes and 5 channels.*\(4, 3, 3\)"):
        wide.train_and_validate()
    with pytest.raises(CheckpointError, match="does not exist"):
        trainer_of(tmp_path, walks(), "none", initialization={"from_experiment": str(tmp_path / "nowhere")})


def test_a_pretrained_experiment_is_where_a_run_starts(tmp_path):
    first = trainer_of(tmp_path, walks(), "first", max_epochs=3)
    summary = first.train_and_validate()
    second = trainer_of(
        tmp_path, walks(), "second", pretrained=str(tmp_path / "first"), max_epochs=1, learning_rate=1e-30
    )
    second.train_and_validate()
    assert second.history.rows[0]["validation_loss"] == pytest.approx(summary["best_value"], rel=1e-9)


def test_a_pretrained_experiment_of_another_shape_is_refused_with_the_difference(tmp_path):
    trainer_of(tmp_path, walks(), "first", max_epochs=1).train_and_validate()
    train_hmm(tmp_path, walks())
    with pytest.raises(
        ConfigurationError, match=r"pretrained is .*first.*model_rnn.*is \(16, 3\) there, \(36, 3\) here"
    ):
        trainer_of(tmp_path, walks(), "second", model={"model_n_units": 9}, pretrained=str(tmp_path / "first"))
    with pytest.raises(ConfigurationError, match=r"pretrained is .*states.*of family hmm; .*is absent there"):
        trainer_of(tmp_path, walks(), "third", pretrained=str(tmp_path / "states"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"method": "best"}, r"initialization\.method is 'best'"),
        ({"states_per_mode": 0}, r"initialization\.states_per_mode is 0"),
        ({"n_init": 0}, r"initialization\.n_init is 0"),
        ({"n_epochs": 0}, r"initialization\.n_epochs is 0"),
        ({"take": 0.0}, r"initialization\.take is 0"),
        ({"take": 1.5}, r"initialization\.take is 1\.5"),
        ({"max_samples": 0}, r"initialization\.max_samples is 0"),
        ({"from_experiment": "x", "n_init": 2}, r"initialization\.n_init is 2, but must be 1 when starting from"),
    ],
)
def test_settings_of_starts_that_make_no_sense_are_refused(settings, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        DynemoInitializationConfig(**settings)
