"""Training of DyNeMo: what it learns from, what it keeps, and how it goes on after a stop."""

import json
import math

import numpy as np
import pytest
import torch
from dynemo_oracles import dataset_of, terms_of_window, trainer_of, walks
from interrupting import interrupt_at

from dynml.errors import ConfigurationError, DataWarning, DynmlError, NonFiniteLossError
from dynml.models.dynemo import report as report_module
from dynml.models.dynemo.annealing import kl_weight
from dynml.models.dynemo.held_out import held_out_scores
from dynml.ops.keyed_noise import derived_keys, span_keys
from dynml.training.costs import COST_ENDINGS

QUICK = {"method": "unmixing", "max_samples": 3000}


def numbers_of(trainer):
    rows = [
        {name: value for name, value in row.items() if not name.endswith(COST_ENDINGS)} for row in trainer.history.rows
    ]
    return rows, {name: tensor.clone() for name, tensor in trainer.weights().items()}


def assert_same_numbers(found, expected, **tolerance):
    (rows, weights), (expected_rows, expected_weights) = numbers_of(found), numbers_of(expected)
    if tolerance:
        assert [row.keys() for row in rows] == [row.keys() for row in expected_rows]
        for row, other in zip(rows, expected_rows):
            assert row == pytest.approx(other, rel=tolerance["rtol"], abs=tolerance["atol"], nan_ok=True)
    else:
        assert rows == expected_rows
        tolerance = {"rtol": 0, "atol": 0}
    torch.testing.assert_close(weights, expected_weights, **tolerance)


# ---------------------------------------------------------------------- the loss


def test_the_loss_is_the_annealed_bound_per_sample_of_one_keyed_draw(tmp_path):
    """One epoch of plain gradient steps, with the terms of each window in float64."""
    trainer = trainer_of(tmp_path, walks(), n_validation=0, max_epochs=1, optimizer="sgd", learning_rate=1e-30)
    trainer.progress.epoch = 1  # the weight of the prior is 1/2 there
    expected = []
    trainer.batch_sampler.set_context("training")
    for batch in trainer.batch_loader.iterate(trainer.batch_sampler, 1):
        trainer.model.eval()
        noise = trainer.model.noise(batch.keys, batch.windows)
        terms = [terms_of_window(trainer.model, window, noise[i]) for i, window in enumerate(batch.windows)]
        sums = np.array([[log_likelihood.sum(), kl.sum()] for log_likelihood, kl in terms]).sum(0)
        expected.append((*sums, batch.n_samples))
    log_likelihood, divergence, n = np.array(expected).sum(0)
    trainer.config = trainer.config.__class__(**{**vars(trainer.config), "max_epochs": 2})
    with trainer.record.locked():
        trainer.progress.phase = "training"
        trainer.train_one_epoch(_NoBars())
    means = {name: monitor.mean for name, monitor in trainer.monitors.items()}
    assert kl_weight(trainer.model.config, 1) == 0.5
    assert means["training_negative_log_likelihood"] == pytest.approx(-log_likelihood / n, rel=1e-5)
    assert means["training_divergence"] == pytest.approx(divergence / n, rel=1e-5)
    assert means["training_bound"] == pytest.approx((divergence - log_likelihood) / n, rel=1e-5)
    assert means["training_loss"] == pytest.approx((0.5 * divergence - log_likelihood) / n, rel=1e-5)


class _NoBars:
    def batches(self, batches, *_):
        return batches


