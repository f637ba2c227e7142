"""Spectra of hidden patches as a target: what is predicted, from what, and beside which baselines."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from interrupting import interrupt_at
from sequence_making import model_of, task_of
from sequence_windows import SMALL, windows
from test_sequence_training import assert_same_numbers, trainer_of

from dynml.errors import ConfigurationError
from dynml.models.sequence.config import CsmConfig, SequenceBertConfig
from dynml.models.sequence.objectives.csm import Csm
from dynml.models.sequence.targets.spectra import FLOOR, RIDGE, SpectralTarget
from dynml.models.sequence.windows import masked_windows

P = 4
KINDS = ("csm", "sequence_bert")


def target_of(causal=False, loss="l2", length=P, n_channels=2):
    config = SimpleNamespace(spectral_weight=1.0, patch_length=length, embedding_dim=8, loss=loss)
    return SpectralTarget(config, n_channels, causal=causal)


def passes_of(signals_BTC, scale):
    """Stands for passes over a training subset whose drawn windows are these."""
    drawn = torch.tensor(signals_BTC, dtype=torch.float32)
    scale = torch.tensor(scale)
    return SimpleNamespace(mean_and_scale=(0 * scale, scale), drawn_windows=lambda length, n: drawn)


def spectra_by_numpy(signals_BTC, scale, length):
    """Patch by patch and channel by channel."""
    n_windows, n_times, n_channels = signals_BTC.shape
    found = np.zeros((n_windows, n_times // length, length // 2 + 1, n_channels))
    for b, n, c in np.ndindex(n_windows, n_times // length, n_channels):
        patch = signals_BTC[b, n * length : (n + 1) * length, c] / scale[c]
        found[b, n, :, c] = 0.5 * np.log(np.abs(np.fft.rfft(patch)) ** 2 / length + FLOOR)
    return found


def test_log_amplitudes_are_those_of_numpy_and_a_channels_unit_does_not_matter():
    signals, scale = np.random.default_rng(0).normal(size=(3, 20, 2)), np.array([1.0, 50.0])
    target = target_of(length=5)
    target.scale_C.copy_(torch.from_numpy(scale))
    found = target.log_amplitudes(torch.from_numpy(signals * scale)).numpy()
    np.testing.assert_allclose(found, spectra_by_numpy(signals, [1.0, 1.0], 5), atol=1e-5)
    # White noise of the channel's variance has a mean power of 1: 0 nepers but for what the logarithm makes of it.
    noise = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 40000, 2)))
    inner = target_of(length=8).log_amplitudes(noise)[0, :, 1:-1]
    assert float((2 * inner).exp().mean()) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_the_ridge_regression_is_that_of_independent_formulas(causal, loss):
    rng = np.random.default_rng(2)
    signals = rng.normal(size=(30, 20, 2)) * np.exp(np.repeat(rng.normal(size=(30, 5, 2)), 4, axis=1))
    signals[3, 9] = np.nan  # the third patch of one window has a masked sample
    scale = np.array([1.0, 2.0])
    target = target_of(causal, loss)
    target.fit(passes_of(signals, scale), 20)
    spectra = spectra_by_numpy(signals, scale, P)
    whole = np.isfinite(spectra).all(axis=(2, 3))
    centre = np.mean if loss == "l2" else np.median
    usual = centre(spectra[whole], axis=0)
    np.testing.assert_allclose(target.usual_FC, usual, atol=0.01 if loss == "l1" else 1e-5)
    spectra = spectra - target.usual_FC.numpy()
    for c in range(2):
        rows, told = [], []
        for b, n in np.ndindex(30, 5):
            needed = [n - 1, n] if causal else [n - 1, n, n + 1]
            if min(needed) < 0 or max(needed) > 4 or not all(whole[b, i] for i in needed):
                continue
            rows.append(np.concatenate([spectra[b, i, :, c] for i in needed if i != n]))
            told.append(spectra[b, n, :, c])
        X, Y = np.array(rows), np.array(told)
        products = X.T @ X
        penalty = RIDGE * np.trace(products) / len(products)
        expected = np.linalg.solve(products + penalty * np.eye(len(products)), X.T @ Y)
        np.testing.assert_allclose(target.coefficients_CGF[c], expected, atol=1e-4)
        # Half of an even number of residuals lie above, half below: torch takes the lower of the middle two.
        np.testing.assert_allclose(
            target.intercept_FC[:, c], centre(Y - X @ expected, axis=0), atol=0.03 if loss == "l1" else 1e-5
        )


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_hidden_is_neither_seen_by_the_prediction_nor_by_a_baseline(kind):
    own = {} if kind == "csm" else {"masking_rate": 0.4}
    model, given = model_of(kind, patch_length=P, spectral_weight=1.0, **own), windows(lengths=(20, 20))
    with torch.no_grad():
        for buffer in model.spectra.buffers():
            buffer.add_(torch.rand(buffer.shape))
    task = task_of(model, given)
    hidden_BT1 = task.scored if kind == "sequence_bert" else torch.arange(20)[None, :, None] >= 12
    changed = torch.where(hidden_BT1, 5.0 * given.signals_BTC, given.signals_BTC)
    other = task_of(model, dataclasses.replace(given, signals_BTC=changed))
    with torch.no_grad():
        one, two = (model(given_task).further["spectra"] for given_task in (task, other))
        baselines = [model.spectra.baselines(*pair) for pair in ((task, one), (other, two))]
    n_same = 4 if kind == "csm" else 5
    scored_BN = one.scored[:, :n_same, 0, 0]
    assert scored_BN.any()
    assert (one.target - two.target)[hidden_BT1[:, ::P, 0].expand(2, 5)].abs().min() > 1e-4
    said = [[prediction.predicted, *own.values()] for prediction, own in zip((one, two), baselines)]
    for first, second in zip(*said):
        shape = one.target.shape
        torch.testing.assert_close(
            first.expand(shape)[:, :n_same][scored_BN], second.expand(shape)[:, :n_same][scored_BN]
        )


def test_the_nearest_shown_patch_is_found_and_patches_that_are_not_whole_are_not_scored():
    model, given = model_of("sequence_bert", patch_length=P, spectral_weight=1.0), windows(lengths=(18, 18))
    observed = given.mask_BT.clone()
    observed[0, 5] = False
    task = task_of(model, masked_windows(given, observed))
    shown, scored = torch.tensor([[True, False, False, True, False]]), torch.tensor([[0, 1, 1, 0, 1]])
    parts = {"visible": shown, "scored": scored.bool()}
    samples = {
        name: values.repeat_interleave(P, dim=1)[:, :18, None] & task.windows.known_BT[:, :, None]
        for name, values in parts.items()
    }
    task = dataclasses.replace(task, **samples)
    with torch.no_grad():
        prediction = model(task).further["spectra"]
        nearest = model.spectra.baselines(task, prediction)["nearest_spectrum"]
    assert prediction.scored[:, :, 0, 0].tolist() == [
        [False, False, True, False, False],
        [False, True, True, False, False],
    ]
    spectra = prediction.target[1]
    torch.testing.assert_close(nearest[1, [1, 2, 4]], spectra[[0, 3, 3]])


def test_the_loss_is_the_weighted_sum_and_training_begins_at_the_ridge_regression(tmp_path):
    still = {"max_epochs": 1, "learning_rate": 1e-30}
    model = {"patch_length": 5, "spectral_weight": 0.25, "signal_weight": 0.5}
    trainer = trainer_of(tmp_path, "sequence_bert", model=model, sampler={"window_length": 20}, **still)
    summary = trainer.train_and_validate()
    spectra, row = summary["further_targets"]["spectra"], trainer.history.rows[-1]
    assert spectra["score"] == pytest.approx(spectra["baselines"]["ridge_spectra"], rel=1e-5)
    assert spectra["baselines"]["ridge_spectra"]["training"] < spectra["baselines"]["usual_spectrum"]["training"]
    expected = 0.5 * summary["score"]["validation"] + 0.25 * row["validation_spectra_loss"]
    assert row["validation_loss"] == pytest.approx(expected, rel=1e-4)
    assert spectra["score"]["validation"] == pytest.approx(row["validation_spectra_loss"], rel=1e-4)
    assert any("not below that of ridge_spectra" in finding for finding in summary["findings"])


def amplitudes_of_another_channel(n_subjects=3, n_samples=800, seed=0):
    """Noise in channel 0 whose amplitude in a patch of 5 is large where channel 1 was positive in the patch before."""
    rng = np.random.default_rng(seed)
    signals = []
    for _ in range(n_subjects):
        signs = np.sign(rng.normal(size=n_samples // 5))
        loud = np.where(np.concatenate([[1], signs[:-1]]) > 0, 1.5, 0.1)
        noise = np.repeat(loud, 5) * rng.normal(size=n_samples)
        signals.append(np.stack([noise, np.repeat(signs, 5) + 0.1 * rng.normal(size=n_samples)], 1).astype(np.float32))
    return signals


def test_spectra_alone_are_learnt_where_the_ridge_regression_cannot_see_them(tmp_path):
    trainer = trainer_of(
        tmp_path,
        "csm",
        arrays=amplitudes_of_another_channel(),
        model={"patch_length": 5, "spectral_weight": 1.0, "signal_weight": 0, "dropout": 0.0},
        sampler={"window_length": 40, "strategy": "fixed_windows"},
        max_epochs=6,
        learning_rate=0.02,
    )
    summary = trainer.train_and_validate()
    spectra = summary["further_targets"]["spectra"]
    best = min(values["validation"] for values in spectra["baselines"].values())
    assert spectra["score"]["validation"] < 0.8 * best
    assert any("below that of" in finding and "not below" not in finding for finding in summary["findings"])
    # Signals were no target: what is said of them is the linear path's, and so it is told.
    assert summary["score"] == summary["baselines"]["ridge_var"]
    assert summary["findings"][0].startswith("Signals were no target")


def test_an_interrupted_run_of_spectra_goes_on_to_the_same_numbers(tmp_path):
    settings = {"model": {"patch_length": 5, "spectral_weight": 1.0}, "sampler": {"window_length": 20}}
    whole = trainer_of(tmp_path, "csm", "whole", **settings)
    expected = whole.train_and_validate()
    first = trainer_of(tmp_path, "csm", "broken", **settings)
    interrupt_at(first, "run_one_batch", 3)
    first.train_and_validate()
    second = trainer_of(tmp_path, "csm", "broken", resume="auto", **settings)
    summary = second.train_and_validate()
    assert_same_numbers(second, whole)
    assert summary["further_targets"] == expected["further_targets"]


def test_channels_that_condition_a_model_have_no_spectra():
    config = CsmConfig(**SMALL, conditioning_channels=["u:a", "u:b"], patch_length=P, spectral_weight=1.0)
    model, given = Csm(config, 6).eval(), windows(lengths=(20, 20))
    with torch.no_grad():
        outputs = model(task_of(model, given))
    first_four = spectra_by_numpy(given.signals_BTC[..., :4].numpy(), np.ones(4), P)
    np.testing.assert_allclose(outputs.further["spectra"].target, first_four, atol=1e-5)
    assert outputs.further["spectra"].predicted.shape == first_four.shape
    signals, scale = np.random.default_rng(4).normal(size=(30, 20, 6)), np.arange(1.0, 7.0)
    model.spectra.fit(passes_of(signals, scale), 20)
    alone = target_of(causal=True, loss="l1", n_channels=4)
    alone.fit(passes_of(signals[..., :4], scale[:4]), 20)
    for name, buffer in alone.named_buffers():
        torch.testing.assert_close(model.spectra.get_buffer(name), buffer)


@pytest.mark.parametrize(
    ("config", "settings", "key"),
    [
        (CsmConfig, {"spectral_weight": 1.0}, "model.spectral_weight"),
        (CsmConfig, {"spectral_weight": 0.0, "patch_length": 5}, "model.spectral_weight"),
        (SequenceBertConfig, {"spectral_weight": 1.0, "patch_length": 3}, "model.spectral_weight"),
        (CsmConfig, {"spectral_weight": 1.0, "patch_length": 5, "channel_embedding": "name"}, "model.spectral_weight"),
        (CsmConfig, {"signal_weight": 0}, "model.signal_weight"),
        (CsmConfig, {"signal_weight": -1.0}, "model.signal_weight"),
        (
            CsmConfig,
            {"signal_weight": 0, "spectral_weight": 1.0, "patch_length": 5, "linear_path": False},
            "model.signal_weight",
        ),
    ],
)
def test_settings_of_spectra_that_cannot_be_used_are_named(config, settings, key):
    with pytest.raises(ConfigurationError) as error:
        config(**settings)
    assert error.value.key == key
