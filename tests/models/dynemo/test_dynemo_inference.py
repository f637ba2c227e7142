"""What DyNeMo says of subjects: rows that align, every sample once, bounds that add up, a subject's own modes."""

import numpy as np
import pytest
import torch
from dynemo_oracles import (
    SMALL,
    alpha_of,
    covariances_of,
    double,
    log_likelihoods_of,
    posterior_of,
    random_model,
    soft_mixture,
    terms_of_window,
    trainer_of,
    walks,
)
from hypothesis import given
from hypothesis import strategies as some
from segments_making import recording_of

from dynml import MultiSubjectDataset, load_experiment
from dynml.batches.fixed_windows import FixedWindows
from dynml.errors import DataError
from dynml.models.dynemo.inference import N_DRAWS, estimate_modes, infer, mixed_moments, posterior_mean
from dynml.models.dynemo.windows import ragged_mask
from dynml.ops.keyed_noise import derived_keys, span_keys
from dynml.ops.metrics import riemannian_distance

LENGTH = SMALL["sequence_length"]


# ---------------------------------------------------------------------- windows


@given(some.lists(some.integers(2, 70), min_size=1, max_size=4), some.integers(1, 30))
def test_windows_that_do_not_move_hold_every_sample_once(lengths, length):
    arrays = [np.arange(n, dtype=np.float32)[:, None] + 1000 * i for i, n in enumerate(lengths)]
    dataset = MultiSubjectDataset.from_arrays([array + np.sin(array) for array in arrays])
    seen = []
    for batch in FixedWindows(dataset, length)("training"):
        mask = ragged_mask(batch)
        assert batch.windows.shape[1] <= length
        windows = batch.windows if mask is None else batch.windows[mask]
        seen.append(windows.reshape(-1))
    found = torch.cat(seen).sort().values
    expected = torch.cat([torch.from_numpy(array + np.sin(array)).reshape(-1) for array in arrays]).sort().values
    assert torch.equal(found, expected)


# ---------------------------------------------------------------------- one subject


