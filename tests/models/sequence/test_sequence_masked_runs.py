"""Runs on recordings with masked samples: training, scores, embeddings, states, attribution and decoding."""

from __future__ import annotations

import dataclasses
import itertools
import json
import warnings

import numpy as np
import pytest
import torch
from decoding_data import TRIAL, configs_of, recording, small
from decoding_data import trainer_of as decoding_trainer_of
from features_making import by_hand, experiment_of
from masked_data import with_gaps
from sequence_making import model_of
from sequence_runs import FAMILIES, TINY, rotations

from dynml import BatchLoader, BatchSampler, MultiSubjectDataset, load_experiment
from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.models.sequence.decoding.baselines import binned_means, correlations, fit_baselines
from dynml.models.sequence.decoding.evaluation import predictions_of, windows_of_trials
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.targets import Target
from dynml.models.sequence.features.attention_lags import attention_lags
from dynml.models.sequence.features.attributed_values import attributed_of
from dynml.models.sequence.features.attribution import attribution_maps
from dynml.models.sequence.features.extraction import embeddings_of, states_of_subject
from dynml.models.sequence.features.pieces import Cut, pieces_of_subset
from dynml.models.sequence.inference import write_inference
from dynml.models.sequence.observed_samples import observed_counts
from dynml.models.sequence.settling import settled_model
from dynml.models.sequence.trainer import SequenceTrainer
from dynml.models.sequence.windows import masked_windows
from dynml.report.experiment import read_reported_experiment
from dynml.report.results import find_results

KINDS = [
    ("csm", {}),
    ("csm", {"objective": "single_mask"}),
    ("sequence_bert", {}),
    ("sequence_bert", {"next_sequence": True}),
    ("network_bert", {}),
    ("autoencoder", {}),
]


def gappy(rate=0.2):
    arrays = with_gaps(rotations(), rate)
    arrays[-1][38:62] = np.nan  # A window of 20 samples without any.
    return arrays


def run(folder, family, arrays, model=None, **settings):
    folder.mkdir(exist_ok=True)
    dataset = MultiSubjectDataset.from_arrays(arrays[:-1], arrays[-1:], missing="mask")
    model_class, config_class = FAMILIES[family]
    torch.manual_seed(1)
    network = model_class(settled_model(config_class(**{**TINY, **(model or {})}), dataset), dataset.n_channels)
    spans = BatchSampler(dataset, window_length=20, batch_size_training=8)
    settings = {"max_epochs": 2, "progress": False, "device": "cpu", "warmup_steps": 2} | settings
    return SequenceTrainer(network, folder, "run", spans, BatchLoader(dataset, network), **settings)


@pytest.mark.parametrize(("family", "model"), KINDS)
def test_every_family_learns_from_recordings_with_gaps(tmp_path, family, model):
    trainer = run(tmp_path, family, gappy(), model)
    assert trainer.dataset.n_masked > 100
    summary = trainer.train_and_validate()
    for name in ("training_loss", "validation_loss"):
        assert np.isfinite(trainer.history.column(name)).all()
    scores = [summary["score"], *(values for values in summary["baselines"].values() if values is not None)]
    assert all(np.isfinite(value) for values in scores for value in values.values())
    assert all(torch.isfinite(one).all() for one in trainer.model.state_dict().values())
    json.loads(trainer.folder.summary.read_text())


def test_scores_of_simple_baselines_are_means_over_observed_samples(tmp_path):
    arrays = gappy()
    summary = run(tmp_path, "csm", arrays, {"forecast_samples": 3}, max_epochs=1).train_and_validate()
    zero, persistence, ahead = [], [], [[], [], []]
    signals = arrays[-1].astype(np.float64)
    for start in range(0, 150, 20):
        window = signals[start : start + 20]
        known = np.flatnonzero(np.isfinite(window[:, 0]))
        zero += [np.abs(window[t]) for t in known[1:]]
        persistence += [np.abs(window[t] - window[s]) for s, t in itertools.pairwise(known)]
        beginning = known[known < 17]
        if len(window) == 20 and len(beginning):
            for step in range(3):
                if 17 + step in known:
                    ahead[step].append(np.abs(window[17 + step] - window[beginning[-1]]))
    assert summary["baselines"]["zero"]["validation"] == pytest.approx(np.mean(zero), rel=1e-5)
    assert summary["baselines"]["persistence"]["validation"] == pytest.approx(np.mean(persistence), rel=1e-5)
    expected = [np.mean(values) for values in ahead]
    assert summary["score_by_horizon"]["persistence"] == pytest.approx(expected, rel=1e-5)


