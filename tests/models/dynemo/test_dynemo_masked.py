"""DyNeMo with masked samples: no likelihood, no part in statistics, and coefficients that are inferred all the same."""

import json

import numpy as np
import pytest
import torch
from dynemo_oracles import covariances_of, random_model, soft_mixture, terms_of_window, trainer_of, walks

from dynml.batches.fixed_windows import FixedWindows
from dynml.models.dynemo.fine_tuning import fine_tuned
from dynml.models.dynemo.inference import infer
from dynml.models.dynemo.report import scores_of_subset
from dynml.models.dynemo.windows import keys_of_draws, n_observed, ragged_mask
from dynml.ops.keyed_noise import derived_keys
from dynml.training.processes import Processes

MASKED = [(11, 19), (40, 41), (58, 64), (81, 88)]
QUICK = {"method": "unmixing", "max_samples": 3000}


def with_gaps(arrays, gaps=MASKED):
    """Copies with rows of NaN; all end with observed rows."""
    copies = [array.copy() for array in arrays]
    for copy in copies:
        for start, stop in gaps:
            copy[start : min(stop, len(copy) - 1)] = np.nan
    return copies


def filled(window):
    return np.nan_to_num(np.asarray(window, dtype=np.float64), nan=0.0)


# ---------------------------------------------------------------------- the bound


def test_masked_samples_have_a_divergence_but_no_likelihood():
    model, noise = random_model(), np.random.default_rng(1).normal(size=(2, 20, 3)).astype(np.float32)
    windows = np.stack([series[:20] for series in with_gaps(walks()[:2])])
    observed = ~np.isnan(windows[:, :, 0])
    with torch.no_grad():
        terms = model.bound_terms(torch.from_numpy(windows), torch.from_numpy(noise), None, torch.from_numpy(observed))
    for number, window in enumerate(windows):
        log_likelihood, divergence = terms_of_window(model, filled(window), noise[number])
        expected = np.where(observed[number], log_likelihood, 0.0)
        np.testing.assert_allclose(terms.log_likelihood_BT[number], expected, rtol=2e-4, atol=2e-4)
        np.testing.assert_allclose(terms.divergence_BT[number], divergence, rtol=2e-4, atol=2e-4)
    assert (~observed).sum() == 16


def test_nothing_that_lies_at_a_masked_sample_reaches_the_bound_or_a_gradient():
    found = []
    observed = torch.ones(1, 20, dtype=torch.bool)
    observed[:, 4:9] = False
    for value in (float("nan"), float("inf"), -1e6):
        model, signals = random_model(), torch.from_numpy(walks()[0][None, :20].copy())
        signals[:, 4:9] = value
        terms = model.bound_terms(signals, torch.full((1, 20, 3), 0.3), None, observed)
        (terms.divergence_BT - terms.log_likelihood_BT).sum().backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
        found.append([terms.log_likelihood_BT.detach(), terms.divergence_BT.detach(), *gradients])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=0)


def test_the_bound_of_a_window_is_below_the_likelihood_of_its_observed_samples():
    """By sampling the prior: log p(observed) = log E[prod p(x_t | theta_t)]; a short window, so that it converges."""
    model = random_model(sequence_length=3, learn_means=False)
    window = torch.from_numpy(walks()[0][None, :3].copy())
    observed = torch.tensor([[True, False, True]])
    keys = torch.arange(20_000)
    with torch.no_grad():
        bound = -float(
            model.bounds_of_draws(window.expand(20_000, 3, 3), keys, 1, None, observed.expand(20_000, 3)).mean()
        )
        theta, generator = torch.zeros(20_000, 0, 3), torch.Generator().manual_seed(0)
        for t in range(3):
            mean, scale = model.prior(torch.nn.functional.pad(theta, (0, 0, 0, 1)))
            drawn = mean[:, t] + scale[:, t] * torch.randn(mean[:, t].shape, generator=generator)
            theta = torch.cat([theta, drawn[:, None]], dim=1)
        alpha = model.alpha(theta).double()
        covariances = torch.einsum("ntj,jab->ntab", alpha, torch.from_numpy(covariances_of(model)))
        gaussian = torch.distributions.MultivariateNormal(torch.zeros(3, dtype=torch.float64), covariances)
        log_likelihoods = gaussian.log_prob(window.double().expand(20_000, 3, 3))

    def marginal(counted):
        return float((log_likelihoods * counted).sum(1).logsumexp(0) - np.log(20_000))

    of_observed = marginal(torch.tensor([1.0, 0.0, 1.0]))
    assert bound < of_observed + 0.02
    # It would be one of the whole window's if the masked sample took part: their likelihoods are far apart.
    assert abs(marginal(torch.ones(3)) - of_observed) > 0.5