def test_rows_align_with_the_stored_samples_and_are_nan_outside_segments():
    series, segments = walks((200,))[0], [[7, 13], [20, 95], [110, 150], [151, 152]]
    dataset = MultiSubjectDataset.from_arrays([recording_of(series, segments, 50.0)])
    model = random_model()
    (result,) = infer(model, dataset.training_set)
    inside = np.zeros(200, bool)
    for start, stop in segments:
        inside[start:stop] = True
    assert result.alpha.shape == result.theta.shape == (200, 3)
    assert np.isnan(result.alpha[~inside]).all()
    assert np.isnan(result.theta[~inside]).all()
    np.testing.assert_allclose(result.alpha[inside].sum(1), 1, atol=1e-5)
    assert (result.n_samples, result.sampling_frequency, result.subject) == (122, 50.0, "training-0")
    assert result.segments.tolist() == segments
    # Each sample comes from the window in whose middle it lies.
    for start, stop in segments:
        expected = np.full((stop - start, 3), np.nan)
        length = min(LENGTH, stop - start)
        firsts = sorted({*range(0, stop - start - length + 1, max(length // 2, 1)), stop - start - length})
        means = [
            posterior_of(model, series[start + first : start + first + length].astype(float))[0] for first in firsts
        ]
        for t in range(stop - start):
            centre = [abs(t - (first + (length - 1) / 2)) for first in firsts]
            nearest = min(range(len(firsts)), key=lambda i: (centre[i], -i))
            expected[t] = means[nearest][t - firsts[nearest]]
        np.testing.assert_allclose(result.theta[start:stop], expected, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(result.alpha[start:stop], alpha_of(model, expected), atol=1e-3)


def test_many_windows_are_taken_in_parts(monkeypatch):
    model, signals = random_model(), torch.from_numpy(walks((333,))[0])
    with torch.no_grad():
        whole = posterior_mean(model, signals)
        monkeypatch.setattr("dynml.models.dynemo.inference.WINDOWS_PER_BATCH", 5)
        torch.testing.assert_close(posterior_mean(model, signals), whole, rtol=1e-5, atol=1e-5)


def test_the_bound_of_a_subject_is_that_of_its_windows_in_float64():
    series, segments = walks((200,))[0], [[7, 13], [20, 85], [110, 150]]
    dataset = MultiSubjectDataset.from_arrays([recording_of(series, segments, 50.0)])
    model = random_model()
    (result,) = infer(model, dataset.training_set)
    bound = nll = divergence = n_transitions = 0.0
    for number, (start, stop) in enumerate(segments):
        for first in range(start, stop, LENGTH):
            window = series[first : min(first + LENGTH, stop)]
            place = (torch.tensor([value]) for value in (0, number, first, first + len(window)))
            keys = span_keys(0, 0, *place)
            for draw in range(N_DRAWS):
                noise = model.noise(derived_keys(keys, draw), torch.from_numpy(window[None]))[0]
                log_likelihoods, divergences = terms_of_window(model, window, noise)
                bound += (log_likelihoods - divergences).sum() / N_DRAWS
            log_likelihoods, divergences = terms_of_window(model, window)
            nll -= log_likelihoods.sum()
            divergence, n_transitions = divergence + divergences[1:].sum(), n_transitions + len(window) - 1
    assert result.log_likelihood == pytest.approx(bound, rel=1e-5)
    assert result.free_energy == pytest.approx(-bound / 111, rel=1e-5)
    assert result.free_energy_at_mean == pytest.approx(nll / 111 + divergence / n_transitions, rel=1e-5)


def test_a_subject_of_single_samples_has_finite_values():
    dataset = MultiSubjectDataset.from_arrays([recording_of(walks((30,))[0], [[3, 4], [9, 10]], 50.0)])
    (result,) = infer(random_model(), dataset.training_set)
    assert np.isfinite([result.free_energy, result.free_energy_at_mean]).all()
    assert np.isfinite(result.alpha).sum() == 6


def test_other_numbers_of_channels_are_refused():
    dataset = MultiSubjectDataset.from_arrays(walks(n_channels=4))
    with pytest.raises(DataError, match="4 channels, but the model was trained on 3"):
        list(infer(random_model(), dataset.training_set))


# ---------------------------------------------------------------------- a run and what is loaded from it


def test_inference_of_a_saved_run_gives_the_free_energies_of_its_summary(tmp_path):
    arrays = walks((133, 90, 75))
    trainer = trainer_of(tmp_path, arrays, n_draws=10, max_epochs=3)
    summary = trainer.train_and_validate()
    experiment = load_experiment(tmp_path / "run")
    torch.testing.assert_close(dict(experiment.model.state_dict()), dict(trainer.model.state_dict()), rtol=0, atol=0)
    for subset, series in (("training", arrays[:2]), ("validation", arrays[2:])):
        results = list(experiment.infer(series))
        n = [result.n_samples for result in results]
        assert np.average([result.free_energy for result in results], weights=n) == pytest.approx(
            summary["free_energy"][subset], rel=1e-5
        )
        # Transitions are what the divergence at the mean is divided by: nearly, but not quite, samples.
        assert np.average([result.free_energy_at_mean for result in results], weights=n) == pytest.approx(
            summary["free_energy_at_mean"][subset], rel=2e-2
        )
    again = list(experiment.infer(arrays[:2]))
    assert [one.log_likelihood for one in again] == [one.log_likelihood for one in experiment.infer(arrays[:2])]


# ---------------------------------------------------------------------- mixed moments and a subject's own modes


@pytest.mark.parametrize("settings", [{}, {"covariance_type": "diagonal"}, {"learn_means": False}])
@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_mixed_moments_are_sums_over_modes(settings, chunk):
    model = random_model(**settings)
    alpha = np.random.default_rng(0).dirichlet(np.ones(3), size=20)
    chunks = list(mixed_moments(model, torch.from_numpy(alpha), chunk=chunk))
    assert [len(means) for means, _ in chunks] == [min(chunk, 20 - first) for first in range(0, 20, chunk)]
    means, covariances = (torch.cat(parts).numpy() for parts in zip(*chunks))
    modes = covariances_of(model)
    for t in range(20):
        np.testing.assert_allclose(means[t], sum(alpha[t, j] * double(model.means)[j] for j in range(3)), atol=1e-6)
        np.testing.assert_allclose(covariances[t], sum(alpha[t, j] * modes[j] for j in range(3)), rtol=1e-4, atol=1e-5)


def model_of(covariances, **settings):
    model = random_model(n_channels=covariances.shape[1], learn_means=False, **settings)
    model.set_modes(torch.from_numpy(covariances))
    return model


def test_dual_estimation_recovers_a_subjects_own_scaled_covariances():
    (series,), (alpha,), group = soft_mixture((6000,), period=40, seed=3)
    scales = np.array([0.6, 1.0, 1.7])
    generator = np.random.default_rng(1)
    factors = np.linalg.cholesky(np.einsum("tk,kab->tab", alpha, group * scales[:, None, None]))
    own_series = np.einsum("tab,tb->ta", factors, generator.normal(size=series.shape)).astype(np.float32)
    model = model_of(group)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    own = estimate_modes(model, torch.from_numpy(own_series), torch.from_numpy(alpha).float())
    assert not own["means"].any()
    for mode in range(3):
        found, truth = torch.from_numpy(own["covariances"][mode]), torch.from_numpy(scales[mode] * group[mode])
        assert float(riemannian_distance(found, truth)) < 0.35
        assert np.trace(own["covariances"][mode]) / np.trace(group[mode]) == pytest.approx(scales[mode], rel=0.12)
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
    assert all(parameter.grad is None for parameter in model.parameters())
    # It raises the likelihood of the subject above that of the group's modes.
    model.set_modes(torch.from_numpy(own["covariances"]))
    likelihood = log_likelihoods_of(model, own_series[:500].astype(float), alpha[:500]).mean()
    model.set_modes(torch.from_numpy(group))
    assert likelihood > log_likelihoods_of(model, own_series[:500].astype(float), alpha[:500]).mean() + 0.05


def test_dual_estimates_of_one_mode_are_a_subjects_mean_and_covariance():
    """With a single mode the estimate has a closed form."""
    series = (walks((900,))[0] * [1.0, 1.2, 0.7] + [0.3, -0.4, 0.0]).astype(np.float32)
    signals = torch.from_numpy(series)
    for settings in ({}, {"covariance_type": "diagonal"}):
        model = random_model(n_modes=1, **settings)
        model.set_modes(torch.eye(3)[None], torch.zeros(1, 3))
        own = estimate_modes(model, signals, torch.ones(900, 1))
        expected = np.cov(series.T, bias=True) * (np.eye(3) if settings else 1)
        np.testing.assert_allclose(own["means"][0], series.mean(0), atol=0.01)
        np.testing.assert_allclose(own["covariances"][0], expected, atol=0.02)


def test_dual_estimates_come_with_inference_when_asked_for():
    arrays = [recording_of(walks((120,))[0], [[5, 60], [70, 118]], 50.0)]
    dataset, model = MultiSubjectDataset.from_arrays(arrays), random_model()
    (without,) = infer(model, dataset.training_set)
    assert without.means is without.covariances is None
    (result,) = infer(model, dataset.training_set, dual_estimation=True)
    assert np.array_equal(result.alpha, without.alpha, equal_nan=True)
    rows = np.r_[5:60, 70:118]
    signals = torch.from_numpy(arrays[0].signals[rows])
    expected = estimate_modes(model, signals, torch.from_numpy(result.alpha[rows]))
    np.testing.assert_allclose(result.covariances, expected["covariances"], rtol=1e-6)
    np.testing.assert_allclose(result.means, expected["means"], rtol=1e-6)