def test_what_lay_at_masked_samples_changes_nothing_of_a_run(tmp_path):
    weights = []
    for number, rubbish in enumerate((np.nan, np.inf)):
        arrays = [np.where(np.isnan(one), rubbish, one) for one in gappy()]
        trainer = run(tmp_path / str(number), "csm", arrays)
        summary = trainer.train_and_validate()
        weights.append((trainer.model.state_dict(), summary["score"], summary["baselines"]))
    assert weights[0][1:] == weights[1][1:]
    for name, value in weights[0][0].items():
        assert torch.equal(value, weights[1][0][name]), name


def test_the_linear_path_knows_the_dynamics_of_recordings_with_gaps(tmp_path):
    summary = run(tmp_path, "csm", with_gaps(rotations(), 0.1), learning_rate=1e-30, max_epochs=1).train_and_validate()
    whole = run(tmp_path / "whole", "csm", rotations(), learning_rate=1e-30, max_epochs=1).train_and_validate()
    # Behind a gap less is known; else noise of standard deviation 0.3 is the floor.
    assert 0.98 * whole["score"]["validation"] < summary["score"]["validation"] < 1.4 * whole["score"]["validation"]


# ---------------------------------------------------------------------------------------------------- results


def test_inference_leaves_windows_out_of_which_nothing_was_observed(tmp_path):
    trainer = run(tmp_path, "sequence_bert", gappy(), max_epochs=1)
    trainer.train_and_validate()
    out = tmp_path / "out"
    out.mkdir()
    experiment = load_experiment(tmp_path / "run")
    write_inference(experiment, trainer.dataset, ["validation"], out)
    rows = [line.split("\t") for line in (out / "windows.tsv").read_text().splitlines()[1:]]
    starts = [int(row[3]) for row in rows]
    known = np.isfinite(gappy()[-1][:, 0])
    assert (
        starts == [start for start in range(0, 150, 20) if known[start : start + 20].any()] != list(range(0, 150, 20))
    )
    vectors = np.load(out / "validation-0_embeddings.npy")
    assert len(vectors) == len(rows)
    assert np.isfinite(vectors).all()
    assert all(np.isfinite(float(row[-1])) for row in rows)
    windows = pieces_of_subset(experiment, trainer.dataset, "validation", Cut(window_length=20))
    assert windows.spans.start.tolist() == starts
    np.testing.assert_allclose(embeddings_of(experiment.model, windows, "mean"), vectors, atol=1e-5)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["score"]["validation"] > 0
    assert summary["subsets"] == {"validation": ["validation-0"]}
    # The report that inference names as the next command knows its folder.
    assert find_results(out, read_reported_experiment(tmp_path / "run"))[0].kind == "predictions"


def test_observed_counts_by_hand():
    arrays = [gappy()[-1], rotations()[0], gappy()[1]]
    dataset = MultiSubjectDataset.from_arrays(arrays, missing="mask")
    pieces = pieces_of_subset(experiment_of(model_of("csm"), "csm"), dataset, "training", Cut(window_length=9))
    expected = [
        int(np.isfinite(arrays[subject][start:stop, 0]).sum())
        for subject, start, stop in zip(pieces.spans.subject, pieces.spans.start, pieces.spans.stop)
    ]
    assert observed_counts(dataset.training_set, pieces.spans).tolist() == expected
    assert 0 not in expected
    assert min(expected) < 9


def wide(seed, n_times=47):
    """Recordings of as many channels as the models of random weights have."""
    return np.random.default_rng(seed).normal(size=(n_times, 6)).astype(np.float32)


@pytest.mark.parametrize("kind", ["csm", "sequence_bert", "autoencoder"])
def test_states_of_recordings_are_those_of_windows_and_nan_where_samples_are_masked(kind):
    model, array = model_of(kind), wide(0)
    array[[7, 8, 20, 30, 31]] = np.nan
    dataset = MultiSubjectDataset.from_arrays([array], missing="mask")
    found = states_of_subject(model, dataset.training_set, 0, 47)
    known = np.isfinite(array[:, 0])
    assert np.isnan(found[~known]).all()
    window = by_hand(np.where(known[:, None], array, 7.0), 1.0)
    states = model.states(masked_windows(window, torch.from_numpy(known)[None]))[0].detach().numpy()
    np.testing.assert_allclose(found[known], states[known], atol=1e-5)


