"""A causal model that is given a second group: what it comes to know, what it may not look at, and what is refused.

The group drives the signals at a known lag, so that the least errors with it and without it are known.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from conditioned_data import NOISE, driven, driven_store, study_of
from sequence_windows import SMALL, windows

from dynml import BatchLoader, BatchSampler, DatasetConfig, MultiSubjectDataset, load_experiment
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.exchange.exported.exporting import export_experiment
from dynml.models.hmm.config import HMMConfig
from dynml.models.hmm.model import GaussianHMM
from dynml.models.hmm.trainer import HMMTrainer
from dynml.models.sequence.baselines import var
from dynml.models.sequence.channels import dataset_of_run
from dynml.models.sequence.config import CsmConfig
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.settling import settled_model
from dynml.models.sequence.trainer import SequenceTrainer
from dynml.models.sequence.windows import masked_windows

BY_STIMULUS = DatasetConfig(conditioning_group="stimulus")
TINY = {"embedding_dim": 8, "n_layers": 1, "n_heads": 1, "n_positions": 64}
LENGTH, MEAN_SIZE = 40, np.sqrt(2 / np.pi)
WITHOUT = np.hypot(NOISE, 1.0)
"""Standard deviation of what is left where the stimulus, of variance 1, is not known."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return driven_store(tmp_path_factory.mktemp("driven"))


def trainer_of(path, folder, config, name="run", *, model=None, **settings):
    dataset = MultiSubjectDataset(path, group="signals", config=config)
    dataset.load_data()
    torch.manual_seed(1)
    network = Csm(settled_model(CsmConfig(**TINY | (model or {})), dataset), dataset.n_channels)
    sampler = BatchSampler(dataset, window_length=LENGTH, batch_size_training=32)
    settings = {"max_epochs": 1, "progress": False, "device": "cpu"} | settings
    return SequenceTrainer(network, folder, name, sampler, BatchLoader(dataset, network), **settings)


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    trainer = trainer_of(store, tmp_path_factory.mktemp("runs"), BY_STIMULUS)
    return trainer, trainer.train_and_validate()


def test_the_conditioned_model_reaches_the_noise_and_the_other_one_does_not(store, trained, tmp_path):
    # The second sample of a window is predicted from the first one alone, which was not driven by the same stimulus.
    floor = MEAN_SIZE * ((LENGTH - 2) * NOISE + WITHOUT) / (LENGTH - 1)
    _, summary = trained
    for found in (summary["score"], summary["baselines"]["ridge_var"]):
        assert found["validation"] == pytest.approx(floor, rel=0.04)
    plain = trainer_of(store, tmp_path, None).train_and_validate()
    for found in (plain["score"], plain["baselines"]["ridge_var"]):
        assert found["validation"] == pytest.approx(MEAN_SIZE * WITHOUT, rel=0.04)
    assert summary["baselines"]["persistence"] == plain["baselines"]["persistence"]
    assert summary["baselines"]["ar1"] == pytest.approx(plain["baselines"]["ar1"])
    assert len(summary["score_by_network"]) == 2


def test_with_the_stimulus_of_the_predicted_sample_a_shorter_lag_is_known(tmp_path):
    path = driven_store(tmp_path, lag=0)
    found = {}
    for lead in (0, 1):
        config = dataclasses.replace(BY_STIMULUS, conditioning_lead=lead)
        if lead:
            with pytest.warns(DataWarning, match=r"stimulus:observed: sub-0: 1; .* and 4 more"):
                trainer = trainer_of(path, tmp_path, config, f"lead-{lead}")
        else:
            trainer = trainer_of(path, tmp_path, config, f"lead-{lead}")
        found[lead] = trainer.train_and_validate()["score"]["validation"]
    assert found[0] == pytest.approx(MEAN_SIZE * WITHOUT, rel=0.04)
    assert found[1] == pytest.approx(MEAN_SIZE * NOISE, rel=0.04)