def test_priors_of_modes_count_once_for_all_samples(tmp_path):
    settings = {"n_validation": 0, "max_epochs": 1, "learning_rate": 1e-30}
    plain = trainer_of(tmp_path, walks(), "plain", **settings)
    plain.train_and_validate()
    prior = {"covariance_prior_samples": 7.0, "means_prior_samples": 4.0}
    held = trainer_of(tmp_path, walks(), "held", model=prior, **settings)
    held.train_and_validate()
    signals = np.concatenate(walks()).astype(np.float64)
    mean, S = signals.mean(0), np.cov(signals.T, bias=True)
    arrays = held.model.arrays()
    log_prior = sum(
        -3.5 * (np.linalg.slogdet(D)[1] + np.trace(np.linalg.solve(D, S)))
        - 2 * (m - mean) @ np.linalg.solve(S, m - mean)
        for D, m in zip(arrays["covariances"], arrays["means"])
    )
    difference = held.history.rows[0]["training_loss"] - plain.history.rows[0]["training_loss"]
    assert difference == pytest.approx(-log_prior / len(signals), rel=1e-3)
    assert held.history.rows[0]["training_bound"] == pytest.approx(plain.history.rows[0]["training_bound"], rel=1e-6)


def test_weight_of_the_prior_and_learning_rate_follow_their_schedules(tmp_path):
    trainer = trainer_of(
        tmp_path,
        walks(),
        max_epochs=7,
        learning_rate=0.01,
        model={"n_kl_annealing_epochs": 3},
        sampler={"batch_size_training": 50},
    )
    trainer.train_and_validate()
    config = trainer.model.config
    expected = [kl_weight(config, epoch) for epoch in range(7)]
    assert trainer.history.column("kl_annealing_factor") == pytest.approx(expected, rel=1e-6)
    # Constant while the prior comes in, then a cosine down to a hundredth.
    falling = [0.01 * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / 3))) for step in range(4)]
    assert trainer.history.column("learning_rate") == pytest.approx([0.01] * 3 + falling)
    temperatures = trainer.history.column("alpha_temperature")
    assert temperatures[-1] == pytest.approx(float(trainer.weights()["alpha_temperature"]))
    assert len(set(temperatures)) == 7


# ---------------------------------------------------------------------- batches


def test_batches_of_other_membership_give_the_same_gradients(tmp_path):
    """Six windows in one batch, or two by two with gradients summed: noise belongs to a window, not to a batch."""
    arrays = walks((120, 120))

    def run(name, size, **further):
        trainer = trainer_of(
            tmp_path,
            arrays,
            name,
            n_validation=0,
            sampler={"strategy": "fixed_windows", "batch_size_training": size},
            max_epochs=3,
            optimizer="sgd",
            learning_rate=1e-3,
            **further,
        )
        trainer.train_and_validate()
        return trainer

    whole, parts = run("whole", 12), run("parts", 4, accumulate_gradients=3)
    for name in ("training_bound", "training_loss"):
        np.testing.assert_allclose(parts.history.column(name), whole.history.column(name), rtol=1e-5)
    torch.testing.assert_close(parts.weights(), whole.weights(), rtol=1e-4, atol=1e-5)


def test_validation_depends_on_windows_alone(tmp_path):
    values = []
    for size in (1, 3, 50):
        trainer = trainer_of(
            tmp_path, walks(), f"by-{size}", sampler={"batch_size_validation": size}, max_epochs=1, learning_rate=1e-30
        )
        trainer.train_and_validate()
        values.append(trainer.history.rows[0]["validation_loss"])
    assert values == pytest.approx([values[0]] * 3, rel=1e-6)


def test_validation_is_the_bound_of_keyed_draws_in_windows_laid_end_to_end(tmp_path):
    arrays = walks((130, 90, 73))
    trainer = trainer_of(tmp_path, arrays, max_epochs=1, n_draws=3)
    trainer.train_and_validate()
    model, total = trainer.model, 0.0
    for start in (0, 20, 40, 60):
        window = arrays[-1][start : start + 20]
        place = (torch.tensor([value]) for value in (0, 0, start, start + len(window)))
        keys = span_keys(0, 0, *place)
        for draw in range(3):
            noise = model.noise(derived_keys(keys, draw), torch.from_numpy(window[None]))[0]
            log_likelihood, divergence = terms_of_window(model, window, noise)
            total += (divergence - log_likelihood).sum() / 3
    assert trainer.history.rows[0]["validation_loss"] == pytest.approx(total / 73, rel=1e-5)