@pytest.mark.parametrize("method", ["gradient_x_input", "integrated_gradients"])
@pytest.mark.parametrize("kind", ["csm", "sequence_bert", "network_bert", "autoencoder"])
def test_attributions_are_nothing_at_masked_samples_and_means_of_the_others(kind, method):
    model, arrays = model_of(kind), [wide(0, 20), wide(1, 20)]
    arrays[0][[3, 9, 10, 11]] = np.nan
    arrays[1][[3, 16]] = np.nan
    dataset = MultiSubjectDataset.from_arrays(arrays, missing="mask")
    pieces = pieces_of_subset(experiment_of(model, kind), dataset, "training", Cut(window_length=20))
    (windows,) = windows_of_trials(pieces, torch.device("cpu"))
    attributed = attributed_of(model, windows, np.array([-1, -1]))
    assert attributed.group_B.tolist() == [0, 0]
    anchors = {"csm": [19, 19], "sequence_bert": [8, 10]}.get(kind, [0, 0])
    assert attributed.anchor_B.tolist() == anchors, "the nearest sample to the middle that was observed"
    found = attribution_maps(model, [pieces], method)
    # Each window by itself has nothing to say of masked samples; together they say the mean of those who have.
    each = [attribution_maps(model, [pieces.take(np.array([row]))], method) for row in range(2)]
    first, last = min(-anchors[0], -anchors[1]), 20 - min(anchors)
    assert found.times.tolist() == list(range(first, last))
    courses = np.full((2, 6, last - first), np.nan)
    for row, one in enumerate(each):
        gone = np.flatnonzero(np.isnan(arrays[row][:, 0])) - anchors[row]
        assert one.times[np.isnan(one.maps[0]).all(axis=0)].tolist() == gone.tolist()
        courses[row][:, one.times - first] = one.maps[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = np.nanmean(courses, axis=0)
    np.testing.assert_allclose(found.maps[0], expected, atol=5e-3 if method == "integrated_gradients" else 1e-6)
    assert np.isnan(expected).any() == (kind != "sequence_bert")
    sizes = sum(np.abs(one.maps[0])[:, ~np.isnan(one.maps[0, 0])].sum(axis=1) for one in each)
    np.testing.assert_allclose(found.importance[0], sizes / 34, rtol=0.05)


def test_attention_by_lag_is_that_among_observed_samples():
    model = model_of("sequence_bert")
    arrays = [wide(0, 20)]
    arrays[0][[3, 9, 10]] = np.nan
    dataset = MultiSubjectDataset.from_arrays(arrays, missing="mask")
    pieces = pieces_of_subset(experiment_of(model, "sequence_bert"), dataset, "training", Cut(window_length=20))
    (windows,) = windows_of_trials(pieces, torch.device("cpu"))
    maps = model.transformer.attention(
        model.embedded(windows.signals_BTC, windows), None, causal=False, observed_BT=windows.observed_BT
    )
    known = np.flatnonzero(np.isfinite(arrays[0][:, 0]))
    found = attention_lags(model, [pieces])
    for layer, map_BNTT in enumerate(maps):
        weights = map_BNTT[0].detach().double().numpy()
        for lag, profile in zip(found.lags, found.profiles[layer].T):
            pairs = [weights[:, t, t + lag] for t in known if t + lag in known]
            np.testing.assert_allclose(profile, np.mean(pairs, axis=0), atol=1e-6)
    assert found.equal_distance == pytest.approx(np.mean(np.abs(known[:, None] - known)))


# ---------------------------------------------------------------------------------------------------- decoding


def trials_with_gaps(seed, **settings):
    """Trials of 12 samples, every third one with masked samples, one altogether."""
    item = recording(seed, **settings)
    signals = item.signals.copy()
    for trial, onset in enumerate(item.events.onset.tolist()):
        if trial % 3 == 0:
            signals[onset + 2 : onset + 6] = np.nan
        if trial == 5:
            signals[onset : onset + TRIAL] = np.nan
        if trial == 8:
            signals[onset + 2 : onset + TRIAL] = np.nan
    return dataclasses.replace(item, signals=signals)


@pytest.fixture(scope="module")
def decoding_data():
    parts = [{f"sub-{n}": trials_with_gaps(seed) for n, seed in part} for part in ([*enumerate(range(4))], [(9, 9)])]
    return MultiSubjectDataset.from_arrays(*parts, missing="mask")


def trials_of(dataset, name="training"):
    return Target.of(dataset, "stimulus").trials(name, BatchSamplerConfig(trials="stimulus"), ("face", "house"))


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
@pytest.mark.parametrize("backbone", ["linear", "csm", "sequence_bert", "network_bert", "autoencoder"])
@pytest.mark.parametrize("pooling", ["mean", "class_token"])
def test_decoders_learn_from_trials_with_gaps(tmp_path, decoding_data, backbone, pooling):
    if backbone in ("linear", "autoencoder") and pooling == "class_token":
        pytest.skip("there is no class token")
    settings = {"backbone": "linear"}
    if backbone != "linear":
        settings = small(backbone, **({} if backbone == "autoencoder" else {"pooling": pooling}))
    trainer = decoding_trainer_of(decoding_data, tmp_path, **settings)
    summary = trainer.train_and_validate()
    assert np.isfinite(trainer.history.column("training_loss")).all()
    assert summary["n_trials"] == {"training": 4 * 15, "validation": 15}, "one of 16 is masked altogether"
    assert summary["baselines"]["functional_connectivity"]["validation"] is not None
    assert summary["baselines"]["linear"]["validation"] > 0.7
    assert np.isfinite(predictions_of(trainer.model, trainer.trials("validation")).probabilities).all()


def test_features_of_baselines_are_those_of_observed_samples(decoding_data):
    trials = trials_of(decoding_data)
    means, connectivity = binned_means(trials, 4), correlations(trials)
    n_gaps = 0
    for row in range(len(trials)):
        place = (int(getattr(trials.spans, name)[row]) for name in ("subject", "start", "stop"))
        signals = trials.subset.rows(*place).double().numpy()
        known = signals[np.isfinite(signals[:, 0])]
        parts = [part[np.isfinite(part[:, 0])] for part in np.split(signals, 4)]
        expected = [part.mean(axis=0) if len(part) else np.zeros(4) for part in parts]
        np.testing.assert_allclose(means[row], np.concatenate(expected), atol=1e-6)
        if len(known) >= 3:
            expected = np.arctanh(np.corrcoef(known.T)[np.triu_indices(4, k=1)].clip(-0.999, 0.999))
            np.testing.assert_allclose(connectivity[row], expected, atol=1e-5)
        else:
            assert not connectivity[row].any()
        n_gaps += len(known) < len(signals)
    assert n_gaps > 20
    found = fit_baselines(trials, by_runs=False, balanced=False, most_trials=1000, seed=0)
    assert found["functional_connectivity"] is not None


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_windows_of_people_without_an_observed_sample_are_no_trials(tmp_path):
    # Where a covariate is decoded, recordings are cut into windows.
    arrays = {f"sub-{n}": trials_with_gaps(n) for n in range(4)}
    dataset = MultiSubjectDataset.from_arrays(arrays, missing="mask")
    dataset.signal_source.covariates = {f"sub-{n}": {"group": "ab"[n % 2]} for n in range(4)}.__getitem__
    sampler = BatchSamplerConfig(window_length=4, batch_size_training=1000, strategy="fixed_windows")
    windows = Target.of(dataset, "group").labelled("training", sampler)
    expected, segments = [], dataset.training_set.segments
    for subject, first, last in zip(segments.subject, segments.start, segments.stop):
        known = np.isfinite(list(arrays.values())[subject].signals[:, 0])
        expected += [(subject, start) for start in range(first, last, 4) if known[start : min(start + 4, last)].any()]
    found = list(zip(windows.spans.subject.tolist(), windows.spans.start.tolist()))
    assert found == expected
    settings = small("csm", target="group", pooling="mean")
    trainer = decoding_trainer_of(dataset, tmp_path, sampler=sampler, **settings)
    (batch,) = trainer.batch_loader.iterate(trainer.batch_sampler, 0)
    result = trainer.run_one_batch(batch)
    assert int(result.n) == len(expected) < batch.n_spans
    assert torch.isfinite(result.loss)


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_a_linear_backbone_weighs_masked_samples_with_nothing(decoding_data):
    torch.manual_seed(0)
    decoder = Decoding(configs_of(decoding_data, backbone="linear", linear_rank=2)["model"], 4)
    trials = trials_of(decoding_data)
    (features,) = [decoder.features(windows).detach().double().numpy() for windows in windows_of_trials(trials, "cpu")]
    weights = decoder.backbone.weights_RT.detach().double().numpy()
    for row in range(len(trials)):
        signals = trials.subset.rows(*(int(getattr(trials.spans, name)[row]) for name in ("subject", "start", "stop")))
        signals = np.nan_to_num(signals.double().numpy(), nan=0.0)
        np.testing.assert_allclose(features[row], (weights[:, : len(signals)] @ signals).ravel(), atol=1e-5)