def test_the_linear_path_finds_lag_and_weights(trained):
    trainer, _ = trained
    ridge = trainer.baselines["ridge_var"]
    own = ridge.coefficients_NCC[3:6]  # of three lags
    np.testing.assert_allclose(own[0, :2], 0.5 * np.eye(2), atol=0.03)
    np.testing.assert_allclose(own[1, 2], [1.0, -1.0], atol=0.03)
    np.testing.assert_allclose(own[[0, 2], 2], np.zeros((2, 2)), atol=0.03)
    assert ridge.mean_C.shape == (3,)
    assert trainer.model.linear.coefficients_NCC.equal(ridge.coefficients_NCC)


def test_forecasts_go_on_with_the_recorded_stimulus(trained):
    _, summary = trained
    steps = np.arange(1, 6)
    expected = MEAN_SIZE * NOISE * np.sqrt((1 - 0.25**steps) / (1 - 0.25))
    np.testing.assert_allclose(summary["score_by_horizon"]["model"], expected, rtol=0.2)
    assert summary["score_by_horizon"]["ar1"][0] > 2 * expected[0]


def model_of(**settings):
    """Random weights, in the linear path too; 4 signals and 2 channels beside them."""
    torch.manual_seed(3)
    model = Csm(CsmConfig(**SMALL, conditioning_channels=["u:a", "u:b"], **settings), 6).eval()
    with torch.no_grad():
        for parameter in [*model.parameters(), *model.linear.buffers()]:
            if parameter.is_floating_point():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def predictions(model, given):
    with torch.no_grad():
        task = model.task_of(given, torch.zeros(6, dtype=torch.int64), torch.zeros(6, dtype=torch.int64))
        return model(task).predicted_BTC, task.scored[:, :, 0]


@pytest.mark.parametrize(
    ("settings", "seen_from"), [({}, 9), ({"patch_length": 4}, 12), ({"objective": "single_mask"}, 9)]
)
def test_a_prediction_looks_at_the_second_group_before_its_target_alone(settings, seen_from):
    model, given = model_of(**settings), windows(lengths=(20,) * 6)
    changed = given.signals_BTC.clone()
    changed[:, 8, 4:] += 1.0
    before, scored_BT = predictions(model, given)
    after, _ = predictions(model, dataclasses.replace(given, signals_BTC=changed))
    assert before.shape == (6, 20, 4)
    differs_BT = (before - after).abs().amax(dim=2) > 1e-6
    assert not differs_BT[:, :seen_from][scored_BT[:, :seen_from]].any()
    assert differs_BT[:, seen_from:][scored_BT[:, seen_from:]].any()
    if settings.get("objective") != "single_mask":
        assert differs_BT[:, seen_from].all()


def test_what_stands_beside_masked_samples_is_not_looked_at():
    model, given = model_of(), windows(lengths=(20,) * 6)
    observed_BT = given.mask_BT.clone()
    observed_BT[:, 7:9] = False
    found = []
    for value in (0.0, 5.0):
        signals_BTC = given.signals_BTC.clone()
        signals_BTC[:, 7:9, 4:] += value
        signals_BTC[:, 7:9, :4] = torch.nan
        masked = masked_windows(dataclasses.replace(given, signals_BTC=signals_BTC), observed_BT)
        predicted, scored_BT = predictions(model, masked)
        found.append(predicted[scored_BT])
    assert found[0].isfinite().all()
    assert found[0].equal(found[1])


def test_states_and_summaries_of_windows_are_made_of_both_groups():
    model, given = model_of(), windows(lengths=(20,) * 6)
    silent = dataclasses.replace(given, signals_BTC=given.signals_BTC * torch.tensor([1.0] * 4 + [0.0] * 2))
    for of in (model.states, model.pooled, lambda one: model.pooled(one, "mean")):
        with torch.no_grad():
            assert not torch.allclose(of(given), of(silent))


def test_a_run_goes_on_and_is_read_again(store, trained, tmp_path):
    first = trainer_of(store, tmp_path, BY_STIMULUS)
    first.train_and_validate()
    second = trainer_of(store, tmp_path, BY_STIMULUS, resume="auto", max_epochs=2)
    summary = second.train_and_validate()
    assert summary["epochs"] == 2
    assert first.baselines["ridge_var"].coefficients_NCC.equal(second.baselines["ridge_var"].coefficients_NCC)
    experiment = load_experiment(tmp_path / "run")
    opened = experiment.open(store)
    assert (opened.n_channels, opened.conditioning) == (3, second.dataset.conditioning)
    assert opened.fingerprints == second.dataset.fingerprints