def test_validation_of_an_unchanged_model_is_the_same_every_epoch(tmp_path):
    trainer = trainer_of(tmp_path, walks(), learning_rate=1e-30, max_epochs=3)
    trainer.train_and_validate()
    assert len(set(trainer.history.column("validation_loss"))) == 1
    assert len(set(trainer.history.column("training_bound"))) == 3


def test_without_validation_epochs_are_chosen_by_one_draw_of_the_same_windows(tmp_path):
    arrays = walks((130, 90, 73))
    annealing = {"n_kl_annealing_epochs": 1}
    trainer = trainer_of(tmp_path, arrays, n_validation=0, max_epochs=4, model=annealing)
    saved, close = [], trainer._close_epoch

    def closing():
        saved.append({name: tensor.clone() for name, tensor in trainer.weights().items()})
        close()

    trainer._close_epoch = closing
    summary = trainer.train_and_validate()
    assert summary["best_value"] == pytest.approx(summary["free_energy"]["training"], rel=3e-2)  # of more draws
    model = trainer.model
    for weights, found in list(zip(saved, trainer.history.column("training_free_energy")))[1:]:
        model.load_state_dict(weights)
        total = 0.0
        for subject, array in enumerate(arrays):
            for start in range(0, len(array), 20):
                window = array[start : start + 20]
                keys = span_keys(0, 0, *(torch.tensor([value]) for value in (subject, 0, start, start + len(window))))
                noise = model.noise(derived_keys(keys, 0), torch.from_numpy(window[None]))[0]
                log_likelihood, divergence = terms_of_window(model, window, noise)
                total += (divergence - log_likelihood).sum()
        assert found == pytest.approx(total / 293, rel=1e-5)


def test_without_validation_an_unchanged_model_is_worth_the_same_in_every_epoch(tmp_path):
    trainer = trainer_of(tmp_path, walks(), n_validation=0, learning_rate=1e-30, max_epochs=4)
    trainer.train_and_validate()
    assert len(set(trainer.history.column("training_free_energy")[2:])) == 1  # two epochs of annealing before
    assert trainer.best.best_epoch == 3


# ---------------------------------------------------------------------- best model, patience, summary


@pytest.mark.parametrize("n_validation", [0, 1])
def test_the_best_model_is_chosen_by_the_bound_with_the_prior_in_full(tmp_path, n_validation):
    trainer = trainer_of(
        tmp_path,
        walks(),
        n_validation=n_validation,
        max_epochs=5,
        learning_rate=0.05,
        model={"n_kl_annealing_epochs": 4},
    )
    saved, close = {}, trainer._close_epoch

    def closing():
        saved[trainer.progress.epoch + 1] = {name: tensor.clone() for name, tensor in trainer.weights().items()}
        close()

    trainer._close_epoch = closing
    summary = trainer.train_and_validate()
    name = "validation_loss" if n_validation else "training_free_energy"
    column = trainer.history.column(name)
    assert summary["monitored"] == name
    assert summary["best_epoch"] == int(np.argmin(column)) + 1
    assert summary["best_value"] == column.min()
    assert summary["loss"] == "free_energy"
    torch.testing.assert_close(dict(trainer.model.state_dict()), saved[summary["best_epoch"]], rtol=0, atol=0)
    if not n_validation:
        # What is trained on rises while the prior comes in, so it would choose another epoch.
        assert int(np.argmin(trainer.history.column("training_loss"))) + 1 != summary["best_epoch"]


def test_patience_begins_when_the_prior_counts_in_full(tmp_path):
    settings = {"max_epochs": 30, "patience": 2, "patience_delta": 1e6, "sampler": {"batch_size_training": 50}}
    for n_epochs, name in ((1, "short"), (5, "long")):
        trainer = trainer_of(tmp_path, walks(), name, model={"n_kl_annealing_epochs": n_epochs}, **settings)
        summary = trainer.train_and_validate()
        assert (summary["stopping_reason"], summary["epochs"]) == ("patience", n_epochs + 2)
    without = trainer_of(tmp_path, walks(), "none", model={"do_kl_annealing": False}, **settings)
    assert without.train_and_validate()["epochs"] == 3