# ---------------------------------------------------------------------- training


def test_the_loss_counts_observed_samples(tmp_path):
    trainer = trainer_of(tmp_path, with_gaps(walks()), n_validation=1)
    model = trainer.model.eval()
    for context in ("training", "validation"):
        for owner in (trainer.batch_sampler, trainer.batch_loader):
            owner.set_context(context)
        for batch in trainer.batch_loader.iterate(trainer.batch_sampler, 0):
            observed, mask = batch.observed, batch.mask
            assert n_observed(batch) == int(observed.sum()) < batch.n_samples
            with torch.no_grad():
                result = trainer.run_one_batch(batch)
            total, n_draws = 0.0, 1 if context == "training" else 2
            for draw in range(n_draws):
                keys = batch.keys if context == "training" else derived_keys(keys_of_draws(batch), draw)
                noise = model.noise(keys, batch.windows).numpy()
                for number, window in enumerate(batch.windows.numpy()):
                    inside = mask[number].numpy()
                    log_likelihood, kl = terms_of_window(model, filled(window[inside]), noise[number][inside])
                    weight = float(model.kl_annealing_factor) if context == "training" else 1.0
                    total += weight * kl.sum() - log_likelihood[observed[number].numpy()[inside]].sum()
            expected = total / n_draws / int(observed.sum())
            assert float(result.loss) == pytest.approx(expected, rel=2e-4)


def test_a_run_over_gaps_finds_the_modes_and_reports_observed_samples(tmp_path):
    signals, alphas, _ = soft_mixture()
    gaps = [(start, start + 6) for start in range(60, 1000, 30)]
    arrays = with_gaps(signals, gaps)
    trainer = trainer_of(tmp_path, arrays, max_epochs=30, initialization=QUICK, model={"n_kl_annealing_epochs": 10})
    summary = trainer.train_and_validate()
    assert np.isfinite(summary["free_energy"]["training"])
    windows = FixedWindows(trainer.dataset, 20)
    scores = scores_of_subset(trainer.model, windows, "training", Processes(), 2)
    n_samples, bound = 0, 0.0
    for batch in windows("training"):
        mask = ragged_mask(batch)
        with torch.no_grad():
            keys = keys_of_draws(batch)
            bound += float(trainer.model.bounds_of_draws(batch.windows, keys, 2, mask, batch.observed).sum())
        n_samples += int(np.isfinite(batch.windows[..., 0][batch.mask].numpy()).sum())
    assert n_samples == sum(int(np.isfinite(array[:, 0]).sum()) for array in arrays[:2])
    assert scores.bound == pytest.approx(bound / n_samples)
    assert sum(scores.mean_alpha) == pytest.approx(1.0)
    results = list(infer(trainer.model, trainer.dataset.training_set))
    for result, array, alpha in zip(results, arrays, alphas):
        np.testing.assert_array_equal(result.observed, np.isfinite(array[:, 0]))
        assert result.n_samples == int(np.isfinite(array[:, 0]).sum())
        assert np.isfinite(result.alpha).all()
        order = np.argmax(np.corrcoef(alpha.T, result.alpha.T)[:3, 3:], axis=1)
        assert sorted(order) == [0, 1, 2]
        # Coefficients are inferred through the gaps: better than their mean, though nothing was seen there.
        within = ~result.observed
        errors = np.square(result.alpha[within][:, order] - alpha[within]).mean()
        assert errors < np.square(alpha[within] - alpha.mean(0)).mean()
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["baselines"]["hmm"]["training"] is not None


def test_own_modes_and_fine_tuning_see_observed_samples_only(tmp_path):
    arrays = with_gaps(walks(), [(8, 12), (30, 45)])
    trainer = trainer_of(tmp_path, arrays, n_validation=0)
    model, subset = random_model(), trainer.dataset.training_set
    (first, *_) = infer(model, subset, dual_estimation=True)
    assert np.isfinite(first.covariances).all()
    tuned = fine_tuned(model, subset, 0, n_epochs=2)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in tuned.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(tuned.parameters(), model.parameters()))


def test_without_masked_samples_nothing_is_said_of_them(tmp_path):
    trainer = trainer_of(tmp_path, walks(), n_validation=0)
    assert all(result.observed is None for result in infer(random_model(), trainer.dataset.training_set))