def test_an_exported_model_takes_both_groups_along(store, trained, tmp_path):
    exported = export_experiment(trained[0].folder.path, tmp_path / "exported", store=store)
    assert set(exported.preparation.layouts) == set(exported.preparation.fits) == {"signals", "stimulus"}
    experiment = load_experiment(tmp_path / "exported")
    opened = experiment.open(store)
    assert opened.conditioning == trained[0].dataset.conditioning
    assert experiment.facts()["channels"] == "3 (1 of group stimulus) at 100 Hz"


def test_the_linear_path_is_the_same_where_a_device_is_not_asked(monkeypatch):
    model, given = model_of(), windows(lengths=(20,) * 6)
    asked, scored_BT = predictions(model, given)
    monkeypatch.setattr(var, "asks_nothing", lambda *_: True)
    not_asked, _ = predictions(model, given)
    torch.testing.assert_close(asked[scored_BT], not_asked[scored_BT])


def test_new_data_must_have_the_group_and_may_lack_samples_of_it(trained, tmp_path):
    experiment = load_experiment(trained[0].folder.path)
    x, u = driven(77)
    study = study_of(tmp_path, {"sub-new": [x]}, {"sub-new": [u[:350]]})
    study.create()
    with pytest.warns(DataWarning, match="which the model was not trained to tell from a value: sub-new: 50"):
        opened = experiment.open(study.target, other_preparation="allow")
    assert opened.n_channels == 3
    del study.config["stimulus"]
    study.create(overwrite=True)
    with pytest.raises(DataError, match="subject sub-new has no group 'stimulus' to condition the model by"):
        experiment.open(study.target)
    plain = MultiSubjectDataset(study.target, group="signals")
    with pytest.raises(DataError, match="conditioning_group is 'stimulus' in the training data and None here"):
        experiment.open(plain)
    with (
        pytest.warns(DataWarning),
        pytest.raises(DataError, match=r"2 channels, but the model was trained on 3 \(1 of group stimulus\)"),
    ):
        experiment.open(plain, other_preparation="allow")
    arrays = experiment.open([np.concatenate([x, u], axis=1)])
    assert (arrays.n_channels, arrays.n_conditioning) == (3, 0)


def test_a_run_that_starts_from_another_one_has_its_group_and_lead(store, trained, tmp_path):
    path = str(trained[0].folder.path)
    trainer_of(store, tmp_path, BY_STIMULUS, "alike", pretrained=path)
    later = dataclasses.replace(BY_STIMULUS, conditioning_lead=-1)
    with (
        pytest.warns(DataWarning),
        pytest.raises(DataError, match="conditioning_lead is 0 in the training data and -1 here"),
    ):
        trainer_of(store, tmp_path, later, "later", pretrained=path)


def test_what_takes_no_second_group_says_so(store, tmp_path):
    dataset = MultiSubjectDataset(store, group="signals", config=BY_STIMULUS)
    dataset.load_data()
    model = GaussianHMM(HMMConfig(n_states=2), dataset.n_channels)
    with pytest.raises(ConfigurationError, match="absent for GaussianHMM: the families csm and decoding"):
        HMMTrainer(model, tmp_path, "run", BatchSampler(dataset), BatchLoader(dataset, model))
    config = CsmConfig(**TINY, channel_embedding="name")
    with pytest.raises(ConfigurationError, match=r"none where dataset.conditioning_group is given"):
        dataset_of_run({"model": config}, dataset, None)


def test_augmentation_leaves_the_second_group_as_it_is(store):
    dataset = MultiSubjectDataset(store, group="signals", config=BY_STIMULUS)
    dataset.load_data()
    sampler = BatchSampler(dataset, window_length=LENGTH, batch_size_training=8)
    changed, plain = (
        next(iter(BatchLoader(dataset, **settings).iterate(sampler, 0))).windows for settings in ({"noise": 0.5}, {})
    )
    assert changed[..., 2].equal(plain[..., 2])
    assert not torch.isclose(changed[..., :2], plain[..., :2]).any()