def test_the_summary_says_what_the_best_model_reaches(tmp_path):
    arrays = walks((130, 90, 73))
    trainer = trainer_of(tmp_path, arrays, n_draws=10, max_epochs=3)
    summary = trainer.train_and_validate()
    # The same draws in the same windows as in validation.
    assert summary["free_energy"]["validation"] == pytest.approx(summary["best_value"], rel=1e-6)
    assert json.loads(trainer.folder.summary.read_text())["free_energy"] == summary["free_energy"]
    nll = divergence = n = n_transitions = 0
    alphas = []
    for array in arrays[:2]:
        for start in range(0, len(array), 20):
            log_likelihoods, divergences = terms_of_window(trainer.model, array[start : start + 20])
            nll, n = nll - log_likelihoods.sum(), n + len(log_likelihoods)
            divergence, n_transitions = divergence + divergences[1:].sum(), n_transitions + len(divergences) - 1
            with torch.no_grad():
                window = torch.from_numpy(array[None, start : start + 20])
                alphas.append(trainer.model.alpha(trainer.model.posterior(window)[0])[0].numpy())
    at_mean = summary["free_energy_at_mean"]["training"]
    assert at_mean == pytest.approx(nll / n + divergence / n_transitions, rel=1e-5)
    mean_alpha = np.concatenate(alphas).mean(0)
    assert summary["mean_alpha"] == pytest.approx(mean_alpha, abs=1e-5)
    traces = np.trace(trainer.model.arrays()["covariances"], axis1=1, axis2=2)
    assert summary["relative_activity"] == pytest.approx(mean_alpha * traces / (mean_alpha * traces).sum(), abs=1e-5)
    assert summary["baselines"].keys() == {"gaussian", "gaussian_mixture", "hmm"}


def test_a_run_and_its_scores_of_other_people_share_one_fit_of_the_baselines(tmp_path, monkeypatch):
    fits, fit = [], report_module.fitted_mixture
    monkeypatch.setattr(report_module, "fitted_mixture", lambda *given: fits.append(given) or fit(*given))
    trainer = trainer_of(tmp_path, walks(), max_epochs=1)
    summary = trainer.train_and_validate()
    found = held_out_scores(trainer, trainer.dataset.validation_set)
    assert len(fits) == 1
    trainer._fitted_baselines = None
    assert held_out_scores(trainer, trainer.dataset.validation_set) == found
    assert len(fits) == 2
    (score,) = found["gaussian_mixture"].values()
    assert score == pytest.approx(summary["baselines"]["gaussian_mixture"]["validation"], rel=1e-6)


def test_without_validation_subjects_their_values_are_absent(tmp_path):
    summary = trainer_of(tmp_path, walks(), n_validation=0, max_epochs=1).train_and_validate()
    scores = [summary["free_energy"], summary["free_energy_at_mean"], *summary["baselines"].values()]
    assert all(score["validation"] is None and math.isfinite(score["training"]) for score in scores)


# ---------------------------------------------------------------------- interruptions


ONE_START, SEVERAL = {"method": "random"}, {"method": "random_subset", "n_init": 3, "n_epochs": 1}


@pytest.mark.parametrize(
    ("initialization", "call", "n"),
    [
        (ONE_START, "initialization_step_done", 1),
        (SEVERAL, "initialization_step_done", 1),
        (SEVERAL, "initialization_step_done", 2),
        (SEVERAL, "initialization_step_done", 4),
        (SEVERAL, "_train_start_for_one_epoch", 2),
        (QUICK, "initialization_step_done", 1),
        *[(ONE_START, "run_one_batch", n) for n in (1, 2, 3, 4, 5, 6, 8, 11)],
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_numbers(tmp_path, initialization, call, n):
    """Batches 1 to 3 train while the prior counts for nothing, 4 and 5 validate, and so on."""
    settings = {
        "initialization": initialization,
        "sampler": {"batch_size_validation": 2},
        "model": {"inference_dropout": 0.2, "inference_normalization": "batch", "n_kl_annealing_epochs": 2},
        "max_epochs": 3,
    }
    whole = trainer_of(tmp_path, walks(), "whole", **settings)
    whole.train_and_validate()
    first = trainer_of(tmp_path, walks(), "broken", **settings)
    interrupt_at(first, call, n)
    assert first.train_and_validate()["stopping_reason"] == "signal SIGTERM"
    torch.manual_seed(99)
    second = trainer_of(tmp_path, walks(), "broken", resume="auto", **settings)
    with torch.no_grad():  # what the run goes on with comes from the checkpoint
        for parameter in second.model.parameters():
            parameter.add_(1.0)
    summary = second.train_and_validate()
    assert summary["stopping_reason"] == "max_epochs"
    assert_same_numbers(second, whole)
    assert second.best.state_dict() == whole.best.state_dict()
    expected = json.loads(whole.folder.summary.read_text())
    assert summary["free_energy"] == expected["free_energy"]
    assert summary.get("starts") == expected.get("starts")
    assert len(summary.get("starts", [])) == (3 if initialization is SEVERAL else 0)


def test_interruptions_after_every_batch_change_nothing(tmp_path):
    settings = {"initialization": SEVERAL, "sampler": {"batch_size_validation": 2}, "max_epochs": 2}
    whole = trainer_of(tmp_path, walks(), "whole", **settings)
    whole.train_and_validate()
    n_parts, reason = 0, None
    while reason != "max_epochs":
        n_parts += 1
        part = trainer_of(tmp_path, walks(), "broken", resume="auto", **settings)
        interrupt_at(part, "_after_batch", 1)
        interrupt_at(part, "initialization_step_done", 1)
        reason = part.train_and_validate()["stopping_reason"]
        assert n_parts < 100
    assert n_parts > 9
    assert_same_numbers(part, whole)


def test_going_on_with_other_settings_of_the_model_is_refused(tmp_path):
    trainer_of(tmp_path, walks(), max_epochs=1).train_and_validate()
    with pytest.raises(DynmlError, match=r"model\.kl_annealing_sharpness"):
        trainer_of(
            tmp_path, walks(), max_epochs=2, resume="auto", model={"kl_annealing_sharpness": 5.0}
        ).train_and_validate()


def test_added_epochs_keep_the_prior_in_full_and_the_last_learning_rate(tmp_path):
    settings = {"sampler": {"batch_size_training": 50}}
    trainer_of(tmp_path, walks(), max_epochs=4, **settings).train_and_validate()
    more = trainer_of(tmp_path, walks(), max_epochs=6, resume="auto", **settings)
    assert more.train_and_validate()["epochs"] == 6
    assert more.history.column("kl_annealing_factor")[2:].tolist() == [1.0] * 4
    assert more.history.column("learning_rate")[3:] == pytest.approx([1e-4] * 3)


# ---------------------------------------------------------------------- losses that are not finite


def poisoned(trainer, window, n_calls=1):
    """In some batches one window's mixed covariances are negative, as after a step too far."""
    run, seen = trainer.run_one_batch, []

    def running(batch):
        if batch.context != "training" or len(seen) >= n_calls:
            return run(batch)
        seen.append(batch.spans[window])
        alpha = trainer.model.alpha

        def turned(theta):
            signs = torch.ones(len(theta), 1, 1)
            signs[window] = -1
            return alpha(theta) * signs

        trainer.model.alpha = turned
        try:
            return run(batch)
        finally:
            del trainer.model.alpha

    trainer.run_one_batch = running
    return seen


def test_a_covariance_that_is_not_positive_definite_stops_the_run_and_names_the_window(tmp_path):
    trainer = trainer_of(tmp_path, walks())
    seen = poisoned(trainer, 1)
    with pytest.raises(NonFiniteLossError) as caught:
        trainer.train_and_validate()
    (span,) = seen
    assert f"(training-{span.subject} samples {span.start} to {span.stop})" in str(caught.value)
    assert all(torch.isfinite(tensor).all() for tensor in trainer.model.state_dict().values())
    assert json.loads(trainer.folder.summary.read_text())["stopping_reason"] == "non_finite_loss"


def test_a_divergence_that_overflows_stops_the_run_and_names_the_window_even_while_it_does_not_count(tmp_path):
    trainer = trainer_of(tmp_path, walks())
    seen, run, prior = [], trainer.run_one_batch, trainer.model.prior

    def certain(theta, lengths=None):
        mean, scale = prior(theta, lengths)
        window = torch.arange(len(theta)) == 2
        return mean, torch.where(window[:, None, None], 0.0, scale)

    trainer.run_one_batch = lambda batch: (seen.append(batch.spans[2]), run(batch))[1]
    trainer.model.prior = certain
    with pytest.raises(NonFiniteLossError) as caught:
        trainer.train_and_validate()
    (span,) = seen
    assert f"(training-{span.subject} samples {span.start} to {span.stop})" in str(caught.value)


def test_a_covariance_that_is_not_positive_definite_is_skipped_when_asked_for(tmp_path):
    trainer = trainer_of(tmp_path, walks(), non_finite="skip")
    poisoned(trainer, 0, n_calls=2)
    summary = trainer.train_and_validate()
    assert (summary["stopping_reason"], summary["n_skipped_batches"]) == ("max_epochs", 2)
    assert math.isfinite(summary["best_value"])
    assert all(torch.isfinite(tensor).all() for tensor in trainer.model.state_dict().values())


def test_an_epoch_without_any_finite_loss_ends_the_run(tmp_path):
    trainer = trainer_of(tmp_path, walks(), non_finite="skip")
    poisoned(trainer, 0, n_calls=1000)
    with pytest.raises(NonFiniteLossError, match="All batches of epoch 1"):
        trainer.train_and_validate()


# ---------------------------------------------------------------------- what is refused, what is warned of


@pytest.mark.parametrize(
    ("arrays", "settings", "sentence"),
    [
        (walks(), {"loader": {"collate": "packed"}}, r"loader\.collate is 'packed', but must be padded"),
        (
            walks(),
            {"sampler": {"window_length": 30}},
            r"sampler\.window_length is 30, but must be model\.sequence_length \(20\)",
        ),
        (walks(), {"model": {"sequence_length": 131}}, r"sampler\.window_length is 131, but must be at most 130"),
        (
            walks((40, 30, 30)),
            {"model": {"n_modes": 71}},
            r"model\.n_modes is 71, but must be at most .*samples \(70\)",
        ),
        (walks(), {"precision": "bf16"}, r"trainer\.precision is 'bf16', but must be float32"),
        (walks(), {"compile": True}, r"trainer\.compile is True, but must be false"),
        (walks(), {"learning_rate": 0}, r"trainer\.learning_rate is 0, but must be a positive number"),
        (walks(), {"learning_rate": -0.01}, r"trainer\.learning_rate is -0\.01"),
        (walks(), {"n_draws": 0}, r"trainer\.n_draws is 0"),
        (walks(), {"n_mode": 3}, "n_mode"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(tmp_path, arrays, settings, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        trainer_of(tmp_path, arrays, **settings)
    assert not list(tmp_path.iterdir())


def rank_deficient():
    return [np.concatenate([one, one[:, :1] - one[:, 1:2]], axis=1) for one in walks()]


def test_full_covariances_of_rank_deficient_data_are_refused_and_variances_trained(tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"model\.covariance_type is 'full', but must be diagonal.*rank 3 of 4"
    ):
        trainer_of(tmp_path, rank_deficient())
    trainer = trainer_of(
        tmp_path, rank_deficient(), model={"covariance_type": "diagonal"}, initialization=QUICK, max_epochs=2
    )
    summary = trainer.train_and_validate()
    assert math.isfinite(summary["free_energy"]["validation"])
    assert summary["baselines"]["gaussian"] == {"training": None, "validation": None}  # such a density does not exist


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda one: one * 100, r"not standardized: standard deviations of the channels go from 1\d\d to 1\d\d"),
        (lambda one: one * np.array([1, 1, 0.05], np.float32), r"go from 0\.0\d+ to 1"),
        (lambda one: one + 10, r"a channel's mean is \d.* standard deviations from 0"),
    ],
)
def test_data_that_are_not_standardized_are_warned_of(tmp_path, change, sentence):
    trainer = trainer_of(tmp_path, [change(one) for one in walks()])
    with trainer.record.locked(), pytest.warns(DataWarning, match=sentence):
        trainer.initialize()


def test_standardized_data_draw_no_warning(tmp_path, recwarn):
    trainer = trainer_of(tmp_path, walks())
    with trainer.record.locked():
        trainer.initialize()
    assert not [warning for warning in recwarn if issubclass(warning.category, DataWarning)]


def test_segments_shorter_than_a_window_are_reported_with_their_number_or_used_when_asked_for(tmp_path):
    arrays = walks((130, 15, 8, 75))
    with pytest.warns(DataWarning, match=r"2 of 3 training segments \(23 of 153 samples\) are shorter than 20 samples"):
        trainer_of(tmp_path, arrays, "left_out")
    trainer = trainer_of(tmp_path, arrays, "used", sampler={"minimum_length": 1}, max_epochs=1)
    lengths = []
    run = trainer.run_one_batch
    trainer.run_one_batch = lambda batch: (lengths.extend(span.length for span in batch.spans), run(batch))[1]
    trainer.train_and_validate()
    assert {15, 8} <= set(lengths)
    assert math.isfinite(trainer.history.rows[0]["training_loss"])


def test_fixed_modes_stay_as_they_are(tmp_path):
    model = {"learn_means": False, "learn_covariances": False, "learn_alpha_temperature": False}
    trainer = trainer_of(tmp_path, walks(), model=model, max_epochs=2)
    before = {name: tensor.clone() for name, tensor in trainer.weights().items()}
    trainer.train_and_validate()
    for name in ("means", "covariance_vectors", "alpha_temperature"):
        assert torch.equal(trainer.weights()[name], before[name])
    assert not torch.equal(trainer.weights()["posterior_head.mean.weight"], before["posterior_head.mean.weight"])


def test_epochs_of_starts_are_never_epochs_of_the_run(tmp_path):
    dataset = dataset_of(walks())
    trainer = trainer_of(tmp_path, walks(), initialization=SEVERAL, max_epochs=1)
    seen, run = [], trainer.run_one_batch
    trainer.run_one_batch = lambda batch: (seen.append((batch.context, batch.epoch, batch.keys)), run(batch))[1]
    trainer.train_and_validate()
    in_starts = {
        key for context, epoch, keys in seen if context == "training" and epoch > 1000 for key in keys.tolist()
    }
    in_run = {key for context, epoch, keys in seen if context == "training" and epoch == 0 for key in keys.tolist()}
    assert in_starts
    assert in_run
    assert not in_starts & in_run
    assert dataset.training_set.n_subjects == 2


def test_while_the_prior_comes_in_the_last_epoch_is_the_best_one(tmp_path):
    """A network that is soon worse: rated by its own batches until the prior counts in full, then anew."""
    rates = {"learning_rate": "0.001 1.0*2 0.001", "learning_rate_schedule": "constant"}
    trainer = trainer_of(tmp_path, walks(), n_validation=0, max_epochs=5, model={"n_kl_annealing_epochs": 3}, **rates)
    bests, close = [], trainer._close_epoch

    def closing():
        close()
        bests.append((trainer.best.best_epoch, trainer.best.best_value))

    trainer._close_epoch = closing
    trainer.train_and_validate()
    values = trainer.history.column("training_free_energy")
    np.testing.assert_array_equal(values[:3], trainer.history.column("training_bound")[:3])
    assert values[1] > values[0]  # so that the first epoch would have stayed the best one
    assert bests[:4] == [(epoch + 1, values[epoch]) for epoch in range(4)]
    assert bests[4][1] == min(values[3:])
